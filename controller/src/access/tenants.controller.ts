import type { TenantLimits, TenantView } from '@fleetgate/shared/api/access';
import type { ListBody } from '@fleetgate/shared/api/operations';
import { Body, Controller, Get, Inject, Param, Put, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

import { note } from './caller.js';
import { Tenants } from './tenants.js';

/** What tenants may ask within a minute. */
@Controller('api/v1/tenants')
export class TenantsController {
  constructor(@Inject(Tenants) private readonly tenants: Tenants) {}

  @Get()
  list(): ListBody<TenantView> {
    return { items: this.tenants.views() };
  }

  @Put(':name')
  async set(@Param('name') name: string, @Body() body: unknown, @Req() request: FastifyRequest): Promise<TenantLimits> {
    const before = this.tenants.limitsOf(name);
    const after = await this.tenants.set(name, body);
    note(request, { before, after });
    return after;
  }
}
