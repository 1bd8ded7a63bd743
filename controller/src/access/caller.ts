import type { ActorView } from '@fleetgate/shared/api/access';
import type { FastifyRequest } from 'fastify';

import type { RateLimits } from './rate-limits.js';

/** Who sends a request, as its key says. */
export interface Caller {
  readonly actor: ActorView;
  /** Of the key: whose budgets and limits count. Undefined: the request says for whom it is. */
  readonly tenant: string | undefined;
  /** Files and batches of every tenant are shown. */
  readonly seesAll: boolean;
  /** Undefined: nothing is limited. */
  readonly rates: RateLimits | undefined;
}

/** What a handler tells the audit log beside the address of the request: no secrets. */
export interface NotedChange {
  readonly target?: string;
  readonly before?: unknown;
  readonly after?: unknown;
}

declare module 'fastify' {
  interface FastifyRequest {
    caller: Caller | null;
    noted: NotedChange | null;
  }
}

/** Of a server that asks nobody who they are. */
const SOMEBODY: Caller = { actor: { kind: 'anyone' }, tenant: undefined, seesAll: true, rates: undefined };

export function callerOf(request: Pick<FastifyRequest, 'caller'>): Caller {
  return request.caller ?? SOMEBODY;
}

/** Tells the audit log what a change has changed. */
export function note(request: Pick<FastifyRequest, 'noted'>, change: NotedChange): void {
  request.noted = change;
}
