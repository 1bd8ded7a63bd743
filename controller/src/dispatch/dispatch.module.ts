import type { Clock } from '@fleetgate/shared/clock';
import type { DynamicModule } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';

import { MessagesController } from './anthropic/messages.controller.js';
import { Collaborator } from './collaboration/collaborator.js';
import { IDEMPOTENCY_DEFAULTS } from './idempotency.js';
import { IdempotentRequests } from './idempotent-requests.js';
import type { SharedAnswers } from './shared-answers.js';
import { ChatCompletionsController } from './openai/chat-completions.controller.js';
import { EmbeddingsController } from './openai/embeddings.controller.js';
import { parseJsonBody } from './openai/json-body.js';
import { ModelsController } from './openai/models.controller.js';
import { ResponsesController } from './openai/responses.controller.js';
import { ScoreController } from './openai/score.controller.js';
import { CLOCK, MODELS_SOURCE, type ModelsSource } from './openai/tokens.js';

/** Largest body of a request, bytes: several times what one message to a device may carry. */
export const MAX_BODY_BYTES = 1024 * 1024;

/** Nest wants a class to name a module by. */
class DispatchModule {}

/**
 * The OpenAI-compatible API, and Anthropic's /v1/messages, over a collaborator and its dispatcher.
 *
 * The application makes both (and calls `start` on the dispatcher before listening, `close` on both when it ends), imports
 * `dispatchModule(...)`, installs `ErrorFilter` as its global filter and calls `readJsonBodies(app)` before `app.init()`.
 */
export function dispatchModule(parts: {
  readonly collaborator: Collaborator;
  readonly models: ModelsSource;
  readonly clock: Clock;
  /** Of several controllers. */
  readonly answers?: SharedAnswers | undefined;
}): DynamicModule {
  return {
    module: DispatchModule,
    controllers: [
      ChatCompletionsController,
      EmbeddingsController,
      MessagesController,
      ModelsController,
      ResponsesController,
      ScoreController,
    ],
    providers: [
      { provide: Collaborator, useValue: parts.collaborator },
      {
        provide: IdempotentRequests,
        useValue: new IdempotentRequests(parts.collaborator, parts.clock, IDEMPOTENCY_DEFAULTS, parts.answers),
      },
      { provide: MODELS_SOURCE, useValue: parts.models },
      { provide: CLOCK, useValue: parts.clock },
    ],
  };
}

/**
 * Makes JSON bodies be read by `parseJsonBody`, up to MAX_BODY_BYTES: what is not UTF-8 is refused, not mended. Others are
 * not read at all: a page may send forms and plain text to whatever address it likes without asking its browser.
 */
export function readJsonBodies(app: NestFastifyApplication): void {
  app.getHttpAdapter().getInstance().removeContentTypeParser('text/plain');
  app.useBodyParser('application/json', { bodyLimit: MAX_BODY_BYTES }, (_request, body, done) => {
    try {
      done(null, parseJsonBody(body));
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)), undefined);
    }
  });
}
