import type { ListBody, RequestView } from '@fleetgate/shared/api/operations';
import { check } from '@fleetgate/shared/check';
import { FleetError } from '@fleetgate/shared/errors';
import { requestIdSchema } from '@fleetgate/shared/ids';
import { Controller, Get, Inject, Param, Query } from '@nestjs/common';
import { z } from 'zod';

import type { Ledger } from '../dispatch/ledger.js';

export const LEDGER = Symbol('ledger');

const listQuery = z.object({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  before: requestIdSchema.optional(),
});

/** Decision records. */
@Controller('api/v1/requests')
export class RequestController {
  constructor(@Inject(LEDGER) private readonly ledger: Ledger) {}

  @Get()
  async list(@Query() query: unknown): Promise<ListBody<RequestView>> {
    const { limit, before } = check(listQuery, query, 'request.invalid', 'query', {
      hint: 'requests?limit=1..1000&before=REQUEST-ID',
    });
    return { items: await this.ledger.list({ limit, before }) };
  }

  @Get(':id')
  async get(@Param('id') id: string): Promise<RequestView> {
    const requestId = requestIdSchema.safeParse(id);
    const record = requestId.success ? await this.ledger.get(requestId.data) : undefined;
    if (record !== undefined) return record;
    throw new FleetError('request.not-found', `there is no request ${JSON.stringify(id)}`, {
      hint: '`fleetgate requests` lists the newest; records are kept for the retention time',
    });
  }
}
