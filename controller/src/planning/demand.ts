import type { ClassId } from '@fleetgate/shared/ids';
import { elapsed, type Milliseconds, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

/** Rate that every class is planned for before anything is known of it, requests/s: about one a minute. */
export const PRIOR_RATE = 0.02;
const HALF_LIFE = milliseconds(5 * 60_000);
/** More classes than a gate ever has; a bound against a caller's mistake. */
const MOST_CLASSES = 4096;

interface Count {
  /** Exponentially decayed number of requests. */
  readonly weight: number;
  readonly at: UnixMs;
}

/**
 * Demand per prompt class: exponentially weighted rate with a half-life of five minutes, on top of a small prior that is
 * the same for each class, so that a fleet is ready for every class before the first prompt.
 */
export class Demand {
  readonly #counts = new Map<ClassId, Count>();
  readonly #halfLife: Milliseconds;

  constructor(halfLife: Milliseconds = HALF_LIFE) {
    this.#halfLife = halfLife;
  }

  /** One request of a class. */
  record(classId: ClassId, at: UnixMs): void {
    if (!this.#counts.has(classId) && this.#counts.size >= MOST_CLASSES) return;
    this.#counts.set(classId, { weight: 1 + this.#weight(classId, at), at });
  }

  /** Requests/s of each class at an instant. */
  rates(classes: readonly ClassId[], at: UnixMs): ReadonlyMap<ClassId, number> {
    const perS = Math.LN2 / (this.#halfLife / 1000);
    return new Map(classes.map((classId) => [classId, PRIOR_RATE + this.#weight(classId, at) * perS]));
  }

  #weight(classId: ClassId, at: UnixMs): number {
    const count = this.#counts.get(classId);
    if (count === undefined) return 0;
    return count.weight * 2 ** (-Math.max(0, elapsed(count.at, at)) / this.#halfLife);
  }
}
