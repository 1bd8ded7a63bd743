import type { StatusView } from '@fleetgate/shared/api/operations';
import { Controller, Get, Inject, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';

import { Metrics } from '../platform/metrics.js';
import { STATUS } from './fleet.controller.js';

export const OPENAPI = Symbol('openapi');

@Controller()
export class HealthController {
  constructor(
    @Inject(STATUS) private readonly status: () => StatusView,
    @Inject(Metrics) private readonly metrics: Metrics,
    @Inject(OPENAPI) private readonly openApi: () => Promise<object>,
  ) {}

  /** The process answers: nothing more is meant. */
  @Get('healthz')
  health(): { readonly status: 'ok' } {
    return { status: 'ok' };
  }

  @Get('readyz')
  ready(@Res({ passthrough: true }) reply: FastifyReply): StatusView {
    const status = this.status();
    reply.status(status.ready ? 200 : 503);
    return status;
  }

  @Get('metrics')
  async scrape(@Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    reply.header('content-type', this.metrics.contentType);
    return this.metrics.render();
  }

  @Get('api/openapi.json')
  describe(): Promise<object> {
    return this.openApi();
  }
}
