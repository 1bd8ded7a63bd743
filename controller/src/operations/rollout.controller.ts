import type { ListBody } from '@fleetgate/shared/api/operations';
import type { RolloutView } from '@fleetgate/shared/api/rollouts';
import { check } from '@fleetgate/shared/check';
import { Body, Controller, Get, HttpCode, Inject, Param, Post, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

import { note } from '../access/caller.js';
import { RolloutBook } from '../rollout/rollout-book.js';
import { rolloutRequestSchema } from '../rollout/rollout-spec.js';
import { rolloutView } from '../rollout/rollout-view.js';
import { Rollouts } from '../rollout/rollouts.js';

/** Replacing what devices have, wave by wave. */
@Controller('api/v1/rollouts')
export class RolloutController {
  constructor(
    @Inject(Rollouts) private readonly rollouts: Rollouts,
    @Inject(RolloutBook) private readonly book: RolloutBook,
  ) {}

  @Get()
  list(): ListBody<RolloutView> {
    return { items: this.book.records().map(rolloutView) };
  }

  @Get(':id')
  show(@Param('id') id: string): RolloutView {
    return rolloutView(this.book.record(id));
  }

  @Post()
  @HttpCode(201)
  async create(@Body() body: unknown, @Req() request: FastifyRequest): Promise<RolloutView> {
    const asked = check(rolloutRequestSchema, body, 'request.invalid', 'rollout', {
      hint: 'send {"subject": {"kind": "variant", "incumbent": ID, "candidate": ID}}; waves and gate have defaults',
    });
    const record = await this.rollouts.create(asked);
    note(request, { target: record.id, after: record.subject });
    return rolloutView(record);
  }

  @Post(':id/pause')
  @HttpCode(200)
  pause(@Param('id') id: string): RolloutView {
    return rolloutView(this.rollouts.pause(id));
  }

  @Post(':id/resume')
  @HttpCode(200)
  resume(@Param('id') id: string): RolloutView {
    return rolloutView(this.rollouts.resume(id));
  }

  @Post(':id/abort')
  @HttpCode(200)
  abort(@Param('id') id: string): RolloutView {
    return rolloutView(this.rollouts.abort(id));
  }
}
