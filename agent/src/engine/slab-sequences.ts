import type { KeepSets } from '../slabs/routing.js';
import { MOST_PROBED } from '../slabs/task-patterns.js';
import { BatchLoop } from './batch-loop.js';
import type { TakenPattern } from './engine.js';
import { bitsOf, mostOutputs } from './logits.js';
import { commonBeginning, SequencePool } from './sequence-pool.js';
import type { SlabModel } from './slab-model.js';
import { type Company, evaluateTogether, type SlabTasks } from './slab-tasks.js';

export interface SlabSequence {
  /** Below 0 for one that was asked for in vain: its caller was aborted. */
  readonly id: number;
  held: number[];
  /** What its tokens are evaluated as. */
  company: Company | undefined;
}

export interface SlabSequencesParts {
  readonly model: SlabModel;
  readonly sequences: number;
  /** Where the model is served by task. */
  readonly tasks: SlabTasks | undefined;
  /** Called after every evaluation. */
  readonly onProgress: () => void;
}

/** The sequences of a model: lent one at a time, fed with tokens together, some of them with a task's slabs only. */
export class SlabSequences {
  readonly #parts: SlabSequencesParts;
  readonly #pool: SequencePool<SlabSequence>;
  readonly #loop: BatchLoop<Company>;
  /** Where logits are while somebody reads them. */
  readonly logits: Float32Array;

