import type { Clock } from '@fleetgate/shared/clock';
import { messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import type { FastifyInstance } from 'fastify';

import { actorText, type AuditEntry, auditEntry } from './audit-entry.js';

export interface AuditParts {
  readonly audit: { add(entry: AuditEntry): Promise<boolean> };
  readonly clock: Clock;
  readonly log: Logger;
}

/** Keeps every change that is made through a server in the audit log, before its answer leaves. */
export function auditChanges(server: FastifyInstance, parts: AuditParts): void {
  server.addHook('onSend', async (request, reply) => {
    const { method, params, body, ip: address, caller, noted } = request;
    const route = request.routeOptions.url;
    const status = reply.statusCode;
    const entry = auditEntry({ method, route, params, body, address, status, caller, noted }, parts.clock.now());
    if (entry !== undefined) await keep(parts, entry);
  });
}

/** Never rejects. */
async function keep({ audit, log }: AuditParts, entry: AuditEntry): Promise<void> {
  const { actor, address, action, target, outcome, before, after } = entry;
  try {
    if (!(await audit.add(entry))) return;
  } catch (error) {
    // The change has been made, and is told as made; the line below then is all that is left of it.
    log.error('audit.not-kept', { reason: messageOf(error) });
  }
  log.info(`audit.${outcome}`, { actor: actorText(actor), address, action, target, before, after });
}
