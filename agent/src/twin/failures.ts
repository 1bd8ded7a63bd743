import type { VariantId } from '@fleetgate/shared/ids';
import { type MessageError, toMessageError } from '@fleetgate/shared/protocol/version';
import { after, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { StepKind } from './steps.js';

const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;

export interface Failure {
  readonly error: MessageError;
  readonly attempts: number;
  /** Undefined: not before the controller wants something else. */
  readonly retryAt: UnixMs | undefined;
  readonly step: StepKind;
}

/** Steps that failed, by variant. Retryable ones come up again after 1 s, doubled each time up to a minute. */
export class Failures {
  readonly #byVariant = new Map<VariantId, Failure>();

  record(variant: VariantId, step: StepKind, error: unknown, now: UnixMs): Failure {
    const attempts = (this.#byVariant.get(variant)?.attempts ?? 0) + 1;
    const told = toMessageError(error);
    const wait = milliseconds(Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempts - 1, 20)));
    // An unload is tried again whatever it failed of: the memory is needed.
    const again = told.retryable || step === 'unload';
    const failure: Failure = { error: told, attempts, retryAt: again ? after(now, wait) : undefined, step };
    this.#byVariant.set(variant, failure);
    return failure;
  }

  get(variant: VariantId): Failure | undefined {
    return this.#byVariant.get(variant);
  }

  clear(variant: VariantId): void {
    this.#byVariant.delete(variant);
  }

  /** Forgets all: a new desired document is a new chance. */
  clearAll(): void {
    this.#byVariant.clear();
  }

  /** Variants that are not to be tried at `now`. */
  held(now: UnixMs): ReadonlySet<VariantId> {
    const due = (failure: Failure) => failure.retryAt !== undefined && failure.retryAt <= now;
    return new Set([...this.#byVariant].filter(([, failure]) => !due(failure)).map(([variant]) => variant));
  }

  /** Those of `held` whose unload failed. */
  stuck(now: UnixMs): ReadonlySet<VariantId> {
    return new Set([...this.held(now)].filter((variant) => this.#byVariant.get(variant)?.step === 'unload'));
  }

  /** The next instant at which a held variant comes up again. */
  nextRetry(now: UnixMs): UnixMs | undefined {
    const times = [...this.#byVariant.values()].flatMap((failure) => failure.retryAt ?? []);
    const later = times.filter((time) => time > now);
    return later.length === 0 ? undefined : later.reduce((a, b) => (b < a ? b : a));
  }
}
