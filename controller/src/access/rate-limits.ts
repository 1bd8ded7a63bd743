import type { TenantLimits } from '@fleetgate/shared/api/access';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import { TokenBucket } from './token-bucket.js';

/** Requests whose tokens are taken by what they may use; beyond that the oldest stay so. */
const MOST_FOLLOWED = 20_000;

/** What limits are told of a request that has ended; may come again, with what an abandoned job has used. */
export interface EndedRequest {
  readonly id: string;
  /** Undefined where nobody has said yet. */
  readonly outputTokens: number | undefined;
  /** Whether any device was asked. */
  readonly wasSent: boolean;
}

/** A request that may enter. Each of its answers is to be followed or released, once. */
export interface Admission {
  /** What its answer says of the limits. */
  readonly headers: Readonly<Record<string, string>>;
  /** An answer was taken as this request: its tokens are put right when that ends. */
  follow(id: string): void;
  /** An answer was not asked for after all: it uses no tokens. */
  release(): void;
}

interface Buckets {
  requests: TokenBucket | undefined;
  tokens: TokenBucket | undefined;
}

/**
 * Requests and output tokens of each tenant by the minute, in memory: a restart begins with full buckets.
 *
 * Of tokens, as many as an answer may have are taken when it enters, and what it did not use is given back at its end: so
 * many requests at once cannot use more than there is.
 */
export class RateLimits {
  readonly #clock: Clock;
  readonly #tenants = new Map<string, Buckets>();
  readonly #followed = new Map<string, { readonly bucket: TokenBucket; readonly taken: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What is left to a tenant is kept, as far as it fits. */
  set(tenant: string, { requestsPerMinute, outputTokensPerMinute }: TenantLimits): void {
    if (requestsPerMinute === null && outputTokensPerMinute === null) {
      this.#tenants.delete(tenant);
      return;
    }
    const known = this.#tenants.get(tenant);
    this.#tenants.set(tenant, {
      requests: this.#bucket(known?.requests, requestsPerMinute),
      tokens: this.#bucket(known?.tokens, outputTokensPerMinute),
    });
  }

  /**
   * Counts a request of so many answers of at most `outputTokens` each; undefined where the tenant has no limits. Throws
   * `request.rate-limited`. O(1).
   */
  admit(tenant: string | undefined, outputTokens: number, answers = 1): Admission | undefined {
    const buckets = tenant === undefined ? undefined : this.#tenants.get(tenant);
    if (tenant === undefined || buckets === undefined) return undefined;
    const now = this.#clock.now();
    const { requests, tokens } = buckets;
    const all = outputTokens * answers;
    const waitMs = Math.max(requests?.waitFor(1, now) ?? 0, tokens?.waitFor(all, now) ?? 0);
    if (waitMs > 0) throw limited(tenant, waitMs);
    requests?.take(1, now);
    tokens?.take(all, now);
    return {
      headers: headersOf(buckets, now),
      follow: (id) => {
        if (tokens !== undefined) this.#follow(id, tokens, outputTokens);
      },
      release: () => tokens?.take(-outputTokens, this.#clock.now()),
    };
  }

  /** What answers say of a tenant's limits; nothing where it has none. */
  headersFor(tenant: string | undefined): Readonly<Record<string, string>> {
    const buckets = tenant === undefined ? undefined : this.#tenants.get(tenant);
    return buckets === undefined ? {} : headersOf(buckets, this.#clock.now());
  }

  /** Puts right what was taken. What a device has begun and said nothing of keeps what was taken for it. */
  ended({ id, outputTokens, wasSent }: EndedRequest): void {
    const followed = this.#followed.get(id);
    if (followed === undefined || (outputTokens === undefined && wasSent)) return;
    this.#followed.delete(id);
    followed.bucket.take((outputTokens ?? 0) - followed.taken, this.#clock.now());
  }

  #follow(id: string, bucket: TokenBucket, taken: number): void {
    const oldest = this.#followed.keys().next().value;
    if (this.#followed.size >= MOST_FOLLOWED && oldest !== undefined) this.#followed.delete(oldest);
    this.#followed.set(id, { bucket, taken });
  }

  #bucket(known: TokenBucket | undefined, limit: number | null): TokenBucket | undefined {
    if (limit === null) return undefined;
    if (known === undefined) return new TokenBucket(limit, this.#clock.now());
    known.setLimit(limit, this.#clock.now());
    return known;
  }
}

function limited(tenant: string, waitMs: number): FleetError {
  return new FleetError('request.rate-limited', `the limits of tenant ${JSON.stringify(tenant)} are reached`, {
    hint: '`x-ratelimit-*` headers say how much there is and when it is there again; `fleetgate tenants list` shows limits',
    retryable: true,
    context: { retryAfterMs: Math.ceil(waitMs) },
  });
}

function headersOf({ requests, tokens }: Buckets, now: UnixMs): Readonly<Record<string, string>> {
  return { ...headersOfOne('requests', requests, now), ...headersOfOne('tokens', tokens, now) };
}

function headersOfOne(
  of: 'requests' | 'tokens',
  bucket: TokenBucket | undefined,
  now: UnixMs,
): Readonly<Record<string, string>> {
  if (bucket === undefined) return {};
  const { limit, remaining, resetIn } = bucket.view(now);
  return {
    [`x-ratelimit-limit-${of}`]: String(limit),
    [`x-ratelimit-remaining-${of}`]: String(remaining),
    [`x-ratelimit-reset-${of}`]: showDuration(resetIn),
  };
}

/** As OpenAI writes it: `120ms`, `6s`, `1m30s`. */
function showDuration(ms: number): string {
  if (ms < 1000) return `${Math.ceil(ms)}ms`;
  const seconds = Math.ceil(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}
