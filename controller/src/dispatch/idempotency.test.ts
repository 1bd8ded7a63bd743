import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { digestOf, IdempotentAnswers } from './idempotency.js';

const SETTINGS = { keptFor: milliseconds(100), maxKept: 3, maxBytes: 50 };

type Step =
  | { readonly kind: 'ask'; readonly key: string; readonly digest: string }
  | { readonly kind: 'keep'; readonly key: string; readonly bytes: number }
  | { readonly kind: 'forget' | 'stale'; readonly key: string }
  | { readonly kind: 'wait'; readonly ms: number };

const key = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('ask' as const), key, digest: fc.constantFrom('x', 'y') }),
  fc.record({ kind: fc.constant('keep' as const), key, bytes: fc.nat(60) }),
  fc.record({ kind: fc.constantFrom('forget' as const, 'stale' as const), key }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(120) }),
);

describe('answers by key', () => {
  it('stay within their bounds, belong to one request each, and are begun once while they are there', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const answers = new IdempotentAnswers<{ readonly digest: string }>(SETTINGS);
        const underWay = new Map<string, { readonly digest: string }>();
        const kept = new Map<string, { readonly digest: string; readonly until: number }>();
        let now = 0;
        for (const one of steps) {
          const begun = 'key' in one ? underWay.get(one.key) : undefined;
          if (one.kind === 'wait') now += one.ms;
          else if (one.kind === 'ask') {
            const meaning = answers.look(one.key, one.digest, unixMs(now));
            if (meaning.kind === 'new') {
              // Only what is neither under way nor within its time is new; what was crowded out may be.
              expect(begun).toBeUndefined();
              const answer = { digest: one.digest };
              answers.begin(one.key, one.digest, answer);
              underWay.set(one.key, answer);
              kept.delete(one.key);
            } else {
              const known = begun ?? kept.get(one.key);
              expect(begun !== undefined || (kept.get(one.key)?.until ?? 0) > now).toBe(true);
              expect(meaning.kind === 'known').toBe(known?.digest === one.digest);
              if (meaning.kind === 'known') expect(meaning.answer.digest).toBe(one.digest);
            }
          } else if (begun !== undefined) {
            if (one.kind === 'keep') {
              answers.keep(one.key, begun, one.bytes, unixMs(now));
              kept.set(one.key, { digest: begun.digest, until: now + SETTINGS.keptFor });
            }
            if (one.kind === 'forget') answers.forget(one.key, begun);
            if (one.kind === 'stale') answers.forget(one.key, { digest: begun.digest });
            else underWay.delete(one.key);
          }
          expect(answers.kept.count).toBeLessThanOrEqual(SETTINGS.maxKept);
          expect(answers.kept.bytes).toBeLessThanOrEqual(SETTINGS.maxBytes);
          if (answers.kept.count === 0) expect(answers.kept.bytes).toBe(0);
        }
        answers.expire(unixMs(now + 1000));
        expect(answers.kept).toEqual({ count: 0, bytes: 0 });
      }),
    );
  });
});

describe('digestOf', () => {
  it('is the same for the same value in any order of its fields, and only for that', () => {
    const shuffled = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(shuffled);
      if (typeof value !== 'object' || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .toReversed()
          .map(([name, field]) => [name, shuffled(field)]),
      );
    };
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        expect(digestOf(shuffled(a))).toBe(digestOf(a));
        if (digestOf(a) === digestOf(b)) expect(JSON.parse(JSON.stringify(a))).toEqual(JSON.parse(JSON.stringify(b)));
      }),
    );
    expect(digestOf({ a: 1, b: undefined })).toBe(digestOf({ a: 1 }));
    expect(digestOf([1, 2])).not.toBe(digestOf([2, 1]));
  });
});
