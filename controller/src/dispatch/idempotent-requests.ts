import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { after, milliseconds } from '@fleetgate/shared/units/quantity';

import type { DispatchedRequest } from './dispatcher.js';
import { digestOf, IDEMPOTENCY_DEFAULTS, IdempotentAnswers, type IdempotencySettings } from './idempotency.js';
import { decodeAnswer, encodeAnswer, givenRequest, type KeptAnswer } from './kept-answer.js';
import type { Prompt } from './prompt.js';
import type { SharedAnswers } from './shared-answers.js';
import { SharedEvents } from './shared-events.js';

/** A request that another controller answers is asked for as often, and for as long: as a request takes at most. */
const ASK_AGAIN = milliseconds(200);
const LONGEST_WAIT = milliseconds(120_000);

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
 * Kept are the events of the answer and its record, in memory and bounded; of the prompt, a digest. Of several controllers, each
 * prepares before it accepts: it claims the key, or waits for the one that has it and takes over what that one has answered.
 */
export class IdempotentRequests {
  readonly #take: (prompt: Prompt, signal?: AbortSignal) => DispatchedRequest;
  readonly #clock: Clock;
  readonly #answers: IdempotentAnswers<SharedRequest>;
  readonly #settings: IdempotencySettings;
  readonly #others: SharedAnswers | undefined;
  /** Claimed of the other controllers, and not accepted yet. */
  readonly #claimed = new Set<string>();

  constructor(
    taker: { accept(prompt: Prompt, signal?: AbortSignal): DispatchedRequest },
    clock: Clock,
    settings: IdempotencySettings = IDEMPOTENCY_DEFAULTS,
    others?: SharedAnswers,
  ) {
    this.#take = (prompt, signal) => taker.accept(prompt, signal);
    this.#clock = clock;
    this.#answers = new IdempotentAnswers(settings);
    this.#settings = settings;
    this.#others = others;
  }

  /**
   * Has a key that another of several controllers may have be this one's, or its answer be known here. To be called before
   * `accept`, and `abandon` where that is not called after all. Rejects with `request.key-reused`, `store.unavailable`,
   * `dispatch.deadline` when the other one does not end, or the reason of `signal`.
   */
  async prepare(asked: unknown, named: IdempotencyKey | undefined, signal?: AbortSignal): Promise<void> {
    if (named === undefined || this.#others === undefined) return;
    const [key, digest] = [textOf(named), digestOf(asked)];
    const until = after(this.#clock.now(), LONGEST_WAIT);
    while (this.#answers.look(key, digest, this.#clock.now()).kind === 'new' && !this.#claimed.has(key)) {
      const claim = await this.#others.claim(key, digest, this.#clock.now());
      signal?.throwIfAborted();
      if (claim.kind === 'reused') throw keyReused();
      if (claim.kind === 'ours') {
        this.#claimed.add(key);
        return;
      }
      if (claim.kind === 'answered') {
        this.#takeOver(key, digest, decodeAnswer(claim.answer));
        return;
      }
      if (this.#clock.now() >= until) {
        throw new FleetError('dispatch.deadline', 'another controller has this request, and did not end it in time', {
          retryable: true,
        });
      }
      await new Promise<void>((resolve) => this.#clock.after(ASK_AGAIN, resolve));
    }
  }

  /** Gives back what was prepared and not accepted. */
  abandon(named: IdempotencyKey | undefined): void {
    if (named !== undefined && this.#claimed.delete(textOf(named))) this.#release(textOf(named));
  }

  #takeOver(key: string, digest: string, kept: KeptAnswer): void {
    const shared = new SharedRequest();
    for (const event of kept.events) shared.events.push(event);
    shared.events.end();
    shared.dispatched = givenRequest(kept);
    this.#answers.begin(key, digest, shared);
    this.#answers.keep(key, shared, shared.events.bytes, this.#clock.now());
  }

  /**
   * As `Dispatcher.accept`; `asked` is all that the answer depends on. A request that several wait for is cancelled when
   * the last of them goes away. Throws `request.key-reused`.
   */
  accept(prompt: Prompt, asked: unknown, named: IdempotencyKey | undefined, signal?: AbortSignal): TakenRequest {
    if (named === undefined) return { ...this.#take(prompt, signal), replayed: false };
    const digest = digestOf(asked);
    const key = textOf(named);
    const meaning = this.#answers.look(key, digest, this.#clock.now());
    if (meaning.kind === 'reused') throw keyReused();
    if (meaning.kind === 'known') return taken(meaning.answer, signal, true);
    this.#claimed.delete(key);
    const shared = new SharedRequest();
    this.#answers.begin(key, digest, shared);
    // Who asks while it is being stopped is not to be told that the client went away.
    shared.abort.signal.addEventListener('abort', () => this.#forget(key, shared));
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
      if (failed) this.#forget(key, shared);
      shared.events.push(event);
    }
    shared.events.end();
    if (failed) return;
    // Without what leads to the prompt.
    const record = dispatched.record();
    shared.dispatched = givenRequest({ record });
    this.#answers.keep(key, shared, shared.events.bytes + JSON.stringify(record).length, this.#clock.now());
    this.#keepForOthers(key, { record, events: shared.events.all });
  }

  #forget(key: string, shared: SharedRequest): void {
    this.#answers.forget(key, shared);
    this.#release(key);
  }

  #keepForOthers(key: string, answer: KeptAnswer): void {
    const text = encodeAnswer(answer);
    if (text === undefined) this.#release(key);
    // Where it cannot be kept, the key is free again when this controller has gone.
    else this.#others?.keep(key, text, after(this.#clock.now(), this.#settings.keptFor)).catch(() => {});
  }

  #release(key: string): void {
    this.#others?.release(key).catch(() => {});
  }
}

const textOf = ({ client, key }: IdempotencyKey): string => `${client}:${key}`;

function keyReused(): FleetError {
  return new FleetError('request.key-reused', 'this Idempotency-Key was used for another request', {
    hint: 'take a new key for every request, and the same one only to send the same request again',
  });
}

function taken(shared: SharedRequest, signal: AbortSignal | undefined, replayed: boolean): TakenRequest {
  shared.join(signal);
  const { dispatched, events } = shared;
  if (dispatched === undefined)
    throw new FleetError('internal.invariant', 'a request was followed before it was taken');
  return { ...dispatched, events, replayed };
}
