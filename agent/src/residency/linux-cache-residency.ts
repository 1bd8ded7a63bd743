import { FleetError } from '@fleetgate/shared/errors';

import type { Projection } from '../gguf/slab-layout.js';
import type { SlabId } from '../slabs/cache-policy.js';
import { distinctSlabs } from '../slabs/cache-simulation.js';
import type { Guess } from '../slabs/foresight-odds.js';
import type { Foresight, Prefetch } from '../slabs/prefetch.js';
import type { RoutedLayer } from '../slabs/routing.js';
import { ANYWHERE, type EvictFrom } from '../slabs/slab-cache.js';
import { type AdmissionParts, SlabAdmission } from './linux-slab-admission.js';
import { type Buffers, type ResidencyFigures, type SlabResidency, WORTH_READING } from './residency.js';
import { FEW_TOKENS } from './residency-choice.js';

export interface CacheParts extends AdmissionParts {
  readonly prefetch: Prefetch;
  /** Bytes for slabs while so many tokens are evaluated at once; always the cache's capacity if absent. */
  readonly budgetOf?: ((tokens: number) => number) | undefined;
}

/** Of a layer's slabs that a batch uses, the share from which on it counts as streaming through the whole model. */
const STREAMING_SHARE = 0.5;
/** Of as many slabs as this layer uses, the share read ahead of the next layer's routing: most of them it will use. */
const LOOK_AHEAD_SHARE = 0.9;

const NO_FIGURES = { routed: 0, hits: 0, tokens: 0, readAhead: 0 };

/**
 * Slabs in memory of our own, laid over the places where llama.cpp expects them, filled by direct reads.
 *
 * Pages of a slab that is not wholly there are not accessible: computing with it ends the process (SIGSEGV) instead of
 * giving wrong tokens. They are opened when a read is started, and `ensure` returns only when it has succeeded, or leaves it to
 * `await`.
 */
export class CacheResidency implements SlabResidency {
  readonly strategy = 'cache';
  readonly #parts: CacheParts;
  readonly #prefetch: Prefetch;
  readonly #admission: SlabAdmission;
  /** How many slabs each layer used in the last batch. */
  readonly #used: number[] = [];
  #tokens = 1;
  #figures = NO_FIGURES;
  #beganAt = 0;
  /** When the last layer began to compute, and what had been waited by then. */
  #left = { at: 0, waitMs: 0 };
  /** Slabs that `ensure` may have left under way. */
  #awaited: readonly SlabId[] = [];
  #isClosed = false;

  constructor(parts: CacheParts) {
    this.#parts = parts;
    this.#prefetch = parts.prefetch;
    this.#admission = new SlabAdmission(parts);
  }

