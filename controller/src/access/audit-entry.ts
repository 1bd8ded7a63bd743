import type { ActorView, AuditView } from '@fleetgate/shared/api/access';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import type { Caller, NotedChange } from './caller.js';
import { isChange } from './scopes.js';

/** Of `before` and `after` together, as JSON; more is left out, and said so. */
const MOST_DETAIL_BYTES = 16 * 1024;
const MOST_TARGET_CHARACTERS = 200;

/** A row of the audit log that has no number yet. */
export type AuditEntry = Omit<AuditView, 'id'>;

export interface AnsweredRequest {
  readonly method: string;
  /** As the router knows it; undefined where it knows none. */
  readonly route: string | undefined;
  /** The names within its path. */
  readonly params: unknown;
  readonly body: unknown;
  readonly address: string;
  readonly status: number;
  readonly caller: Caller | null;
  readonly noted: NotedChange | null;
}

/**
 * What the audit log keeps of a request: of changes that were made, were refused to somebody known for want of a scope, or
 * failed by a fault of ours. What was not understood or not possible has changed nothing.
 */
export function auditEntry(request: AnsweredRequest, at: UnixMs): AuditEntry | undefined {
  const { method, route, params, body, address, status, caller, noted } = request;
  if (route === undefined || caller === null || !isChange(method, route)) return undefined;
  const outcome = outcomeOf(status);
  if (outcome === undefined) return undefined;
  return {
    atMs: at,
    actor: caller.actor,
    address,
    action: `${method} ${route}`,
    target: (noted?.target ?? namesIn(params) ?? nameIn(body))?.slice(0, MOST_TARGET_CHARACTERS) ?? null,
    outcome,
    status,
    ...detailOf(noted),
  };
}

/** Refusals that tell nothing new: of the same actor and action. */
export function refusalKey({ actor, action }: AuditEntry): string {
  return `${actorText(actor)} ${action}`;
}

export function actorText({ kind, id }: ActorView): string {
  return id === undefined ? kind : `${kind}:${id}`;
}

function outcomeOf(status: number): AuditView['outcome'] | undefined {
  if (status < 400) return 'done';
  if (status === 403) return 'refused';
  return status >= 500 ? 'failed' : undefined;
}

function namesIn(params: unknown): string | undefined {
  if (typeof params !== 'object' || params === null) return undefined;
  const names = Object.values(params).filter((name) => typeof name === 'string');
  return names.length === 0 ? undefined : names.join('/');
}

function nameIn(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null || !('name' in body)) return undefined;
  return typeof body.name === 'string' ? body.name : undefined;
}

/** Of objects, the fields that differ. */
function detailOf(noted: NotedChange | null): Pick<AuditEntry, 'before' | 'after'> {
  if (noted === null) return {};
  const detail = differences(noted);
  return JSON.stringify(detail).length <= MOST_DETAIL_BYTES
    ? detail
    : { after: { leftOut: `more than ${MOST_DETAIL_BYTES} bytes` } };
}

function differences({ before, after }: NotedChange): Pick<AuditEntry, 'before' | 'after'> {
  if (!isRecord(before) || !isRecord(after)) {
    return { ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
  }
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  const changed = names.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]));
  const only = (fields: Readonly<Record<string, unknown>>): object =>
    Object.fromEntries(changed.map((name) => [name, fields[name] ?? null]));
  return { before: only(before), after: only(after) };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
