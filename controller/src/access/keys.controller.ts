import type { KeyView, NewKeyView } from '@fleetgate/shared/api/access';
import type { ListBody } from '@fleetgate/shared/api/operations';
import { Body, Controller, Delete, Get, Header, HttpCode, Inject, Param, Post, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

import { note } from './caller.js';
import { KeyRing } from './key-ring.js';

/** Keys that the controller gives out. */
@Controller('api/v1/keys')
export class KeysController {
  constructor(@Inject(KeyRing) private readonly ring: KeyRing) {}

  @Get()
  list(): ListBody<KeyView> {
    return { items: this.ring.views() };
  }

  @Post()
  @HttpCode(201)
  @Header('cache-control', 'no-store')
  async create(@Body() body: unknown, @Req() request: FastifyRequest): Promise<NewKeyView> {
    const made = await this.ring.add(body);
    const { id, label, tenant, scopes, expiresAtMs } = made;
    note(request, { target: id, after: { label, tenant, scopes, expiresAtMs } });
    return made;
  }

  @Delete(':id')
  @HttpCode(204)
  async revoke(@Param('id') id: string, @Req() request: FastifyRequest): Promise<void> {
    const { label, tenant, scopes } = await this.ring.revoke(id);
    note(request, { target: id, before: { label, tenant, scopes } });
  }
}