  constructor(parts: SlabSequencesParts) {
    const { model, sequences, onProgress } = parts;
    this.#parts = parts;
    this.logits = new Float32Array(model.vocabulary);
    this.#pool = new SequencePool(
      Array.from({ length: sequences }, (_, id): SlabSequence => ({ id, held: [], company: undefined })),
    );
    this.#loop = new BatchLoop(
      {
        batchTokens: model.batchTokens,
        mostOutputs: mostOutputs(model.vocabulary),
        evaluate: (tokens, company) => evaluateTogether(model, tokens, company),
        forget: (sequence, from) => model.forget(sequence, from),
      },
      onProgress,
    );
  }

  /**
   * Runs on a sequence that begins as the prompt does, with all of the prompt but a part to evaluate. With a task mask there
   * is nothing in it: what an earlier prompt left is of a mask, and the one of this prompt is not known yet.
   */
  async using<T>(
    prompt: readonly number[],
    signal: AbortSignal,
    run: (sequence: SlabSequence) => Promise<T>,
  ): Promise<T> {
    const begins = this.#parts.tasks?.masks === true ? [] : prompt;
    const sequence = await this.#pool.acquire(begins, signal);
    if (sequence === undefined) return run({ id: -1, held: [], company: undefined });
    try {
      // The last token of the prompt is evaluated again: its logits are wanted.
      const common = Math.min(commonBeginning(sequence.held, begins), Math.max(0, begins.length - 1));
      const isPart = this.#parts.model.forget(sequence.id, common);
      if (!isPart) this.#parts.model.forget(sequence.id, 0);
      sequence.held = isPart ? sequence.held.slice(0, common) : [];
      this.#parts.tasks?.forget(sequence.id, sequence.held.length);
      return await run(sequence);
    } finally {
      // What was computed with a mask is of no use to those without.
      if (sequence.company?.keep !== undefined) sequence.held = [];
      sequence.company = undefined;
      this.#parts.model.forget(sequence.id, sequence.held.length);
      this.#pool.release(sequence);
    }
  }

  /** Appends tokens; what `read` makes of the logits after the last one. Undefined when aborted. */
  async next<T>(
    sequence: SlabSequence,
    tokens: readonly number[],
    signal: AbortSignal,
    read: () => T,
  ): Promise<T | undefined> {
    let result: T | undefined;
    const outcome = await this.#feed(
      sequence,
      tokens,
      signal,
      (i) => i === tokens.length - 1,
      () => (result = read()),
    );
    return outcome === 'aborted' || signal.aborted ? undefined : result;
  }

  /** Evaluates a document but for its last token; bits of each token after index `first`. Undefined when aborted. */
  async bits(
    sequence: SlabSequence,
    document: readonly number[],
    first: number,
    signal: AbortSignal,
  ): Promise<readonly number[] | undefined> {
    const bits: number[] = [];
    const outcome = await this.#feed(
      sequence,
      document.slice(0, -1),
      signal,
      (i) => i >= first,
      (i) => {
        bits[i - first] = bitsOf(this.logits, document[i + 1] ?? 0);
      },
    );
    return outcome === 'aborted' ? undefined : bits;
  }

  /** The model's state after the last of the tokens, where states are kept. Undefined when aborted. */
  async stateAfter(
    sequence: SlabSequence,
    tokens: readonly number[],
    signal: AbortSignal,
  ): Promise<Float32Array | undefined> {
    const { model } = this.#parts;
    let state: Float32Array | undefined;
    const outcome = await this.#feed(
      sequence,
      tokens,
      signal,
      (i) => i === tokens.length - 1,
      (_, at) => (state = model.stateAfter(at)),
    );
    return outcome === 'aborted' ? undefined : state;
  }

  /**
   * With a task mask: reads the end of a prompt with all slabs, and has the sequence computed with those of the task that it
   * is like, from its beginning on. The answer is then the one of a file pruned to these slabs.
   */
  async takeMask(
    sequence: SlabSequence,
    prompt: readonly number[],
    signal: AbortSignal,
  ): Promise<TakenPattern | undefined> {
    const { tasks, model } = this.#parts;
    if (tasks?.masks !== true || sequence.id < 0) return undefined;
    sequence.company = tasks.observing(sequence.id);
    const isRead = await this.#feed(
      sequence,
      prompt.slice(-MOST_PROBED),
      signal,
      () => false,
      () => {},
    );
    const nearest = isRead === 'done' ? tasks.nearest(sequence.id) : undefined;
    model.forget(sequence.id, 0);
    tasks.forget(sequence.id, 0);
    sequence.held = [];
    sequence.company = nearest === undefined ? undefined : tasks.maskOf(nearest.pattern);
    const keep = nearest?.pattern.keep?.[0]?.length;
    if (nearest === undefined || keep === undefined) return undefined;
    return { task: nearest.pattern.task, similarity: nearest.similarity, keep };
  }

  /** Has an empty sequence computed with these slabs alone. */
  compute(sequence: SlabSequence, keep: KeepSets): void {
    sequence.company = { keep, observes: undefined };
  }

  /** Where nothing is masked: reads a prompt, and has the slabs of the task that it is like looked after. */
  async observed<T>(sequence: SlabSequence, read: () => Promise<T>): Promise<readonly [T, TakenPattern | undefined]> {
    const { tasks, model } = this.#parts;
    if (tasks === undefined || tasks.masks || sequence.id < 0) return [await read(), undefined];
    sequence.company = tasks.observing(sequence.id);
    const result = await read();
    sequence.company = undefined;
    const nearest = result === undefined ? undefined : tasks.nearest(sequence.id);
    if (nearest === undefined) return [result, undefined];
    const { pattern, similarity } = nearest;
    model.residency?.expect?.(pattern.frequencies, tasks.budgetBytes);
    return [result, { task: pattern.task, similarity }];
  }

  async #feed(
    sequence: SlabSequence,
    tokens: readonly number[],
    signal: AbortSignal,
    wants: (i: number) => boolean,
    onLogits: (i: number, at: number) => void,
  ): Promise<'done' | 'aborted'> {
    const from = sequence.held.length;
    const outcome = await this.#loop.feed({
      sequence: sequence.id,
      group: sequence.company,
      tokens,
      from,
      wants,
      onOutput: (i, at) => {
        this.#parts.model.logits(at, this.logits);
        onLogits(i, at);
      },
      signal,
    });
    // An aborted feed may have evaluated some: they are not counted as held, and overwritten.
    if (outcome === 'done') sequence.held.push(...tokens);
    return outcome;
  }
}
