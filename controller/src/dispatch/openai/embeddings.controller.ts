import type { Clock } from '@fleetgate/shared/clock';
import { Body, Controller, HttpCode, Inject, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { IdempotentRequests } from '../idempotent-requests.js';
import { choiceHeaders } from './answers.js';
import { embeddingsAnswer, parseEmbeddings } from './embeddings.js';
import { clientGone, processingTime, takeFor } from './respond.js';
import { CLOCK } from './tokens.js';
import { whyHeader } from './why-header.js';

/** Texts as vectors, as OpenAI's API has it. */
@Controller('v1/embeddings')
export class EmbeddingsController {
  constructor(
    @Inject(IdempotentRequests) private readonly requests: IdempotentRequests,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  @Post()
  @HttpCode(200)
  async embed(@Body() body: unknown, @Req() http: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const asked = parseEmbeddings(body);
    const [dispatched] = await takeFor(this.requests, asked, [asked.prompt], http, reply, clientGone(reply));
    const { choice, body: vectors } = await embeddingsAnswer(asked, dispatched);
    const why = whyHeader(dispatched.record());
    await reply.headers({ ...choiceHeaders(choice), ...why, ...processingTime(this.clock, dispatched) }).send(vectors);
  }
}
