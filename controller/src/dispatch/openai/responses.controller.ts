import type { Clock } from '@fleetgate/shared/clock';
import { Body, Controller, HttpCode, Inject, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { IdempotentRequests } from '../idempotent-requests.js';
import { respond } from './respond.js';
import { responsesForm } from './responses-form.js';
import { parseResponses } from './responses-request.js';
import { CLOCK } from './tokens.js';

/** Generation, as OpenAI's newer API has it; nothing is kept between its requests. */
@Controller('v1/responses')
export class ResponsesController {
  constructor(
    @Inject(IdempotentRequests) readonly requests: IdempotentRequests,
    @Inject(CLOCK) readonly clock: Clock,
  ) {}

  @Post()
  @HttpCode(200)
  async create(@Body() body: unknown, @Req() http: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { request, echo } = parseResponses(body);
    await respond(this, request, (start) => responsesForm(echo, start), http, reply);
  }
}
