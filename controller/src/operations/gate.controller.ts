import type { GateView, RequestView } from '@fleetgate/shared/api/operations';
import { Controller, Get, Inject } from '@nestjs/common';

import type { Ledger } from '../dispatch/ledger.js';
import { LEDGER } from './request.controller.js';

export const GATE = Symbol('gate');

/** Newest requests that the traffic is judged by. */
const NEWEST = 1000;

/** The gate: its state, what it holds of experts and classes, and the traffic beside its training. */
@Controller('api/v1')
export class GateController {
  constructor(
    @Inject(GATE) private readonly view: (requests: readonly RequestView[]) => GateView,
    @Inject(LEDGER) private readonly ledger: Ledger,
  ) {}

  @Get('gate')
  async gate(): Promise<GateView> {
    return this.view(await this.ledger.list({ limit: NEWEST }));
  }
}
