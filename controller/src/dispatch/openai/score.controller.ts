import { FleetError } from '@fleetgate/shared/errors';
import { Body, Controller, HttpCode, Inject, Post, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';

import { callerOf } from '../../access/caller.js';
import { admitPrompts, followAdmitted, ofCaller } from '../admit-prompts.js';
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
    const caller = callerOf(reply.request);
    const prompt = ofCaller(traced(parseScore(body), reply), caller);
    void reply.headers(caller.rates?.headersFor(prompt.tenant) ?? {});
    const admission = admitPrompts(caller, [prompt]);
    const dispatched = this.collaborator.accept(prompt, clientGone(reply));
    followAdmitted(caller, admission, dispatched);
    void reply.headers({ ...admission?.headers, 'x-request-id': dispatched.id });
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
