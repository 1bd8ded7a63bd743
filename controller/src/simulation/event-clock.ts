import type { Clock } from '@fleetgate/shared/clock';
import { type Milliseconds, type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';

interface Timer {
  readonly due: number;
  /** Order among those that are due at the same time. */
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

/**
 * Simulated time: a heap of timers, fired in order of their due time, those of one instant in the order they were set.
 * Between two timers whatever the first one has begun is let come to rest, so that code written with promises runs as it
 * does on a real clock that stands still meanwhile.
 */
export class EventClock implements Clock {
  #now: number;
  #order = 0;
  readonly #heap: Timer[] = [];

  constructor(startMs = 1_700_000_000_000) {
    this.#now = startMs;
  }

  now(): UnixMs {
    return unixMs(this.#now);
  }

  after(delay: Milliseconds, run: () => void): () => void {
    return this.#add(delay, this.#order++, run);
  }

  every(period: Milliseconds, run: () => void): () => void {
    const order = this.#order++;
    let stopped = false;
    let cancel = (): void => {};
    const next = (): void => {
      cancel = this.#add(period, order, () => {
        next();
        if (!stopped) run();
      });
    };
    next();
    return () => {
      stopped = true;
      cancel();
    };
  }

  /**
   * Moves time on to `until`. `rest` resolves when nothing is under way that simulated time has to wait for; it is called
   * after every timer.
   */
  async runUntil(until: UnixMs, rest: () => Promise<void> | undefined): Promise<void> {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.due > until) break;
      this.#pop();
      if (first.cancelled) continue;
      this.#now = Math.max(this.#now, first.due);
      first.run();
      await rest();
    }
    this.#now = until;
  }

  #add(delay: Milliseconds, order: number, run: () => void): () => void {
    const timer: Timer = { due: this.#now + Math.max(0, delay), order, run, cancelled: false };
    this.#push(timer);
    return () => {
      timer.cancelled = true;
    };
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(timer);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(timer, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let below = heap[child];
      if (below === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, below)) {
        child += 1;
        below = right;
      }
      if (!isBefore(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}

const isBefore = (a: Timer, b: Timer): boolean => a.due < b.due || (a.due === b.due && a.order < b.order);
