import { FleetError } from '@fleetgate/shared/errors';
import { classId, jobId, variantId } from '@fleetgate/shared/ids';
import type { Job } from '@fleetgate/shared/protocol/job';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import { BatchLoop } from '../engine/batch-loop.js';
import type { BatchToken } from '../engine/token-batch.js';
import { JobQueue } from '../jobs/job-queue.js';
import { decayedFrequency } from '../slabs/cache-policy.js';
import { distinctSlabs } from '../slabs/cache-simulation.js';
import { ANYWHERE, type CacheShape, SlabCache } from '../slabs/slab-cache.js';

/** A prompt with its answer, and how the router chose for each of their tokens. */
export interface RoutedText {
  readonly task: string;
  readonly tokens: number;
  readonly promptTokens: number;
  readonly slabsPerToken: number;
  readonly layers: readonly { readonly slabs: Int32Array; readonly probabilities: Float32Array }[];
}

export interface BatchingCourse {
  readonly texts: readonly RoutedText[];
  readonly shape: CacheShape;
  /** Answers at once. */
  readonly atOnce: number;
  /** Tokens of one evaluation. */
  readonly batchTokens: number;
  /** Jobs that wait, where there are so many left. */
  readonly waiting: number;
  /** Slabs in common; undefined: first come, first served. */
  readonly sharing: ((one: string, other: string) => number) | undefined;
}

export interface BatchingFigures {
  readonly tokens: number;
  readonly slabsRead: number;
  readonly bytesPerToken: number;
}

const VARIANT = variantId('mixture');
const SAMPLING = { maxTokens: 1, temperature: 0, topP: 1, stop: [] };
/** As the engine's residency has it: a batch that uses so many of a layer's slabs streams through the whole model. */
const STREAMING_SHARE = 0.5;

/**
 * What the agent's own queue, the engine's batches and its cache's policy would read for these texts, one job each, answered
 * by their known continuations.
 */
export async function runBatching(course: BatchingCourse): Promise<BatchingFigures> {
  const { texts, shape, atOnce, batchTokens, sharing } = course;
  const reads = new CountedReads(shape);
  const running = new Map<number, RoutedText>();
  const loop = new BatchLoop(
    {
      batchTokens,
      mostOutputs: batchTokens,
      evaluate: (tokens) => reads.evaluate(tokens, running),
      forget: () => true,
    },
    () => {},
  );
  const queue = new JobQueue(texts.length);
  const byJob = new Map(texts.map((text, i) => [jobId(String(i)), text]));
  const arrivals = [...byJob].map(([id, { task }]): Job => {
    const base = { v: 1 as const, jobId: id, variantId: VARIANT, timeoutMs: 1, classId: classId(task) };
    return { ...base, kind: 'complete', prompt: '', sampling: SAMPLING };
  });
  let last: string | undefined;
  const shared = ({ classId: of }: Job): number => {
    if (sharing === undefined || of === undefined) return 0;
    const there = running.size > 0 ? [...running.values()].map(({ task }) => task) : last === undefined ? [] : [last];
    return there.reduce((sum, task) => sum + sharing(of, task), 0) / Math.max(1, there.length);
  };
  const runNext = async (sequence: number): Promise<void> => {
    for (;;) {
      for (const job of arrivals.splice(0, course.waiting - queue.length)) queue.offer(job, 0 as UnixMs, true);
      const text = byJob.get(queue.take(shared)?.job.jobId ?? jobId('none'));
      if (text === undefined) return;
      last = text.task;
      running.set(sequence, text);
      await answer(loop, sequence, text);
      running.delete(sequence);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, (_, sequence) => runNext(sequence)));
  return reads.figures;
}

/** The prompt in one go, then token by token. */
async function answer(loop: BatchLoop, sequence: number, { tokens, promptTokens }: RoutedText): Promise<void> {
  const { signal } = new AbortController();
  for (let from = 0; from < tokens;) {
    const count = from === 0 ? promptTokens : 1;
    const feed = { sequence, tokens: Array.from({ length: count }, () => 0), from, signal };
    await loop.feed({ ...feed, wants: (i) => i === count - 1, onOutput: () => {} });
    from += count;
  }
}

/** Evaluates nothing: looks up what the router chose, and counts what the cache would have to read. */
class CountedReads {
  readonly #shape: CacheShape;
  readonly #cache: SlabCache;
  #tokens = 0;
  #slabsRead = 0;
  #bytesRead = 0;

  constructor(shape: CacheShape) {
    this.#shape = shape;
    this.#cache = new SlabCache(shape, decayedFrequency(shape.slabsPerLayer * shape.slabBytes.length));
  }

  get figures(): BatchingFigures {
    return {
      tokens: this.#tokens,
      slabsRead: this.#slabsRead,
      bytesPerToken: this.#bytesRead / Math.max(1, this.#tokens),
    };
  }

  evaluate(tokens: readonly BatchToken[], running: ReadonlyMap<number, RoutedText>): void {
    this.#tokens += tokens.length;
    this.#cache.begin(tokens.length);
    const { slabsPerLayer, slabBytes } = this.#shape;
    for (const [layer, bytes] of slabBytes.entries()) {
      const routed = this.#routed(layer, tokens, running);
      this.#cache.routed(routed);
      const wanted = distinctSlabs(layer, routed.slabs, slabsPerLayer);
      const isStreaming = wanted.length >= STREAMING_SHARE * slabsPerLayer && tokens.length > 1;
      const admission = this.#cache.request(wanted, isStreaming ? { kind: 'below-first', layer } : ANYWHERE);
      if (admission === undefined) throw new FleetError('internal.invariant', `${wanted.length} slabs do not fit`);
      this.#cache.release(wanted);
      this.#slabsRead += admission.missing.length;
      this.#bytesRead += admission.missing.length * bytes;
    }
  }

  #routed(layer: number, tokens: readonly BatchToken[], running: ReadonlyMap<number, RoutedText>) {
    const { slabsPerLayer } = this.#shape;
    const slabsPerToken = [...running.values()][0]?.slabsPerToken ?? 1;
    const slabs = new Int32Array(tokens.length * slabsPerToken);
    const probabilities = new Float32Array(tokens.length * slabsPerLayer);
    for (const [t, { sequence, position }] of tokens.entries()) {
      const of = running.get(sequence)?.layers[layer];
      if (of === undefined) continue;
      slabs.set(of.slabs.subarray(position * slabsPerToken, (position + 1) * slabsPerToken), t * slabsPerToken);
      const scores = of.probabilities.subarray(position * slabsPerLayer, (position + 1) * slabsPerLayer);
      probabilities.set(scores, t * slabsPerLayer);
    }
    return { layer, tokens: tokens.length, slabsPerToken, slabs, probabilities };
  }
}
