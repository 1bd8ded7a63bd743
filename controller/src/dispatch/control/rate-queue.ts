import { elapsed, type UnixMs } from '@fleetgate/shared/units/quantity';

/**
 * What was used beyond a bound on a mean rate and has not been made up for: the virtual queue of a time-average constraint
 * (Neely 2010, section 4.1), Q(t + dt) = max(0, Q(t) + used - bound * dt). As long as it stays bounded, the mean keeps to the
 * bound. The rate is an argument of every call, for plans change it.
 */
export class RateQueue {
  #backlog = 0;
  #at: UnixMs;

  constructor(at: UnixMs) {
    this.#at = at;
  }

  /** Of what `use` counts, after so much time at `perS`. */
  backlog(perS: number, now: UnixMs): number {
    const since = Math.max(0, elapsed(this.#at, now)) / 1000;
    return Math.max(0, this.#backlog - perS * since);
  }

  /** A negative amount takes back what was counted too much. */
  use(amount: number, perS: number, now: UnixMs): void {
    this.#backlog = Math.max(0, this.backlog(perS, now) + amount);
    this.#at = now;
  }

  /** Where less was counted than a plan says that the bound costs. */
  raise(backlog: number, perS: number, now: UnixMs): void {
    this.#backlog = Math.max(backlog, this.backlog(perS, now));
    this.#at = now;
  }
}

/** The same for a bound on a mean over requests, in multiples of the bound: Q = max(0, Q + value / bound - 1). */
export class MeanQueue {
  #backlog = 0;

  /** Requests' worth of the bound. */
  get backlog(): number {
    return this.#backlog;
  }

  /** One more request; `value` in the bound's unit. */
  take(value: number, bound: number): void {
    this.#backlog = Math.max(0, this.#backlog + value / bound - 1);
  }

  /** What was taken turned out to be other than `value`. */
  correct(value: number, actual: number, bound: number): void {
    this.#backlog = Math.max(0, this.#backlog + (actual - value) / bound);
  }

  raise(backlog: number): void {
    this.#backlog = Math.max(this.#backlog, backlog);
  }
}
