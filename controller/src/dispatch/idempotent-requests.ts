import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';

import type { DispatchedRequest } from './dispatcher.js';
import { digestOf, IDEMPOTENCY_DEFAULTS, IdempotentAnswers, type IdempotencySettings } from './idempotency.js';
import type { Prompt } from './prompt.js';
import { SharedEvents } from './shared-events.js';

/** What a client calls a request, so that sending it twice is asking it once. */
export interface IdempotencyKey {
  /** Of the client alone: who else uses the same key means something else. */
  readonly client: string;
  readonly key: string;
}

export interface TakenRequest extends DispatchedRequest {
  /** It was asked before: its answer comes, or goes on, as it was given then. */
  readonly replayed: boolean;
}

/** A request with those who wait for it. */
class SharedRequest {
  readonly events = new SharedEvents();
  readonly abort = new AbortController();
  dispatched: Pick<DispatchedRequest, 'id' | 'record' | 'proceed'> | undefined;
  #readers = 0;

  /** It stops when nobody waits for it any more. */
  join(signal: AbortSignal | undefined): void {
    this.#readers += 1;
    if (signal === undefined) return;
    const leave = (): void => {
      this.#readers -= 1;
      if (this.#readers === 0) this.abort.abort();
    };
    if (signal.aborted) leave();
    else signal.addEventListener('abort', leave, { once: true });
  }
}

/**
 * Takes requests, and those with a key once: while one runs, and for a time after it was answered, the same request with
 * the same key is given the same answer. What fails is forgotten, so that trying again can succeed.
 *
 * Kept are the events of the answer and its record, in memory and bounded; of the prompt, a digest.
 */
export class IdempotentRequests {
  readonly #take: (prompt: Prompt, signal?: AbortSignal) => DispatchedRequest;
  readonly #clock: Clock;
  readonly #answers: IdempotentAnswers<SharedRequest>;

  constructor(
    taker: { accept(prompt: Prompt, signal?: AbortSignal): DispatchedRequest },
    clock: Clock,
    settings: IdempotencySettings = IDEMPOTENCY_DEFAULTS,
  ) {
    this.#take = (prompt, signal) => taker.accept(prompt, signal);
    this.#clock = clock;
    this.#answers = new IdempotentAnswers(settings);
  }

  /**
   * As `Dispatcher.accept`; `asked` is all that the answer depends on. A request that several wait for is cancelled when
   * the last of them goes away. Throws `request.key-reused`.
   */
  accept(prompt: Prompt, asked: unknown, named: IdempotencyKey | undefined, signal?: AbortSignal): TakenRequest {
    if (named === undefined) return { ...this.#take(prompt, signal), replayed: false };
    const digest = digestOf(asked);
    const key = `${named.client}:${named.key}`;
    const meaning = this.#answers.look(key, digest, this.#clock.now());
    if (meaning.kind === 'reused') {
      throw new FleetError('request.key-reused', 'this Idempotency-Key was used for another request', {
        hint: 'take a new key for every request, and the same one only to send the same request again',
      });
    }
    if (meaning.kind === 'known') return taken(meaning.answer, signal, true);
    const shared = new SharedRequest();
    this.#answers.begin(key, digest, shared);
    // Who asks while it is being stopped is not to be told that the client went away.
    shared.abort.signal.addEventListener('abort', () => this.#answers.forget(key, shared));
    const dispatched = this.#take(prompt, shared.abort.signal);
    shared.dispatched = dispatched;
    const first = taken(shared, signal, false);
    void this.#follow(key, shared, dispatched);
    return first;
  }

  /** Never rejects: events of a request do not. */
  async #follow(key: string, shared: SharedRequest, dispatched: DispatchedRequest): Promise<void> {
    let failed = false;
    for await (const event of dispatched.events) {
      failed ||= event.kind === 'failed';
      if (failed) this.#answers.forget(key, shared);
      shared.events.push(event);
    }
    shared.events.end();
    if (failed) return;
    // Without what leads to the prompt.
    const record = dispatched.record();
    shared.dispatched = { id: dispatched.id, record: () => record, proceed: () => {} };
    this.#answers.keep(key, shared, shared.events.bytes + JSON.stringify(record).length, this.#clock.now());
  }
}

function taken(shared: SharedRequest, signal: AbortSignal | undefined, replayed: boolean): TakenRequest {
  shared.join(signal);
  const { dispatched, events } = shared;
  if (dispatched === undefined)
    throw new FleetError('internal.invariant', 'a request was followed before it was taken');
  return { ...dispatched, events, replayed };
}
