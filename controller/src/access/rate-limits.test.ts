import { ManualClock } from '@fleetgate/shared/clock';
import { isFleetError } from '@fleetgate/shared/errors';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';

import { httpError } from '../platform/error-body.js';
import { type Admission, RateLimits } from './rate-limits.js';

let clock: ManualClock;
let rates: RateLimits;

beforeEach(() => {
  clock = new ManualClock();
  rates = new RateLimits(clock);
});

const limit = (requestsPerMinute: number | null, outputTokensPerMinute: number | null = null): void =>
  rates.set('acme', { requestsPerMinute, outputTokensPerMinute });
const tryAdmit = (tokens = 0, answers = 1): Admission | undefined => {
  try {
    return rates.admit('acme', tokens, answers);
  } catch (error) {
    if (isFleetError(error, 'request.rate-limited')) return undefined;
    throw error;
  }
};
const left = (of: 'requests' | 'tokens'): string | undefined => rates.headersFor('acme')[`x-ratelimit-remaining-${of}`];

describe('limits of a tenant', () => {
  it('do not hold others back, nor who has none', () => {
    limit(1);
    expect(tryAdmit()).toBeDefined();
    expect(tryAdmit()).toBeUndefined();
    for (let at = 0; at < 100; at++) {
      expect(rates.admit('other', 1e9)).toBeUndefined();
      expect(rates.admit(undefined, 1e9)).toBeUndefined();
    }
  });

  it('let as many requests in as a minute has, and then as they come again', () => {
    limit(60);
    for (let at = 0; at < 60; at++) expect(tryAdmit()).toBeDefined();
    expect(tryAdmit()).toBeUndefined();
    clock.advance(999);
    expect(tryAdmit()).toBeUndefined();
    clock.advance(1);
    expect(tryAdmit()).toBeDefined();
    expect(tryAdmit()).toBeUndefined();
  });

  it('are told as OpenAI tells them, refused or not', () => {
    limit(2, 1000);
    expect(tryAdmit(100)?.headers).toEqual({
      'x-ratelimit-limit-requests': '2',
      'x-ratelimit-remaining-requests': '1',
      'x-ratelimit-reset-requests': '30s',
      'x-ratelimit-limit-tokens': '1000',
      'x-ratelimit-remaining-tokens': '900',
      'x-ratelimit-reset-tokens': '6s',
    });
    tryAdmit(1);
    expect(rates.headersFor('acme')).toMatchObject({
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': '1m0s',
      'x-ratelimit-reset-tokens': '7s',
    });
    let error: unknown;
    try {
      rates.admit('acme', 1);
    } catch (thrown) {
      error = thrown;
    }
    const { status, headers, body } = httpError(error);
    expect([status, body.error.type, body.error.code]).toEqual([429, 'rate_limit_error', 'rate_limit_exceeded']);
    expect(headers).toEqual({ 'x-should-retry': 'true', 'retry-after': '30' });
  });

  it('take what answers may use, and give back what they did not', () => {
    limit(null, 1000);
    const admission = tryAdmit(400, 2);
    expect([left('tokens'), tryAdmit(201)]).toEqual(['200', undefined]);
    admission?.follow('a');
    admission?.follow('b');
    rates.ended({ id: 'a', outputTokens: 100, wasSent: true });
    expect(left('tokens')).toBe('500');
    rates.ended({ id: 'a', outputTokens: 0, wasSent: true });
    rates.ended({ id: 'b', outputTokens: undefined, wasSent: false });
    expect(left('tokens')).toBe('900');
    tryAdmit(900)?.release();
    expect(left('tokens')).toBe('900');
  });

  it('keep what was taken for who went away, until a device says what was used', () => {
    limit(null, 1000);
    tryAdmit(1000)?.follow('gone');
    rates.ended({ id: 'gone', outputTokens: undefined, wasSent: true });
    expect(left('tokens')).toBe('0');
    rates.ended({ id: 'gone', outputTokens: 700, wasSent: true });
    expect(left('tokens')).toBe('300');
  });

  it('let one request in that may use more than there ever is, when nothing is used', () => {
    limit(null, 100);
    tryAdmit(5000)?.follow('long');
    expect(tryAdmit(1)).toBeUndefined();
    rates.ended({ id: 'long', outputTokens: 150, wasSent: true });
    clock.advance(30_000);
    expect(tryAdmit(1)).toBeUndefined();
    clock.advance(600);
    expect(tryAdmit(1)).toBeDefined();
  });

  it('keep what is left when they change, and end when they are taken away', () => {
    limit(10, 10);
    for (let at = 0; at < 8; at++) tryAdmit();
    limit(100, null);
    expect(rates.headersFor('acme')).toMatchObject({ 'x-ratelimit-remaining-requests': '2' });
    limit(1);
    expect(left('requests')).toBe('1');
    limit(null);
    expect(rates.headersFor('acme')).toEqual({});
  });

  it('fill again when the clock is set back', () => {
    limit(60);
    while (tryAdmit() !== undefined);
    const back = new ManualClock(clock.now() - 3_600_000);
    const moved = new RateLimits({ now: () => at.now(), after: back.after.bind(back), every: back.every.bind(back) });
    let at = clock;
    moved.set('acme', { requestsPerMinute: 60, outputTokensPerMinute: null });
    for (let n = 0; n < 60; n++) moved.admit('acme', 0);
    at = back;
    expect(() => moved.admit('acme', 0)).toThrow();
    back.advance(1000);
    moved.admit('acme', 0);
  });

  it('hold within any time, whatever is asked when', () => {
    const steps = fc.array(fc.tuple(fc.nat(20_000), fc.integer({ min: 0, max: 40 })), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.integer({ min: 40, max: 400 }),
        steps,
        (requests, tokens, asked) => {
          const time = new ManualClock();
          const ofTenant = new RateLimits(time);
          ofTenant.set('acme', { requestsPerMinute: requests, outputTokensPerMinute: tokens });
          const taken: { at: number; tokens: number }[] = [];
          for (const [wait, amount] of asked) {
            time.advance(wait);
            try {
              ofTenant.admit('acme', amount);
              taken.push({ at: time.now(), tokens: amount });
            } catch {
              // Refused.
            }
          }
          for (const [from, { at: start }] of taken.entries()) {
            let used = 0;
            for (const [to, { at: end, tokens: amount }] of taken.entries()) {
              if (to < from) continue;
              used += amount;
              const minutes = (end - start) / 60_000;
              expect(to - from + 1).toBeLessThanOrEqual(requests * (1 + minutes) + 1e-6);
              expect(used).toBeLessThanOrEqual(tokens * (1 + minutes) + 1e-6);
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
