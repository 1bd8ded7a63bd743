import { isJobEnd, type JobOut } from '@fleetgate/shared/protocol/job';

/** Messages that may be held while an earlier one is missing. */
const MAX_HELD = 256;
const NONE: readonly JobOut[] = [];

/** What became of one message. */
export interface Intake {
  /** Messages that are now next in order, this one or held ones among them. */
  readonly deliver: readonly JobOut[];
  /** Why this message was not kept. */
  readonly ignored: 'duplicate' | 'late' | 'overflow' | undefined;
}

/**
 * Puts one job's messages in order: each `seq` is delivered once, none before its predecessors, none after the end.
 *
 * The broker delivers at least once, and a connection that breaks may lose messages in between.
 */
export class JobEvents {
  #next = 0;
  #ended = false;
  readonly #held = new Map<number, JobOut>();

  /** True while a later message waits for one that has not come. */
  get hasGap(): boolean {
    return !this.#ended && this.#held.size > 0;
  }

  /** True once done, scored or failed was delivered. */
  get ended(): boolean {
    return this.#ended;
  }

  take(out: JobOut): Intake {
    if (out.seq < this.#next || this.#held.has(out.seq)) return { deliver: NONE, ignored: 'duplicate' };
    if (this.#ended) return { deliver: NONE, ignored: 'late' };
    if (out.seq > this.#next) {
      if (this.#held.size >= MAX_HELD) return { deliver: NONE, ignored: 'overflow' };
      this.#held.set(out.seq, out);
      return { deliver: NONE, ignored: undefined };
    }
    const deliver: JobOut[] = [];
    for (let next: JobOut | undefined = out; next !== undefined && !this.#ended; next = this.#held.get(this.#next)) {
      this.#held.delete(next.seq);
      this.#next = next.seq + 1;
      this.#ended = isJobEnd(next);
      deliver.push(next);
    }
    if (this.#ended) this.#held.clear();
    return { deliver, ignored: undefined };
  }
}
