import type { Scope } from '@fleetgate/shared/api/access';

/** What a route asks for: a scope, nothing (`open`), or to be a device or have `read` (`device`). */
export type Need = Scope | 'open' | 'device';

interface Needs {
  /** Of GET and HEAD. */
  readonly read?: Need;
  /** Of every other method. */
  readonly change?: Need;
}

/** By the route's first name below /api/v1. A new one has to be thought of here: without a row it is the owner's alone. */
const RESOURCES: ReadonlyMap<string, Needs> = new Map<string, Needs>([
  ['artefacts', { read: 'device' }],
  ['audit', { read: 'admin' }],
  ['boards', { read: 'read' }],
  ['budgets', { read: 'read', change: 'operate' }],
  ['devices', { read: 'read', change: 'operate' }],
  // It has tokens and proofs of its own.
  ['enrol', { change: 'open' }],
  // Who may join the fleet.
  ['enrolments', { read: 'read', change: 'operate' }],
  ['events', { read: 'read' }],
  ['experts', { read: 'read', change: 'operate' }],
  ['gate', { read: 'read' }],
  // A token lets devices in; the list does not hold it.
  ['join-tokens', { read: 'read', change: 'operate' }],
  ['keys', { read: 'admin', change: 'admin' }],
  ['plans', { read: 'read', change: 'operate' }],
  ['profiles', { read: 'read' }],
  ['proposals', { read: 'read', change: 'operate' }],
  ['releases', { read: 'read', change: 'operate' }],
  ['requests', { read: 'read' }],
  ['rollouts', { read: 'read', change: 'operate' }],
  // Evaluation, which changes nothing.
  ['score', { change: 'infer' }],
  ['status', { read: 'read' }],
  ['telemetry', { read: 'read' }],
  ['tenants', { read: 'read', change: 'admin' }],
  ['twins', { read: 'read' }],
  ['variants', { read: 'read', change: 'operate' }],
]);

const PAGES: ReadonlyMap<string, Needs> = new Map<string, Needs>([
  ['/healthz', { read: 'open' }],
  ['/readyz', { read: 'read' }],
  ['/metrics', { read: 'read' }],
  ['/api/openapi.json', { read: 'read' }],
  // The dashboard's files hold no state.
  ['/', { read: 'open' }],
  ['/*', { read: 'open' }],
]);

/** What a method of a route asks for; undefined where nobody has thought of it. `route` is as the router knows it. */
export function needOf(method: string, route: string): Need | undefined {
  if (route.startsWith('/v1/')) return 'infer';
  const resource = /^\/api\/v1\/([^/]+)/.exec(route)?.[1];
  const needs = resource === undefined ? PAGES.get(route) : RESOURCES.get(resource);
  return isReading(method) ? needs?.read : needs?.change;
}

/** Whether a request changes what the owner answers for: what the audit log holds. Asking the fleet does not. */
export function isChange(method: string, route: string): boolean {
  return !isReading(method) && route.startsWith('/api/v1/') && needOf(method, route) !== 'infer';
}

function isReading(method: string): boolean {
  return method === 'GET' || method === 'HEAD';
}
