/** Keys, tenants and the audit log, as the HTTP API shows them. */

/**
 * What a key may do: ask the fleet (`infer`), look at it (`read`), change plans, budgets, experts and devices (`operate`),
 * give out keys, limit tenants and read the audit log (`admin`).
 */
export const SCOPES = ['infer', 'read', 'operate', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

export interface KeyView {
  readonly id: string;
  readonly label: string;
  /** Null: requests count for whom their field `user` names. */
  readonly tenant: string | null;
  readonly scopes: readonly Scope[];
  readonly state: 'valid' | 'expired' | 'revoked';
  readonly createdAtMs: number;
  readonly expiresAtMs: number | null;
  readonly revokedAtMs: number | null;
  /** Right within about a minute; null: never. */
  readonly lastUsedAtMs: number | null;
}

/** A key that has just been made; its text is shown this once. */
export interface NewKeyView extends KeyView {
  readonly key: string;
}

/** Null: no limit. */
export interface TenantLimits {
  readonly requestsPerMinute: number | null;
  readonly outputTokensPerMinute: number | null;
}

export interface TenantView extends TenantLimits {
  readonly name: string;
  /** Valid keys that count for it. */
  readonly keys: number;
}

/**
 * `key` one that was given out, `owner-key` the controller's own, `loopback` a program of this machine without one, `anyone`
 * somebody who needs none (an enrolment has a token of its own).
 */
export interface ActorView {
  readonly kind: 'key' | 'owner-key' | 'loopback' | 'anyone';
  readonly id?: string;
  readonly label?: string;
}

export interface AuditView {
  readonly id: number;
  readonly atMs: number;
  readonly actor: ActorView;
  /** Address that it came from. */
  readonly address: string;
  /** Method and route. */
  readonly action: string;
  /** What was changed, where the route leaves that open. */
  readonly target: string | null;
  /** `refused` for want of a scope; `failed` by a fault of the controller, after which something may have changed. */
  readonly outcome: 'done' | 'refused' | 'failed';
  readonly status: number;
  readonly before?: unknown;
  readonly after?: unknown;
}

export interface AuditBody {
  readonly items: readonly AuditView[];
  /** `before` of the next page; null at the end. */
  readonly next: number | null;
}
