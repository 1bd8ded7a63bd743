import type { Clock } from '@fleetgate/shared/clock';
import { Body, Controller, HttpCode, Inject, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { IdempotentRequests } from '../idempotent-requests.js';
import type { OpenForm } from '../openai/api-form.js';
import { respond } from '../openai/respond.js';
import { CLOCK } from '../openai/tokens.js';
import { messagesForm } from './messages-form.js';
import { countTokens, parseMessages } from './messages-request.js';

/** Generation, as Anthropic's API has it. */
@Controller('v1/messages')
export class MessagesController {
  constructor(
    @Inject(IdempotentRequests) readonly requests: IdempotentRequests,
    @Inject(CLOCK) readonly clock: Clock,
  ) {}

  @Post()
  @HttpCode(200)
  async create(@Body() body: unknown, @Req() http: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const open: OpenForm = (start) => {
      void reply.header('request-id', start.id);
      return messagesForm(start);
    };
    await respond(this, parseMessages(body), open, http, reply);
  }

  @Post('count_tokens')
  @HttpCode(200)
  count(@Body() body: unknown): { readonly input_tokens: number } {
    return { input_tokens: countTokens(body) };
  }
}
