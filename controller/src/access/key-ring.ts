import { timingSafeEqual } from 'node:crypto';

import type { KeyView, NewKeyView } from '@fleetgate/shared/api/access';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { Random } from '@fleetgate/shared/random';
import type { UnixMs } from '@fleetgate/shared/units/quantity';
import { type Observable, Subject } from 'rxjs';

import { type AccessKey, idIn, keyView, newKey, readKeyRequest, stateOf } from './access-key.js';

/** Keys together, those that are over included: at 0.5 KiB each, memory for as many is no matter. */
export const MOST_KEYS = 10_000;

/** Where keys outlive the controller. */
export interface KeyStore {
  addKey(key: AccessKey): Promise<void>;
  /** Keeps that a key is revoked; one that is not there changes nothing. */
  revokeKey(id: string, at: UnixMs): Promise<void>;
  removeKey(id: string): Promise<void>;
  saveUses(uses: ReadonlyMap<string, UnixMs>): Promise<void>;
}

/** What became of the text of a key; only who has the whole of it learns that it is over. */
export type Found =
  | { readonly state: 'valid'; readonly key: AccessKey }
  | { readonly state: 'expired' | 'revoked' | 'unknown'; readonly key: undefined };

const UNKNOWN: Found = { state: 'unknown', key: undefined };
/** Compared with where there is no key of an id, so that this takes as long. */
const NO_DIGEST = Buffer.alloc(32);

/** The keys that were given out. The single writer of their memory and store; requests are judged by memory alone. */
export class KeyRing {
  readonly #keys: Map<string, AccessKey>;
  readonly #uses: Map<string, UnixMs>;
  readonly #unsaved = new Map<string, UnixMs>();
  readonly #revoked = new Subject<string>();
  readonly #parts: { readonly store: KeyStore; readonly clock: Clock; readonly random: Random };

  constructor(
    parts: { readonly store: KeyStore; readonly clock: Clock; readonly random: Random },
    kept: { readonly keys: readonly AccessKey[]; readonly uses: ReadonlyMap<string, UnixMs> },
  ) {
    this.#parts = parts;
    this.#keys = new Map(kept.keys.map((key) => [key.id, key]));
    this.#uses = new Map(kept.uses);
  }

  /** Takes up what another controller has given out and revoked. */
  reload({ keys }: { readonly keys: readonly AccessKey[] }): void {
    const before = new Map(this.#keys);
    this.#keys.clear();
    for (const key of keys) {
      this.#keys.set(key.id, key);
      if (key.revokedAt !== undefined && before.get(key.id)?.revokedAt === undefined) this.#revoked.next(key.id);
    }
  }

  /** Ids of keys at the moment from which they open nothing. */
  get revoked$(): Observable<string> {
    return this.#revoked;
  }

  /** The key of a text, whose sha256 is `digest`. O(1). */
  find(text: string, digest: Buffer): Found {
    const id = idIn(text);
    const key = id === undefined ? undefined : this.#keys.get(id);
    const isSame = timingSafeEqual(digest, key?.digest ?? NO_DIGEST);
    if (key === undefined || !isSame) return UNKNOWN;
    const now = this.#parts.clock.now();
    const state = stateOf(key, now);
    if (state !== 'valid') return { state, key: undefined };
    this.#unsaved.set(key.id, now);
    return { state, key };
  }

  views(): readonly KeyView[] {
    const now = this.#parts.clock.now();
    return [...this.#keys.values()].map((key) => this.#view(key, now));
  }

  /** Makes a key; it is in the store when it resolves. Throws `request.invalid` or `key.too-many`. */
  async add(body: unknown): Promise<NewKeyView> {
    const { clock, random, store } = this.#parts;
    const now = clock.now();
    const request = readKeyRequest(body, now);
    const over = this.#keys.size < MOST_KEYS ? undefined : this.#longestOver(now);
    if (this.#keys.size >= MOST_KEYS && over === undefined) {
      throw new FleetError('key.too-many', `${MOST_KEYS} keys are valid, which is the limit`, {
        hint: 'revoke those that nobody uses: `fleetgate keys list` shows when each was used',
      });
    }
    const { key, text } = newKey(request, now, random);
    if (this.#keys.has(key.id)) throw new FleetError('internal.invariant', `the id ${key.id} was drawn twice`);
    // Kept in memory first, for the bound to hold while the store writes; nobody knows its text yet.
    this.#keys.set(key.id, key);
    if (over !== undefined) this.#forget(over.id);
    try {
      await store.addKey(key);
      if (over !== undefined) await store.removeKey(over.id);
    } catch (error) {
      this.#keys.delete(key.id);
      throw error;
    }
    return { ...this.#view(key, now), key: text };
  }

  /** From the call on the key opens nothing; in the store when it resolves. Throws `key.unknown`. */
  async revoke(id: string): Promise<KeyView> {
    const { clock, store } = this.#parts;
    const now = clock.now();
    const key = this.#keys.get(id);
    if (key === undefined) {
      throw new FleetError('key.unknown', `there is no key ${JSON.stringify(id.slice(0, 80))}`, {
        hint: '`fleetgate keys list` shows the ids; an id is the part between fg_ and the next _',
      });
    }
    const revoked = { ...key, revokedAt: key.revokedAt ?? now };
    this.#keys.set(id, revoked);
    this.#revoked.next(id);
    await store.revokeKey(id, revoked.revokedAt);
    return this.#view(revoked, now);
  }

  /** Keeps when keys were last used; those that could not be kept are again next time. */
  async saveUses(): Promise<void> {
    if (this.#unsaved.size === 0) return;
    const uses = new Map(this.#unsaved);
    this.#unsaved.clear();
    for (const [id, at] of uses) this.#uses.set(id, at);
    try {
      await this.#parts.store.saveUses(uses);
    } catch (error) {
      for (const [id, at] of uses) if (!this.#unsaved.has(id)) this.#unsaved.set(id, at);
      throw error;
    }
  }

  #view(key: AccessKey, now: UnixMs): KeyView {
    return keyView(key, this.#unsaved.get(key.id) ?? this.#uses.get(key.id), now);
  }

  #longestOver(now: UnixMs): AccessKey | undefined {
    const endOf = ({ revokedAt, expiresAt }: AccessKey): number => revokedAt ?? expiresAt ?? Infinity;
    const over = [...this.#keys.values()].filter((key) => stateOf(key, now) !== 'valid');
    return over.toSorted((a, b) => endOf(a) - endOf(b))[0];
  }

  #forget(id: string): void {
    this.#keys.delete(id);
    this.#uses.delete(id);
    this.#unsaved.delete(id);
  }
}
