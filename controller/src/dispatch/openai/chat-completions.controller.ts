import type { Clock } from '@fleetgate/shared/clock';
import { Body, Controller, HttpCode, Inject, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { IdempotentRequests } from '../idempotent-requests.js';
import { openAiForm } from './answers.js';
import { respond } from './respond.js';
import { parseChat } from './chat-request.js';
import { parseCompletion } from './schema.js';
import { CLOCK } from './tokens.js';

/** Generation, as OpenAI's API has it. */
@Controller('v1')
export class ChatCompletionsController {
  constructor(
    @Inject(IdempotentRequests) readonly requests: IdempotentRequests,
    @Inject(CLOCK) readonly clock: Clock,
  ) {}

  @Post('chat/completions')
  @HttpCode(200)
  async chat(@Body() body: unknown, @Req() http: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    await respond(this, parseChat(body), (start) => openAiForm('chat', start), http, reply);
  }

  @Post('completions')
  @HttpCode(200)
  async complete(@Body() body: unknown, @Req() http: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    await respond(this, parseCompletion(body), (start) => openAiForm('text', start), http, reply);
  }
}
