import type { AuditBody } from '@fleetgate/shared/api/access';
import { check } from '@fleetgate/shared/check';
import { Controller, Get, Inject, Query } from '@nestjs/common';
import { z } from 'zod';

import { SqliteAuditLog } from './sqlite-audit-log.js';

const listQuery = z.object({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  before: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
});

/** Who changed what. */
@Controller('api/v1/audit')
export class AuditController {
  constructor(@Inject(SqliteAuditLog) private readonly audit: SqliteAuditLog) {}

  @Get()
  async list(@Query() query: unknown): Promise<AuditBody> {
    const { limit, before } = check(listQuery, query, 'request.invalid', 'query', {
      hint: 'audit?limit=1..1000&before=NUMBER',
    });
    return this.audit.list(limit, before);
  }
}