  /** Reads what the policy's scores hold most worth, until the budget is full; blocks. Throws as `ensure` does. */
  fill(): void {
    const { cache, reads } = this.#parts;
    const slabs = [...cache.worthMost()].toSorted((a, b) => this.#offsetOf(a) - this.#offsetOf(b));
    for (let i = 0; i < slabs.length; i += this.#parts.pages.slabsPerLayer) {
      const some = slabs.slice(i, i + this.#parts.pages.slabsPerLayer);
      this.#admission.admit(some, ANYWHERE);
      reads.finish(some);
      this.#admission.settle([]);
    }
    this.#admission.checkFailures();
  }

  begin(tokens: number): void {
    this.#parts.source.check();
    this.#admission.dropFailed();
    this.#resize(tokens);
    this.#parts.cache.begin(tokens);
    this.#prefetch.begin();
    this.#awaited = [];
    this.#beganAt = performance.now();
    this.#tokens = tokens;
    this.#figures = { ...this.#figures, tokens: this.#figures.tokens + tokens };
  }

  expect(frequencies: ArrayLike<number>, mostBytes: number): void {
    const { cache, pages } = this.#parts;
    this.#admission.dropFailed();
    this.#admission.settle([]);
    cache.expect(frequencies);
    let bytes = 0;
    // What comes first in a token is read first.
    for (const slab of cache.worthMost().toSorted((a, b) => a - b)) {
      if ((frequencies[slab] ?? 0) < WORTH_READING || cache.isResident(slab) || !cache.isWorthRoom(slab)) continue;
      bytes += pages.slabBytes[Math.floor(slab / pages.slabsPerLayer)] ?? 0;
      if (bytes > mostBytes || !this.#admission.admit([slab], ANYWHERE)) return;
    }
  }

  ensure(routed: RoutedLayer, foresight?: Foresight, later?: Projection): void {
    const { cache, pages, reads } = this.#parts;
    const { layer } = routed;
    const wanted = distinctSlabs(layer, routed.slabs, pages.slabsPerLayer);
    cache.routed(routed);
    this.#admission.dropFailed();
    this.#count(wanted);
    this.#prefetch.came(wanted);
    if (layer > 0 && this.#tokens === 1) this.#prefetch.computed(this.#computedMs());
    this.#admission.settle(wanted, (slab) => this.#prefetch.isExpected(slab));
    const isStreaming = wanted.length >= STREAMING_SHARE * pages.slabsPerLayer && this.#tokens > 1;
    const from: EvictFrom = isStreaming ? { kind: 'below-first', layer } : ANYWHERE;
    if (!this.#admission.admit(wanted, from, later)) this.#makeRoom(wanted, layer);
    // While storage is at it: what comes next is guessed.
    const next = foresight === undefined ? [] : this.#guess(routed, foresight);
    this.#admission.finishEarly(wanted, later);
    this.#awaited = later === undefined ? [] : wanted;
    this.#readAhead(next, layer);
    if (isStreaming && layer + 1 < pages.layers) this.#lookAhead(layer + 1, wanted.length);
    this.#used[layer] = this.#tokens > 1 ? wanted.length : (this.#used[layer] ?? 0);
    this.#left = { at: performance.now(), waitMs: reads.waitMs };
    if (foresight !== undefined && layer === pages.layers - 1) this.#prefetch.took(this.#left.at - this.#beganAt);
  }

  get isAwaiting(): boolean {
    const { reads } = this.#parts;
    reads.poll();
    return reads.hasFailures || this.#awaited.some((slab) => reads.isReading(slab));
  }

  await(): void {
    this.#admission.finish(this.#awaited);
  }

  end(buffers: Buffers | undefined): void {
    if (this.#tokens > FEW_TOKENS && buffers !== undefined) this.#parts.places.giveBack(buffers);
  }

  figures(): ResidencyFigures {
    const { reads, cache } = this.#parts;
    const figures = {
      ...this.#figures,
      bytesRead: reads.takeBytesRead(),
      waitMs: reads.waitMs,
      residentBytes: cache.bytes,
    };
    this.#figures = NO_FIGURES;
    reads.waitMs = 0;
    return figures;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#parts.reads.close();
    this.#parts.source.close();
  }

  /** What the buffers of a large batch take is not there for slabs. */
  #resize(tokens: number): void {
    const { cache, places, budgetOf } = this.#parts;
    const capacityBytes = budgetOf?.(tokens) ?? cache.capacityBytes;
    if (capacityBytes < cache.bytes) this.#admission.settle([]);
    for (const slab of cache.resize(capacityBytes)) places.shut(slab);
  }

  #count(wanted: readonly SlabId[]): void {
    const { cache, reads } = this.#parts;
    const there = wanted.filter((slab) => cache.isResident(slab) && !reads.isReading(slab)).length;
    const { routed, hits } = this.#figures;
    this.#figures = { ...this.#figures, routed: routed + wanted.length, hits: hits + there };
  }

  #guess({ layer, slabsPerToken }: RoutedLayer, foresight: Foresight): readonly Guess[] {
    const { cache } = this.#parts;
    return this.#prefetch.guess(layer, slabsPerToken, foresight, (slab) => cache.isResident(slab));
  }

  #computedMs(): number {
    return performance.now() - this.#left.at - (this.#parts.reads.waitMs - this.#left.waitMs);
  }

  #readAhead(guesses: readonly Guess[], layer: number): void {
    if (guesses.length === 0) return;
    const { reads, pages } = this.#parts;
    const slabs = this.#prefetch.worthReading(guesses, {
      slabMs: reads.msFor(pages.slabBytes[layer + 1] ?? 0),
      queuedMs: reads.msFor(reads.bytesLeft),
    });
    const started = slabs.filter((slab) => this.#admission.admit([slab], ANYWHERE)).length;
    this.#figures = { ...this.#figures, readAhead: this.#figures.readAhead + started };
  }

  /** What was read ahead may hold the room that is wanted now: it is waited for and let go. */
  #makeRoom(wanted: readonly SlabId[], layer: number): void {
    const { cache, reads, pages } = this.#parts;
    reads.finish(this.#admission.held);
    this.#prefetch.giveUp();
    this.#admission.settle(wanted);
    if (this.#admission.admit(wanted, ANYWHERE)) return;
    const bytes = wanted.length * (pages.slabBytes[layer] ?? 0);
    throw new FleetError(
      'engine.out-of-memory',
      `layer ${layer} of a batch of ${this.#tokens} tokens uses ${wanted.length} slabs (${bytes} bytes); ` +
        `${cache.capacityBytes} bytes are there for slabs`,
      { hint: 'evaluate fewer tokens at once, or give slabs more memory' },
    );
  }

  /**
   * Starts to read the slabs of the next layer that this batch will most likely use; as many as there is room for.
   * The last layer is computed for the tokens with an output only: it shows at the first batch how many that are.
   */
  #lookAhead(layer: number, used: number): void {
    const isLast = layer === this.#parts.pages.layers - 1;
    const before = this.#used[layer] ?? (isLast ? 0 : used);
    const likely = this.#parts.cache.ranked(layer).slice(0, Math.floor(Math.min(used, before) * LOOK_AHEAD_SHARE));
    for (let count = likely.length; count > 0; count = Math.floor(count / 2)) {
      if (this.#admission.admit(likely.slice(0, count), { kind: 'below-first', layer: layer - 1 })) return;
    }
  }

  #offsetOf(slab: SlabId): number {
    return this.#parts.places.of(slab)[0]?.offset ?? 0;
  }
}
