import type { Clock } from '@fleetgate/shared/clock';
import { Body, Controller, HttpCode, Inject, Post, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';

import { Collaborator } from '../collaboration/collaborator.js';
import { respond } from './respond.js';
import { responsesForm } from './responses-form.js';
import { parseResponses } from './responses-request.js';
import { CLOCK } from './tokens.js';

/** Generation, as OpenAI's newer API has it; nothing is kept between its requests. */
@Controller('v1/responses')
export class ResponsesController {
  constructor(
    @Inject(Collaborator) readonly collaborator: Collaborator,
    @Inject(CLOCK) readonly clock: Clock,
  ) {}

  @Post()
  @HttpCode(200)
  async create(@Body() body: unknown, @Res() reply: FastifyReply): Promise<void> {
    const { request, echo } = parseResponses(body);
    await respond(this, request, (start) => responsesForm(echo, start), reply);
  }
}
