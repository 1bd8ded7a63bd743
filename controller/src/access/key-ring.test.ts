import { ManualClock } from '@fleetgate/shared/clock';
import { SeededRandom, systemRandom } from '@fleetgate/shared/random';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';

import { digestOf, idIn } from './access-key.js';
import { KeyRing, MOST_KEYS } from './key-ring.js';
import { MemoryKeyStore } from './key-store.fixture.js';

const NONE = { keys: [], uses: new Map() };
let clock: ManualClock;
let store: MemoryKeyStore;
let ring: KeyRing;

beforeEach(() => {
  clock = new ManualClock();
  store = new MemoryKeyStore();
  ring = new KeyRing({ store, clock, random: systemRandom }, NONE);
});

const find = (text: string) => ring.find(text, digestOf(text));
const reopened = async (): Promise<KeyRing> =>
  new KeyRing({ store, clock, random: systemRandom }, await store.loadKeys());

describe('keys', () => {
  it('are found by their text alone, and keep nothing that leads to it', async () => {
    const made = await ring.add({ label: 'ci', tenant: 'acme', scopes: ['infer', 'read'] });
    expect(made.key).toMatch(/^fg_[a-z0-9]{12}_[\w-]{43}$/);
    expect(find(made.key)).toMatchObject({ state: 'valid', key: { id: made.id, tenant: 'acme' } });
    const secret = made.key.slice(made.key.length - 43);
    expect(JSON.stringify([ring.views(), await store.loadKeys()])).not.toContain(secret);
    expect((await reopened()).find(made.key, digestOf(made.key)).state).toBe('valid');
  });

  it('are not found by any text that differs', async () => {
    const { key } = await ring.add({ label: 'x', scopes: ['infer'] });
    fc.assert(
      fc.property(
        fc.nat(key.length - 1),
        fc.constantFrom('a', 'Z', '9', '_', '-', ' ', '\u0000', 'é'),
        (at, character) => {
          const other = key.slice(0, at) + character + key.slice(at + 1);
          expect(find(other).state).toBe(other === key ? 'valid' : 'unknown');
        },
      ),
    );
    fc.assert(fc.property(fc.string(), (text) => find(text).state === 'unknown'));
    for (const text of [`${key}x`, key.slice(0, -1), '', 'fg_', key.toUpperCase(), `${key}\n`]) {
      expect(find(text).state, text).toBe('unknown');
    }
  });

  it('open nothing from the call on that revokes them, also where that cannot be kept', async () => {
    const { id, key } = await ring.add({ label: 'x', scopes: ['infer'] });
    const told: string[] = [];
    ring.revoked$.subscribe((one) => told.push(one));
    store.failure = new Error('disk full');
    await expect(ring.revoke(id)).rejects.toThrow('disk full');
    expect([find(key).state, told]).toEqual(['revoked', [id]]);
    store.failure = undefined;
    const firstAt = clock.now();
    clock.advance(5);
    expect(await ring.revoke(id)).toMatchObject({ state: 'revoked', revokedAtMs: firstAt });
    expect((await reopened()).find(key, digestOf(key)).state).toBe('revoked');
    await expect(ring.revoke('nobody')).rejects.toMatchObject({ code: 'key.unknown' });
  });

  it('expire by the clock', async () => {
    const { key } = await ring.add({ label: 'x', scopes: ['infer'], expiresAtMs: clock.now() + 10 });
    clock.advance(9);
    expect(find(key).state).toBe('valid');
    clock.advance(1);
    expect([find(key).state, ring.views()[0]?.state]).toEqual(['expired', 'expired']);
  });

  it('are not there where they could not be kept', async () => {
    store.failure = new Error('disk full');
    await expect(ring.add({ label: 'x', scopes: ['infer'] })).rejects.toThrow('disk full');
    expect(ring.views()).toEqual([]);
  });

  it('say when they were used, kept now and then', async () => {
    const { id, key } = await ring.add({ label: 'x', scopes: ['infer'] });
    expect(ring.views()[0]?.lastUsedAtMs).toBeNull();
    clock.advance(1000);
    find(key);
    const usedAt = clock.now();
    expect(ring.views()[0]?.lastUsedAtMs).toBe(usedAt);
    expect((await store.loadKeys()).uses.size).toBe(0);
    store.failure = new Error('disk full');
    await expect(ring.saveUses()).rejects.toThrow();
    store.failure = undefined;
    await ring.saveUses();
    expect((await store.loadKeys()).uses).toEqual(new Map([[id, usedAt]]));
    expect((await reopened()).views()[0]?.lastUsedAtMs).toBe(usedAt);
  });

  it.each([
    ['no label', { scopes: ['infer'] }],
    ['an empty label', { label: '', scopes: ['infer'] }],
    ['a label of spaces', { label: '  ', scopes: ['infer'] }],
    ['a label that cannot be shown', { label: 'a\u001b[31m', scopes: ['infer'] }],
    ['half a character', { label: '\ud800', scopes: ['infer'] }],
    ['a long label', { label: 'x'.repeat(81), scopes: ['infer'] }],
    ['no scope', { label: 'x', scopes: [] }],
    ['an unknown scope', { label: 'x', scopes: ['root'] }],
    ['a tenant that no address can hold', { label: 'x', scopes: ['infer'], tenant: '..' }],
    ['an end in the past', { label: 'x', scopes: ['infer'], expiresAtMs: 1_699_999_999_999 }],
    ['an end now', { label: 'x', scopes: ['infer'], expiresAtMs: 1_700_000_000_000 }],
    ['an end that never comes', { label: 'x', scopes: ['infer'], expiresAtMs: 9e15 }],
    ['an end that is no number', { label: 'x', scopes: ['infer'], expiresAtMs: '2030-01-01' }],
    ['a field that does not exist', { label: 'x', scopes: ['infer'], secret: 'mine' }],
    ['nothing', null],
    ['a list', []],
  ])('are refused with %s', async (_what, body) => {
    await expect(ring.add(body)).rejects.toMatchObject({ code: 'request.invalid' });
    expect(ring.views()).toEqual([]);
  });

  it('may have names of odd characters', async () => {
    for (const name of ['/', '%2e%2e', '__proto__', '日本', "'; DROP TABLE access_key; --", '🦊']) {
      expect(await ring.add({ label: name, tenant: name, scopes: ['infer'] })).toMatchObject({
        label: name,
        tenant: name,
      });
    }
  });

  it('are as many as there is room for: of more, the one that has been over the longest goes', async () => {
    ring = new KeyRing({ store, clock, random: new SeededRandom(3) }, NONE);
    const texts: string[] = [];
    for (let at = 0; at < MOST_KEYS; at++) texts.push((await ring.add({ label: `${at}`, scopes: ['infer'] })).key);
    await expect(ring.add({ label: 'more', scopes: ['infer'] })).rejects.toMatchObject({ code: 'key.too-many' });
    for (const at of [7, 3]) {
      await ring.revoke(idIn(texts[at] ?? '') ?? '');
      clock.advance(1);
    }
    await ring.add({ label: 'more', scopes: ['infer'] });
    const labels = new Set(ring.views().map(({ label }) => label));
    expect([labels.has('3'), labels.has('7'), labels.size]).toEqual([true, false, MOST_KEYS]);
    expect((await store.loadKeys()).keys).toHaveLength(MOST_KEYS);
    expect(find(texts.at(-1) ?? '').state).toBe('valid');
  });
});
