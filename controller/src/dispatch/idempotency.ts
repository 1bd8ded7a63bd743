import { createHash } from 'node:crypto';

import { after, type Milliseconds, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

export interface IdempotencySettings {
  /** How long an answer is kept after its end. */
  readonly keptFor: Milliseconds;
  /** Answers kept, and their bytes; the oldest go first. Those under way are not counted: requests in flight are bounded. */
  readonly maxKept: number;
  readonly maxBytes: number;
}

export const IDEMPOTENCY_DEFAULTS: IdempotencySettings = Object.freeze({
  keptFor: milliseconds(3_600_000),
  maxKept: 10_000,
  maxBytes: 32 * 2 ** 20,
});

/** What a key means now: `known` answers by what was begun under it; `reused` was used for something else. */
export type KeyMeaning<Answer> =
  { readonly kind: 'new' } | { readonly kind: 'known'; readonly answer: Answer } | { readonly kind: 'reused' };

interface Entry<Answer> {
  readonly digest: string;
  readonly answer: Answer;
  /** Undefined while it is under way. */
  kept: { readonly until: UnixMs; readonly bytes: number } | undefined;
}

/** Which answers go by which keys; knows what was asked by a digest only. The caller gives the time, which must not go back. */
export class IdempotentAnswers<Answer> {
  readonly #settings: IdempotencySettings;
  readonly #underWay = new Map<string, Entry<Answer>>();
  /** In the order they ended. */
  readonly #kept = new Map<string, Entry<Answer>>();
  #bytes = 0;

  constructor(settings: IdempotencySettings) {
    this.#settings = settings;
  }

  /** Answers that are kept, and their bytes. */
  get kept(): { readonly count: number; readonly bytes: number } {
    return { count: this.#kept.size, bytes: this.#bytes };
  }

  look(key: string, digest: string, now: UnixMs): KeyMeaning<Answer> {
    this.expire(now);
    const entry = this.#underWay.get(key) ?? this.#kept.get(key);
    if (entry === undefined) return { kind: 'new' };
    return entry.digest === digest ? { kind: 'known', answer: entry.answer } : { kind: 'reused' };
  }

  /** Only for a key that is new. */
  begin(key: string, digest: string, answer: Answer): void {
    this.#underWay.set(key, { digest, answer, kept: undefined });
  }

  /** What was begun has been answered, in `bytes`. */
  keep(key: string, answer: Answer, bytes: number, now: UnixMs): void {
    const entry = this.#underWay.get(key);
    if (entry?.answer !== answer) return;
    this.#underWay.delete(key);
    entry.kept = { until: after(now, this.#settings.keptFor), bytes };
    this.#kept.set(key, entry);
    this.#bytes += bytes;
    this.expire(now);
  }

  /** What was begun has no answer: the key is new again. */
  forget(key: string, answer: Answer): void {
    if (this.#underWay.get(key)?.answer === answer) this.#underWay.delete(key);
  }

  /** Drops what is too old, or too much. */
  expire(now: UnixMs): void {
    const { maxKept, maxBytes } = this.#settings;
    for (const [key, { kept }] of this.#kept) {
      const isDue = kept === undefined || kept.until <= now;
      if (!isDue && this.#kept.size <= maxKept && this.#bytes <= maxBytes) return;
      this.#kept.delete(key);
      this.#bytes -= kept?.bytes ?? 0;
    }
  }
}

/** Digest of a JSON value; the order of fields, and fields of no value, make no difference. */
export function digestOf(value: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(canonical(value)))
    .digest('base64url');
}

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return Object.fromEntries(fields.map(([name, field]) => [name, canonical(field)]));
}
