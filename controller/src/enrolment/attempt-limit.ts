import { elapsed, type Milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

/** Addresses that are remembered; the one that failed longest ago makes room. */
const MOST_ADDRESSES = 1000;

/** Counts failed attempts by address, so that a token cannot be guessed: at most `most` within `period`. */
export class AttemptLimit {
  readonly #failures = new Map<string, { count: number; since: UnixMs }>();
  readonly #most: number;
  readonly #period: Milliseconds;

  constructor(most: number, period: Milliseconds) {
    this.#most = most;
    this.#period = period;
  }

  mayTry(address: string, now: UnixMs): boolean {
    const failures = this.#failures.get(address);
    if (failures === undefined) return true;
    if (elapsed(failures.since, now) >= this.#period) {
      this.#failures.delete(address);
      return true;
    }
    return failures.count < this.#most;
  }

  failed(address: string, now: UnixMs): void {
    const failures = this.#failures.get(address) ?? { count: 0, since: now };
    this.#failures.delete(address);
    this.#failures.set(address, { ...failures, count: failures.count + 1 });
    const [oldest] = this.#failures.keys();
    if (this.#failures.size > MOST_ADDRESSES && oldest !== undefined) this.#failures.delete(oldest);
  }
}
