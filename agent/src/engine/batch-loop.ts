import type { BatchToken } from './token-batch.js';

/** What the loop drives: evaluates tokens of several sequences at once. */
export interface Evaluator<G> {
  /** Most tokens at once. */
  readonly batchTokens: number;
  /** Most of them whose logits are wanted. */
  readonly mostOutputs: number;
  /** All tokens are of feeds of that group. Throws when the evaluation is void. */
  evaluate(tokens: readonly BatchToken[], group: G | undefined): void;
  /** Drops what a sequence holds from a position on; false when it cannot drop a part. */
  forget(sequence: number, from: number): boolean;
}

/** Tokens to be appended to a sequence. */
export interface Feed<G> {
  readonly sequence: number;
  /** It is evaluated together with feeds of the same one only. Groups take turns. */
  readonly group?: G | undefined;
  readonly tokens: readonly number[];
  /** Position of the first of them. */
  readonly from: number;
  /** Whether logits of the i-th token are wanted. */
  readonly wants: (i: number) => boolean;
  /** Called with where in the evaluation the i-th token was: its logits can be read then, and not later. */
  readonly onOutput: (i: number, at: number) => void;
  readonly signal: AbortSignal;
}

interface Waiting<G> extends Feed<G> {
  done: number;
  /** Number of the evaluation that it was last in; before it was in any, of the next when it came. */
  turn: number;
  readonly resolve: (outcome: 'done' | 'aborted') => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Continuous batching (Orca, OSDI 2022): every evaluation takes one token of each sequence that generates, and fills up
 * with pieces of prompts, shared out evenly. A sequence joins and leaves between two evaluations; a long prompt never
 * keeps the others waiting for more than one of them (of each group).
 */
export class BatchLoop<G = never> {
  readonly #model: Evaluator<G>;
  readonly #onProgress: () => void;
  #waiting: Waiting<G>[] = [];
  #turn = 0;
  #running = false;

  /** `onProgress` is called after every evaluation. */
  constructor(model: Evaluator<G>, onProgress: () => void) {
    this.#model = model;
    this.#onProgress = onProgress;
  }

  /** Resolves when all tokens were evaluated or the signal aborted; rejects when an evaluation with some of them failed. */
  feed(feed: Feed<G>): Promise<'done' | 'aborted'> {
    if (feed.tokens.length === 0) return Promise.resolve('done');
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...feed, done: 0, turn: this.#turn, resolve, reject });
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    // Feeds that come in the same turn go into the same evaluation; and messages are read between two.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) {
      this.#drop(({ signal }) => signal.aborted, 'aborted');
      const turn = this.#compose();
      if (turn.tokens.length > 0) this.#evaluate(turn);
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#running = false;
  }

  #evaluate({ group, tokens, parts }: Turn<G>): void {
    this.#turn++;
    try {
      this.#model.evaluate(tokens, group);
    } catch (error) {
      for (const { feed } of parts) {
        // What of it was evaluated is not known: the sequence is as it was before.
        this.#model.forget(feed.sequence, feed.from + feed.done);
        feed.reject(error);
      }
      const failed = new Set(parts.map(({ feed }) => feed));
      this.#waiting = this.#waiting.filter((feed) => !failed.has(feed));
      return;
    }
    this.#onProgress();
    for (const { feed, at, count } of parts) {
      for (let i = 0; i < count; i++) if (feed.wants(feed.done + i)) feed.onOutput(feed.done + i, at + i);
      feed.done += count;
      feed.turn = this.#turn;
    }
    this.#drop((feed) => feed.done >= feed.tokens.length, 'done');
  }

  #drop(isOver: (feed: Waiting<G>) => boolean, outcome: 'done' | 'aborted'): void {
    const over = this.#waiting.filter(isOver);
    this.#waiting = this.#waiting.filter((feed) => !isOver(feed));
    for (const feed of over) feed.resolve(outcome);
  }

  #compose(): Turn<G> {
    // Who has least left goes first: those that generate have one token.
    const all = this.#waiting.toSorted((a, b) => left(a) - left(b));
    const first = all.toSorted((a, b) => a.turn - b.turn)[0];
    const inOrder = all.filter(({ group }) => group === first?.group);
    const turn: Turn<G> = { group: first?.group, tokens: [], parts: [] };
    let outputs = this.#model.mostOutputs;
    for (const [at, feed] of inOrder.entries()) {
      const room = this.#model.batchTokens - turn.tokens.length;
      const share = Math.ceil(room / (inOrder.length - at));
      const start = turn.tokens.length;
      for (let i = feed.done; i < feed.tokens.length && turn.tokens.length - start < share; i++) {
        const output = feed.wants(i);
        if (output && outputs === 0) break;
        if (output) outputs--;
        const token = feed.tokens[i] ?? 0;
        turn.tokens.push({ token, position: feed.from + i, sequence: feed.sequence, output });
      }
      const count = turn.tokens.length - start;
      if (count > 0) turn.parts.push({ feed, at: start, count });
    }
    return turn;
  }
}

interface Turn<G> {
  readonly group: G | undefined;
  readonly tokens: BatchToken[];
  readonly parts: { readonly feed: Waiting<G>; readonly at: number; readonly count: number }[];
}

function left<G>(feed: Waiting<G>): number {
  return feed.tokens.length - feed.done;
}
