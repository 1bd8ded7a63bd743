import { FleetError } from '@fleetgate/shared/errors';
import { Body, Controller, HttpCode, Inject, Post, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';

import { Collaborator } from '../collaboration/collaborator.js';
import { clientGone } from './respond.js';
import { parseScore } from './schema.js';
import { traced } from './trace-parent.js';

/** Log-likelihood of a given answer, for evaluation: how good an expert is, measured on the device that serves it. */
@Controller('api/v1/score')
export class ScoreController {
  constructor(@Inject(Collaborator) private readonly collaborator: Collaborator) {}

  @Post()
  @HttpCode(200)
  async score(@Body() body: unknown, @Res() reply: FastifyReply): Promise<void> {
    const dispatched = this.collaborator.accept(traced(parseScore(body), reply), clientGone(reply));
    void reply.header('x-request-id', dispatched.id);
    for await (const event of dispatched.events) {
      if (event.kind === 'failed') throw event.error;
      if (event.kind === 'done') throw new FleetError('internal.invariant', 'a score job was answered with text');
      if (event.kind !== 'scored') continue;
      const { choice, bits, bytes, usage } = event;
      const { expertId: expert, variantId: variant, deviceId: device } = choice;
      await reply.send({
        bits,
        bytes,
        expert,
        variant,
        device,
        energyJ: usage.energyJ,
        energySource: usage.energySource,
      });
    }
  }
}
