import type { ListBody } from '@fleetgate/shared/api/operations';
import type { ProposalView } from '@fleetgate/shared/api/proposals';
import type { RolloutView } from '@fleetgate/shared/api/rollouts';
import { Controller, Get, HttpCode, Inject, Param, Post, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

import { note } from '../access/caller.js';
import { proposalView } from '../pruning/proposal-view.js';
import { ResidencyLoop } from '../pruning/residency-loop.js';
import { rolloutView } from '../rollout/rollout-view.js';

/** What the demand for slabs proposes to keep. */
@Controller('api/v1/proposals')
export class ProposalController {
  constructor(@Inject(ResidencyLoop) private readonly loop: ResidencyLoop) {}

  @Get()
  list(): ListBody<ProposalView> {
    return { items: this.loop.states().map(proposalView) };
  }

  @Post(':id/accept')
  @HttpCode(201)
  async accept(@Param('id') id: string, @Req() request: FastifyRequest): Promise<RolloutView> {
    const record = await this.loop.accept(id);
    note(request, { target: id, after: record.subject });
    return rolloutView(record);
  }
}
