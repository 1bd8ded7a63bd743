import { timingSafeEqual } from 'node:crypto';

import type { Scope } from '@fleetgate/shared/api/access';
import { FleetError } from '@fleetgate/shared/errors';

import { type AccessKey, digestOf, KEY_PREFIX } from './access-key.js';
import type { Caller } from './caller.js';
import type { Found } from './key-ring.js';
import type { RateLimits } from './rate-limits.js';
import { needOf } from './scopes.js';

export interface AccessPolicy {
  /** Of the controller's own key; undefined: who reaches the port without a key may do everything; only for loopback. */
  readonly ownerDigest: Buffer | undefined;
  /** Names under which the controller may be addressed; undefined: any. */
  readonly hosts: ReadonlySet<string> | undefined;
  readonly isDevice: (deviceId: string, secret: string) => boolean;
  /** The key of a text, whose sha256 is given as well. */
  readonly findKey: (text: string, digest: Buffer) => Found;
  readonly rates?: RateLimits;
}

export interface AccessRequest {
  readonly method: string;
  /** As the router knows it; undefined where it knows none. */
  readonly route: string | undefined;
  readonly authorization: string | undefined;
  readonly host: string | undefined;
}

/** What becomes of a request. A refusal names who asked where that is known. */
export type Judgement =
  | { readonly caller: Caller; readonly key: AccessKey | undefined; readonly error: undefined }
  | { readonly caller: Caller | undefined; readonly key: undefined; readonly error: FleetError };

type Identity =
  { readonly caller: Caller; readonly key?: AccessKey } | { readonly caller?: undefined; readonly error: FleetError };

/**
 * Whether a request may pass, and who sends it.
 *
 * Health, enrolment (which has its own token) and the dashboard's files are open; artefacts are for devices too. Everything
 * else needs a key with the scope of its route, except on a controller without a key of its own, where only keys that were
 * given out are held to their scopes: other texts in their place are what clients send who cannot do without.
 */
export function judge(request: AccessRequest, policy: AccessPolicy): Judgement {
  const { method, route, host } = request;
  if (policy.hosts !== undefined && !policy.hosts.has(hostName(host))) {
    // A web page that rebinds its own name to 127.0.0.1 would otherwise speak for the person who opened it.
    return refused(
      new FleetError('auth.forbidden', `this controller does not answer to the name ${hostName(host)}`, {
        hint: 'address it as 127.0.0.1 or localhost, or start it with --host and an API key',
      }),
    );
  }
  // What nobody has thought of is for the owner.
  const need = route === undefined ? undefined : (needOf(method, route) ?? 'admin');
  const { rates } = policy;
  if (need === 'open') return passed({ actor: { kind: 'anyone' }, tenant: undefined, seesAll: false, rates });
  const token = bearerToken(request.authorization);
  if (need === 'device' && token !== undefined && isDeviceToken(token, policy)) {
    return passed({ actor: { kind: 'anyone' }, tenant: undefined, seesAll: false, rates });
  }
  const identity = identify(token, policy);
  if (identity.caller === undefined) return refused(identity.error);
  const { caller, key } = identity;
  const scope = need === 'device' ? 'read' : need;
  if (key !== undefined && scope !== undefined && !key.scopes.has(scope)) return refused(lacking(key, scope), caller);
  return passed(caller, key);
}

function identify(token: string | undefined, policy: AccessPolicy): Identity {
  const { ownerDigest, rates } = policy;
  const all = { tenant: undefined, seesAll: true, rates };
  if (token === undefined) {
    if (ownerDigest === undefined) return { caller: { actor: { kind: 'loopback' }, ...all } };
    return {
      error: new FleetError('auth.missing', 'this controller asks for an API key', {
        hint: 'send it as `Authorization: Bearer KEY`',
      }),
    };
  }
  const isOurs = token.startsWith(KEY_PREFIX);
  if (ownerDigest === undefined && !isOurs) return { caller: { actor: { kind: 'loopback' }, ...all } };
  const digest = digestOf(token);
  if (ownerDigest !== undefined && timingSafeEqual(digest, ownerDigest)) {
    return { caller: { actor: { kind: 'owner-key' }, ...all } };
  }
  const { state, key } = isOurs ? policy.findKey(token, digest) : { state: 'unknown' as const, key: undefined };
  if (key === undefined) return { error: invalid(state) };
  const { id, label, tenant } = key;
  return { caller: { actor: { kind: 'key', id, label }, tenant, seesAll: false, rates }, key };
}

function invalid(state: 'expired' | 'revoked' | 'unknown'): FleetError {
  if (state !== 'unknown') {
    return new FleetError('auth.invalid', `this API key is ${state}`, {
      hint: 'whoever runs the controller can make another: `fleetgate keys create`',
    });
  }
  return new FleetError('auth.invalid', 'the API key is wrong', {
    hint: "the owner's is FLEETGATE_API_KEY of the controller, or the file api-key in its data directory; others are made by `fleetgate keys create`",
  });
}

function lacking({ scopes }: AccessKey, scope: Scope): FleetError {
  return new FleetError(
    'auth.forbidden',
    `this needs a key with the scope ${scope}; yours has ${[...scopes].join(', ')}`,
    {
      hint: 'whoever runs the controller can make one: `fleetgate keys create`',
    },
  );
}

function passed(caller: Caller, key?: AccessKey): Judgement {
  return { caller, key, error: undefined };
}

function refused(error: FleetError, caller?: Caller): Judgement {
  return { caller, key: undefined, error };
}

function isDeviceToken(token: string, policy: AccessPolicy): boolean {
  const colon = token.indexOf(':');
  return colon > 0 && policy.isDevice(token.slice(0, colon), token.slice(colon + 1));
}

function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +(\S+)\s*$/i.exec(header ?? '')?.[1];
}

function hostName(host: string | undefined): string {
  return (host ?? '')
    .toLowerCase()
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '');
}
