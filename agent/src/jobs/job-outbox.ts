import type { Clock } from '@fleetgate/shared/clock';
import { isFleetError } from '@fleetgate/shared/errors';
import type { JobId } from '@fleetgate/shared/ids';
import { isJobEnd, type JobName, type JobOut, type TokenChoice } from '@fleetgate/shared/protocol/job';
import { milliseconds } from '@fleetgate/shared/units/quantity';

/** A job whose controller has not heard of us for this long was given to another device. */
const GRACE = milliseconds(30_000);
/** Bytes of text kept while the link is away: minutes of the fastest device. */
const MOST_BYTES = 2 * 1024 * 1024;
/** After a message that the link did not take although it is up. */
const RETRY = milliseconds(200);

interface Entry {
  readonly job: JobName;
  readonly out: JobOut;
  readonly size: number;
  isSent: boolean;
}

export interface JobOutboxOptions {
  /** Resolves when the broker has the message. */
  readonly send: (job: JobName, out: JobOut) => Promise<void>;
  readonly clock: Clock;
  /** The link stayed away too long, or too much waits: nobody reads these jobs any more. */
  readonly onGiveUp: () => void;
}

/**
 * Messages of jobs on their way out, kept until the broker has them.
 *
 * When the link breaks they wait, in order; after a reconnect all that were not acknowledged go again (the reader drops
 * repeated numbers). After the grace, or beyond the byte bound, everything is dropped and the jobs are given up.
 */
export class JobOutbox {
  readonly #options: JobOutboxOptions;
  #entries: Entry[] = [];
  #bytes = 0;
  #connected = false;
  #stopped = false;
  #cancelGrace: (() => void) | undefined;
  #cancelRetry: (() => void) | undefined;
  /** Jobs of which something was dropped: the rest would have a gap. Ends with their last message. */
  readonly #given = new Set<JobId>();

  constructor(options: JobOutboxOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#entries.length;
  }

  push(job: JobName, out: JobOut): void {
    if (this.#given.has(job.jobId)) {
      if (isJobEnd(out)) this.#given.delete(job.jobId);
      return;
    }
    const size = sizeOf(out);
    const entry: Entry = { job, out, size, isSent: false };
    this.#entries.push(entry);
    this.#bytes += size;
    if (this.#bytes > MOST_BYTES) this.#giveUp();
    else if (this.#connected) this.#send(entry);
  }

  onLink(state: 'connected' | 'disconnected'): void {
    if (this.#stopped) return;
    this.#cancelGrace?.();
    this.#cancelGrace = undefined;
    this.#connected = state === 'connected';
    for (const entry of this.#entries) entry.isSent = false;
    if (this.#connected) for (const entry of this.#entries) this.#send(entry);
    else this.#cancelGrace = this.#options.clock.after(GRACE, () => this.#giveUp());
  }

  /** Sends and waits no more. */
  stop(): void {
    this.#stopped = true;
    this.#cancelGrace?.();
    this.#cancelRetry?.();
  }

  #send(entry: Entry): void {
    if (entry.isSent) return;
    entry.isSent = true;
    this.#options.send(entry.job, entry.out).then(
      () => this.#drop(entry),
      (error: unknown) => {
        entry.isSent = false;
        // A message that no broker takes never gets through; its job must not wait for it.
        if (isFleetError(error) && !error.retryable) this.#drop(entry);
        else if (this.#connected && !this.#stopped) this.#retryLater();
      },
    );
  }

  #retryLater(): void {
    this.#cancelRetry ??= this.#options.clock.after(RETRY, () => {
      this.#cancelRetry = undefined;
      if (this.#connected) for (const entry of this.#entries) this.#send(entry);
    });
  }

  #drop(entry: Entry): void {
    const index = this.#entries.indexOf(entry);
    if (index < 0) return;
    this.#entries.splice(index, 1);
    this.#bytes -= entry.size;
  }

  #giveUp(): void {
    const ended = new Set(this.#entries.filter(({ out }) => isJobEnd(out)).map(({ job }) => job.jobId));
    for (const { job } of this.#entries) if (!ended.has(job.jobId)) this.#given.add(job.jobId);
    this.#entries = [];
    this.#bytes = 0;
    this.#options.onGiveUp();
  }
}

/** About how many bytes it has as JSON, at most. */
function sizeOf(out: JobOut): number {
  switch (out.kind) {
    case 'tokens':
      return 100 + out.text.length * 3 + (out.ids?.length ?? 0) * 8 + sizeOfChoices(out.choices ?? []);
    case 'next':
      return 200 + out.text.length * 3 + out.ids.length * 18;
    case 'choices':
      return 100 + sizeOfChoices(out.choices);
    case 'vectors':
      return 100 + out.vectors.reduce((sum, vector) => sum + 3 + vector.length, 0);
    case 'scored':
      return 400 + (out.tokenBits?.length ?? 0) * 10;
    case 'accepted':
    case 'done':
    case 'embedded':
    case 'failed':
      return 400;
  }
}

function sizeOfChoices(choices: readonly TokenChoice[]): number {
  return choices.reduce((sum, { text, top }) => sum + 60 + text.length * 3 + sizeOfAll(top), 0);
}

function sizeOfAll(top: readonly { readonly text: string }[]): number {
  return top.reduce((sum, { text }) => sum + 40 + text.length * 3, 0);
}
