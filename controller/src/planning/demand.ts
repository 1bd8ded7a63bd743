import type { ClassId } from '@fleetgate/shared/ids';
import { elapsed, type Milliseconds, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

/** Rate that every class is planned for before anything is known of it, requests/s: about one a minute. */
export const PRIOR_RATE = 0.02;
const HALF_LIFE = milliseconds(5 * 60_000);
/** Time that the assumed rate counts for, as if it had been watched for so long. */
const PRIOR_WATCHED = milliseconds(60_000);
/** More classes than a gate ever has; a bound against a caller's mistake. */
const MOST_CLASSES = 4096;

/** What one controller has seen of demand: to be told to the one that plans. */
export interface SeenDemand {
  /** Since its first request, ms. */
  readonly ageMs: number;
  /** Decayed numbers of requests by class. */
  readonly weights: Readonly<Record<string, number>>;
}

interface Count {
  /** Exponentially decayed number of requests. */
  readonly weight: number;
  readonly at: UnixMs;
}

/**
 * Demand per prompt class: decayed number of requests over the decayed time in which they came, with a half-life of five
 * minutes. A small prior rate that is the same for each class counts for a minute, decayed likewise (the mean of a gamma
 * posterior of a Poisson rate), and is the least: a fleet is ready for every class before the first prompt, and knows of a rush
 * within a minute.
 */
export class Demand {
  readonly #counts = new Map<ClassId, Count>();
  readonly #halfLife: Milliseconds;
  /** First request. */
  #since: UnixMs | undefined;
  #others: readonly SeenDemand[] = [];

  constructor(halfLife: Milliseconds = HALF_LIFE) {
    this.#halfLife = halfLife;
  }

  /** One request of a class. */
  record(classId: ClassId, at: UnixMs): void {
    this.#since ??= at;
    if (!this.#counts.has(classId) && this.#counts.size >= MOST_CLASSES) return;
    this.#counts.set(classId, { weight: 1 + this.#own(classId, at), at });
  }

  /** What came here. */
  seen(at: UnixMs): SeenDemand {
    const weights = Object.fromEntries([...this.#counts.keys()].map((classId) => [classId, this.#own(classId, at)]));
    return { ageMs: this.#since === undefined ? 0 : Math.max(0, elapsed(this.#since, at)), weights };
  }

  /** What other controllers have seen, as they told last: it counts as if it had come here. */
  setOthers(others: readonly SeenDemand[]): void {
    this.#others = others;
  }

  /** Requests/s of each class at an instant. */
  rates(classes: readonly ClassId[], at: UnixMs): ReadonlyMap<ClassId, number> {
    const own = this.#since === undefined ? 0 : Math.max(0, elapsed(this.#since, at));
    const age = this.#others.reduce((longest, { ageMs }) => Math.max(longest, ageMs), own);
    const left = 2 ** (-age / this.#halfLife);
    const prior = (PRIOR_WATCHED / 1000) * left;
    const watched = prior + ((this.#halfLife / 1000) * (1 - left)) / Math.LN2;
    const rateOf = (classId: ClassId): number => (PRIOR_RATE * prior + this.#weight(classId, at)) / watched;
    return new Map(classes.map((classId) => [classId, Math.max(PRIOR_RATE, rateOf(classId))]));
  }

  #weight(classId: ClassId, at: UnixMs): number {
    return this.#others.reduce((sum, { weights }) => sum + (weights[classId] ?? 0), this.#own(classId, at));
  }

  #own(classId: ClassId, at: UnixMs): number {
    const count = this.#counts.get(classId);
    if (count === undefined) return 0;
    return count.weight * 2 ** (-Math.max(0, elapsed(count.at, at)) / this.#halfLife);
  }
}
