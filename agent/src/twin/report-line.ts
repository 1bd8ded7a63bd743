import type { Clock } from '@fleetgate/shared/clock';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

/** Between two reported documents, unless only progress moved. */
const CHANGE: Milliseconds = milliseconds(250);
/** Between two that differ in progress only. */
const PROGRESS: Milliseconds = milliseconds(1000);
/** After a publication that failed while the link was up. */
const RETRY: Milliseconds = milliseconds(2000);

/**
 * Publishes the newest document after changes, at most one per 250 ms (progress: per second), never two at a time.
 * What could not be published stays due: `flush` after a reconnect sends it.
 */
export class ReportLine {
  readonly #clock: Clock;
  readonly #publish: () => Promise<void>;
  #due: 'no' | 'progress' | 'change' = 'no';
  #sending = false;
  #lastSent = Number.NEGATIVE_INFINITY;
  #timer: { readonly at: number; readonly cancel: () => void } | undefined;
  #stopped = false;

  /** `publish` sends the document as it then is. */
  constructor(clock: Clock, publish: () => Promise<void>) {
    this.#clock = clock;
    this.#publish = publish;
  }

  mark(what: 'change' | 'progress'): void {
    if (this.#due !== 'change') this.#due = what;
    this.#schedule(what === 'change' ? CHANGE : PROGRESS);
  }

  /** The link is up (again): whoever listens there knows nothing of us yet. */
  flush(): void {
    this.#due = 'change';
    this.#timer?.cancel();
    this.#timer = undefined;
    void this.#send();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #schedule(gap: Milliseconds): void {
    if (this.#stopped || this.#sending) return;
    const now = this.#clock.now();
    const at = Math.max(now, this.#lastSent + gap);
    if (this.#timer !== undefined && this.#timer.at <= at) return;
    this.#timer?.cancel();
    const cancel = this.#clock.after(milliseconds(at - now), () => {
      this.#timer = undefined;
      void this.#send();
    });
    this.#timer = { at, cancel };
  }

  async #send(): Promise<void> {
    if (this.#sending || this.#stopped || this.#due === 'no') return;
    this.#sending = true;
    this.#due = 'no';
    this.#lastSent = this.#clock.now();
    let failed = false;
    try {
      await this.#publish();
    } catch {
      // The link tells of its own troubles; the document stays due.
      failed = true;
      this.#due = 'change';
    } finally {
      this.#sending = false;
    }
    if (this.#due !== 'no') this.#schedule(failed ? RETRY : this.#due === 'change' ? CHANGE : PROGRESS);
  }
}
