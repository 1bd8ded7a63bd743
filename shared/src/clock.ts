import { type Milliseconds, type UnixMs, unixMs } from './units/quantity.js';

/** The only source of time: decisions take instants as arguments, loops ask a Clock. */
export interface Clock {
  now(): UnixMs;
  /** Calls `run` once after `delay`; the returned function cancels it. */
  after(delay: Milliseconds, run: () => void): () => void;
  /** Calls `run` every `period` until the returned function is called. */
  every(period: Milliseconds, run: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => unixMs(Date.now()),
  after: (delay, run) => {
    const timer = setTimeout(run, delay);
    return () => clearTimeout(timer);
  },
  every: (period, run) => {
    const timer = setInterval(run, period);
    return () => clearInterval(timer);
  },
};

/** A clock moved by hand, for tests and simulation. Timers fire in order of their due time. */
export class ManualClock implements Clock {
  #now: number;
  #next = 0;
  readonly #timers = new Map<number, { due: number; period: number | undefined; run: () => void }>();

  constructor(startMs = 1_700_000_000_000) {
    this.#now = startMs;
  }

  now(): UnixMs {
    return unixMs(this.#now);
  }

  after(delay: Milliseconds, run: () => void): () => void {
    return this.#add(delay, undefined, run);
  }

  every(period: Milliseconds, run: () => void): () => void {
    return this.#add(period, period, run);
  }

  /** Moves time on by `duration`, firing every timer that falls due, in order. */
  advance(duration: number): void {
    const end = this.#now + duration;
    for (;;) {
      const due = [...this.#timers]
        .filter(([, timer]) => timer.due <= end)
        .sort(([a, x], [b, y]) => x.due - y.due || a - b)[0];
      if (due === undefined) break;
      const [key, timer] = due;
      this.#now = Math.max(this.#now, timer.due);
      if (timer.period === undefined) this.#timers.delete(key);
      else timer.due += timer.period;
      timer.run();
    }
    this.#now = end;
  }

  #add(delay: number, period: number | undefined, run: () => void): () => void {
    const key = this.#next++;
    this.#timers.set(key, { due: this.#now + delay, period, run });
    return () => this.#timers.delete(key);
  }
}
