import { type Milliseconds, type UnixMs, elapsed, milliseconds } from '@fleetgate/shared/units/quantity';

/** A token bucket: `perSecond` tokens flow in, at most `burst` are kept. */
export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

/** How full a bucket was at an instant. Below 0 it is in debt: what has already been read cannot be unread. */
export interface BucketLevel {
  readonly tokens: number;
  readonly at: UnixMs;
}

export const fullBucket = (limit: RateLimit, now: UnixMs): BucketLevel => ({ tokens: limit.burst, at: now });

/**
 * Takes `amount` tokens at `now`, on credit if need be.
 *
 * `wait` is how long to take nothing more until the debt is paid: 0 while within the limit. A clock that steps back
 * adds nothing.
 */
export function take(
  limit: RateLimit,
  level: BucketLevel,
  amount: number,
  now: UnixMs,
): { readonly level: BucketLevel; readonly wait: Milliseconds } {
  const gained = (Math.max(0, elapsed(level.at, now)) * limit.perSecond) / 1000;
  const tokens = Math.min(limit.burst, level.tokens + gained) - amount;
  return {
    level: { tokens, at: now },
    wait: milliseconds(tokens >= 0 ? 0 : Math.ceil((-tokens * 1000) / limit.perSecond)),
  };
}
