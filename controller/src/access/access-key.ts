import { createHash } from 'node:crypto';

import { type KeyView, type Scope, SCOPES } from '@fleetgate/shared/api/access';
import { check } from '@fleetgate/shared/check';
import { FleetError } from '@fleetgate/shared/errors';
import { type Random, SECRET_CHARACTERS } from '@fleetgate/shared/random';
import { type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';
import { z } from 'zod';

import { nameField } from './access-names.js';

/** Texts that begin so are keys of ours, or mean to be. */
export const KEY_PREFIX = 'fg_';
const ID_CHARACTERS = 12;
const ID_ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';
const KEY_TEXT = /^fg_([a-z0-9]{12})_[\w-]{43}$/;
const LONGEST_LIFE_MS = 10 * 366 * 24 * 3_600_000;

export interface AccessKey {
  readonly id: string;
  readonly label: string;
  /** Undefined: requests count for whom their field `user` names. */
  readonly tenant: string | undefined;
  readonly scopes: ReadonlySet<Scope>;
  readonly digest: Buffer;
  readonly createdAt: UnixMs;
  readonly expiresAt: UnixMs | undefined;
  readonly revokedAt: UnixMs | undefined;
}

export const keyRequestSchema = z.strictObject({
  label: nameField,
  tenant: nameField.nullish(),
  scopes: z
    .array(z.enum(SCOPES, `expected some of ${SCOPES.join(', ')}`))
    .min(1, `expected at least one of ${SCOPES.join(', ')}`)
    .max(SCOPES.length, 'expected each scope once'),
  expiresAtMs: z.number('expected Unix ms').int().nullish(),
});
export type KeyRequest = z.infer<typeof keyRequestSchema>;

/** What a client asks of a key that is to be made. Throws `request.invalid`. */
export function readKeyRequest(body: unknown, now: UnixMs): KeyRequest {
  const request = check(keyRequestSchema, body, 'request.invalid', 'key', {
    hint: `send {"label": ..., "scopes": [${SCOPES.map((scope) => `"${scope}"`).join(', ')}], "tenant": ..., "expiresAtMs": ...}`,
  });
  const { expiresAtMs } = request;
  if (expiresAtMs != null && !(expiresAtMs > now && expiresAtMs <= now + LONGEST_LIFE_MS)) {
    throw new FleetError('request.invalid', 'key: expiresAtMs: expected an instant to come, within ten years', {
      hint: 'Unix time in milliseconds, or null for a key that does not expire',
      context: { param: 'expiresAtMs' },
    });
  }
  return request;
}

/** A new key and its text, which is told once and not kept. */
export function newKey(
  { label, tenant, scopes, expiresAtMs }: KeyRequest,
  now: UnixMs,
  random: Random,
): { readonly key: AccessKey; readonly text: string } {
  const characters = Array.from({ length: ID_CHARACTERS }, () =>
    ID_ALPHABET.charAt(Math.floor(random.uniform() * ID_ALPHABET.length)),
  );
  const id = characters.join('');
  const text = `${KEY_PREFIX}${id}_${random.token(SECRET_CHARACTERS)}`;
  const key: AccessKey = {
    id,
    label,
    tenant: tenant ?? undefined,
    scopes: new Set(SCOPES.filter((scope) => scopes.includes(scope))),
    digest: digestOf(text),
    createdAt: now,
    expiresAt: expiresAtMs == null ? undefined : unixMs(expiresAtMs),
    revokedAt: undefined,
  };
  return { key, text };
}

/**
 * What is kept of a key. A plain hash, for nobody can try 2^258 secrets; slow ones are for what people choose, and would
 * cost every request milliseconds.
 */
export function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** The id within the text of a key; undefined where it has not our form. */
export function idIn(text: string): string | undefined {
  return KEY_TEXT.exec(text)?.[1];
}

export function stateOf({ expiresAt, revokedAt }: AccessKey, now: UnixMs): KeyView['state'] {
  if (revokedAt !== undefined) return 'revoked';
  return expiresAt !== undefined && expiresAt <= now ? 'expired' : 'valid';
}

export function keyView(key: AccessKey, usedAt: UnixMs | undefined, now: UnixMs): KeyView {
  return {
    id: key.id,
    label: key.label,
    tenant: key.tenant ?? null,
    scopes: [...key.scopes],
    state: stateOf(key, now),
    createdAtMs: key.createdAt,
    expiresAtMs: key.expiresAt ?? null,
    revokedAtMs: key.revokedAt ?? null,
    lastUsedAtMs: usedAt ?? null,
  };
}
