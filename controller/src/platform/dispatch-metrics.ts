import { Counter, Gauge, type Registry } from 'prom-client';

/** What dispatch has counted since its start, and what it has in hand, at the time of a scrape. */
export interface DispatchFigures {
  /** Requests that ended by state, calls of requests that several experts answered included. */
  readonly ended: Readonly<Record<'succeeded' | 'failed' | 'refused' | 'cancelled', number>>;
  readonly retried: number;
  readonly takenOver: number;
  /** Second jobs of requests whose first token was late, and those that answered. */
  readonly hedged: number;
  readonly hedgesWon: number;
  /** Messages of devices that changed nothing, by why. */
  readonly ignored: Readonly<Record<'duplicate' | 'late' | 'foreign' | 'overflow', number>>;
  readonly requestsInFlight: number;
  readonly jobsRunning: number;
  readonly jobsWaiting: number;
  readonly recordsWaiting: number;
  readonly recordsDropped: number;
}

/** Counts and queues of dispatch. Read when they are asked for: a request pays nothing for them. */
export class DispatchMetrics {
  readonly #ended: Counter<'state'>;
  readonly #retried: Counter;
  readonly #takenOver: Counter;
  readonly #hedged: Counter;
  readonly #hedgesWon: Counter;
  readonly #ignored: Counter<'reason'>;
  readonly #requests: Gauge;
  readonly #jobs: Gauge<'state'>;
  readonly #records: Gauge;
  readonly #dropped: Counter;

  constructor(registry: Registry) {
    const registers = [registry];
    const counter = <L extends string = never>(name: string, help: string, ...labelNames: L[]): Counter<L> =>
      new Counter({ name: `fleetgate_${name}_total`, help, labelNames, registers });
    const gauge = <L extends string = never>(name: string, help: string, ...labelNames: L[]): Gauge<L> =>
      new Gauge({ name: `fleetgate_${name}`, help, labelNames, registers });
    this.#ended = counter('dispatch_ended', 'Requests that ended, calls of joint answers included.', 'state');
    this.#retried = counter('dispatch_retries', 'Attempts after the first.');
    this.#takenOver = counter('dispatch_takeovers', 'Answers that another device went on with.');
    this.#hedged = counter('dispatch_hedges', 'Second jobs of requests whose first token was late.');
    this.#hedgesWon = counter('dispatch_hedges_won', 'Those of them that answered.');
    this.#ignored = counter('dispatch_ignored_messages', 'Messages of devices that changed nothing.', 'reason');
    this.#requests = gauge('requests_in_flight', 'Requests that have not ended.');
    this.#jobs = gauge('jobs', 'Jobs at devices: running, and waiting for their turn.', 'state');
    this.#records = gauge('records_waiting', 'Decision records that are not yet written.');
    this.#dropped = counter('records_dropped', 'Decision records that were not kept because too many waited.');
  }

  show(figures: DispatchFigures): void {
    for (const [state, count] of Object.entries(figures.ended)) setTo(this.#ended, count, { state });
    setTo(this.#retried, figures.retried);
    setTo(this.#takenOver, figures.takenOver);
    setTo(this.#hedged, figures.hedged);
    setTo(this.#hedgesWon, figures.hedgesWon);
    for (const [reason, count] of Object.entries(figures.ignored)) setTo(this.#ignored, count, { reason });
    setTo(this.#dropped, figures.recordsDropped);
    this.#requests.set(figures.requestsInFlight);
    this.#jobs.set({ state: 'running' }, figures.jobsRunning);
    this.#jobs.set({ state: 'waiting' }, figures.jobsWaiting);
    this.#records.set(figures.recordsWaiting);
  }
}

/** A counter of something that is counted elsewhere. */
function setTo<L extends string>(counter: Counter<L>, count: number, labels: Partial<Record<L, string>> = {}): void {
  counter.remove(labels);
  counter.inc(labels, count);
}
