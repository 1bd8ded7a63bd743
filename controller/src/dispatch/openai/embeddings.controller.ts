import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { Body, Controller, HttpCode, Inject, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { IdempotentRequests } from '../idempotent-requests.js';
import { choiceHeaders } from './answers.js';
import { parseEmbeddings } from './embeddings.js';
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
    const [dispatched] = takeFor(this.requests, asked, [asked.prompt], http, reply, clientGone(reply));
    const vectors: string[] = [];
    for await (const event of dispatched.events) {
      if (event.kind === 'failed') throw event.error;
      if (event.kind === 'done') throw new FleetError('internal.invariant', 'an embed job was answered with text');
      if (event.kind === 'vectors') vectors.push(...event.vectors);
      if (event.kind !== 'embedded') continue;
      const { choice, usage } = event;
      const { promptTokens, energyJ, energySource } = usage;
      await reply.headers({ ...choiceHeaders(choice), ...processingTime(this.clock, dispatched) }).send({
        object: 'list',
        data: vectors.map((vector, index) => ({
          object: 'embedding',
          index,
          embedding: asked.format === 'base64' ? vector : numbersOf(vector),
        })),
        model: choice.variantId,
        usage: {
          prompt_tokens: promptTokens,
          total_tokens: promptTokens,
          energy_joules: dispatched.record().actual?.energyJ ?? energyJ,
          energy_source: energySource,
        },
      });
    }
  }
}

/** Little-endian float32 in base64. */
function numbersOf(vector: string): readonly number[] {
  const bytes = Buffer.from(vector, 'base64');
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}
