import type { JoinTokenView, ListBody, WaitingDeviceView } from '@fleetgate/shared/api/operations';
import { check } from '@fleetgate/shared/check';
import { FleetError } from '@fleetgate/shared/errors';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post } from '@nestjs/common';
import { z } from 'zod';

import { Approvals } from './approvals.js';
import { JoinTokens } from './join-tokens.js';

const tokenSchema = z.strictObject({
  ttlS: z.number().int().min(1).max(2_592_000).default(3600),
  uses: z.number().int().min(1).max(100_000).default(1),
});

/** What a person does about devices that are not in yet. */
@Controller('api/v1')
export class AdmissionController {
  constructor(
    @Inject(Approvals) private readonly approvals: Approvals,
    @Inject(JoinTokens) private readonly tokens: JoinTokens,
  ) {}

  @Get('enrolments')
  waiting(): ListBody<WaitingDeviceView> {
    const items = this.approvals.list().map(({ name, board, address, askedAt, verdict, keySha256 }) => ({
      name,
      board,
      address,
      askedAtMs: askedAt,
      state: verdict === 'none' ? ('waiting' as const) : verdict,
      keySha256: keySha256 ?? null,
    }));
    return { items };
  }

  @Post('enrolments/:name/approve')
  @HttpCode(204)
  async approve(@Param('name') name: string): Promise<void> {
    await this.approvals.decide(name, 'approved');
  }

  @Post('enrolments/:name/deny')
  @HttpCode(204)
  async deny(@Param('name') name: string): Promise<void> {
    await this.approvals.decide(name, 'denied');
  }

  @Post('join-tokens')
  @HttpCode(201)
  async create(@Body() body: unknown): Promise<JoinTokenView> {
    const { ttlS, uses } = check(tokenSchema, body ?? {}, 'request.invalid', 'join token', {
      hint: 'send {"ttlS": seconds, "uses": devices} as JSON',
    });
    return this.tokens.create(milliseconds(1000 * ttlS), uses);
  }

  @Get('join-tokens')
  list(): ListBody<JoinTokenView> {
    return { items: this.tokens.list() };
  }

  @Delete('join-tokens/:id')
  @HttpCode(204)
  async remove(@Param('id') id: string): Promise<void> {
    if (await this.tokens.remove(id)) return;
    throw new FleetError('request.not-found', `there is no join token ${JSON.stringify(id)}`, {
      hint: '`fleetgate devices join-token --list` shows those that have not run out',
    });
  }
}
