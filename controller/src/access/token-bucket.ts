import { type Milliseconds, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

const MINUTE_MS = 60_000;

export interface BucketView {
  readonly limit: number;
  /** Whole units that are left. */
  readonly remaining: number;
  /** Until it is full again. */
  readonly resetIn: Milliseconds;
}

/**
 * So many units a minute: full at first, filled evenly, never beyond a minute's worth. Within any time t at most limit * (1 +
 * t / minute) units are taken. What is used beyond what was taken makes a debt that is filled up first.
 */
export class TokenBucket {
  #limit: number;
  #level: number;
  #at: UnixMs;

  constructor(perMinute: number, now: UnixMs) {
    this.#limit = perMinute;
    this.#level = perMinute;
    this.#at = now;
  }

  /** What is left stays left, as far as it fits. */
  setLimit(perMinute: number, now: UnixMs): void {
    this.#fill(now);
    this.#limit = perMinute;
    this.#level = Math.min(this.#level, perMinute);
  }

  /** How long until `amount` may be taken, 0 for now. More than fits takes a full bucket. */
  waitFor(amount: number, now: UnixMs): Milliseconds {
    this.#fill(now);
    const missing = Math.min(amount, this.#limit) - this.#level;
    return milliseconds(missing <= 0 ? 0 : (missing * MINUTE_MS) / this.#limit);
  }

  /** Negative amounts are given back. */
  take(amount: number, now: UnixMs): void {
    this.#fill(now);
    this.#level = Math.min(this.#limit, this.#level - amount);
  }

  view(now: UnixMs): BucketView {
    this.#fill(now);
    return {
      limit: this.#limit,
      remaining: Math.max(0, Math.floor(this.#level)),
      resetIn: milliseconds(((this.#limit - this.#level) * MINUTE_MS) / this.#limit),
    };
  }

  #fill(now: UnixMs): void {
    const passed = Math.max(0, now - this.#at);
    this.#level = Math.min(this.#limit, this.#level + (passed * this.#limit) / MINUTE_MS);
    // Also where the clock was set back: a minute that is filled twice does less harm than an hour that is not filled.
    this.#at = now;
  }
}
