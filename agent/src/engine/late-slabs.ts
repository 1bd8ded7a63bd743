import { FleetError } from '@fleetgate/shared/errors';

import type { Projection, SlabLayout } from '../gguf/slab-layout.js';
import type { GgmlTensors } from '../native/ggml-tensors.js';
import type { Address } from '../native/llama-library.js';
import type { SlabResidency } from '../residency/residency.js';

/** The projection that a layer computes last, and the name of the node before. */
interface LastUse {
  readonly projection: Projection;
  readonly before: string;
}

/**
 * Lets a layer begin to compute while the projection that it uses last is still being read.
 *
 * Which node uses which weights is read off the graph itself. It is learnt from an evaluation that has all of them there
 * before, and looked at again in every one that has left some to be read: what a node uses is waited for before it is
 * computed; at a stop after the node before where the graph is as it was, and else at once when the node is asked about.
 */
export class LateSlabs {
  readonly #tensors: GgmlTensors;
  /** Projections of each layer, by its index. */
  readonly #layers: readonly (readonly Projection[])[];
  readonly #projections = new Map<string, Projection>();
  /** By layer; null where it could not be learnt. */
  readonly #lastUses: (LastUse | null | undefined)[] = [];
  #isAllowed = true;
  #layer = -1;
  /** Of the running layer, while it is learnt: what no node has used yet. */
  readonly #unused = new Set<Projection>();
  /** Of the running layer: what may still be read. */
  #late: LastUse | undefined;
  #before = '';

  constructor(tensors: GgmlTensors, layout: SlabLayout | undefined) {
    this.#tensors = tensors;
    const layers = layout?.layers ?? [];
    this.#layers = layers.map((layer) => layer.tensors.map(({ projection }) => projection));
    for (const layer of layers) {
      for (const { name, projection } of layer.tensors) this.#projections.set(name, projection);
    }
  }

  /** An evaluation begins. */
  begin(): void {
    this.#unused.clear();
    this.#late = undefined;
  }

  /** A layer (by its index) is about to be computed. What of it may be waited for later; throws as `end`. */
  enter(layer: number): Projection | undefined {
    this.end();
    this.#layer = layer;
    this.#before = '';
    const last = this.#lastUses[layer];
    if (last === undefined) for (const projection of this.#layers[layer] ?? []) this.#unused.add(projection);
    this.#late = this.#isAllowed ? (last ?? undefined) : undefined;
    return this.#late?.projection;
  }

  /** Whether the nodes of the graph have to be looked at now. */
  get isWatching(): boolean {
    return this.#late !== undefined || this.#unused.size > 0;
  }

  /** A node is to be computed: whether to stop after it, and to call `stopped` then. Throws as `SlabResidency.await`. */
  asked(node: Address, name: string, residency: SlabResidency | undefined): boolean {
    const weights = this.#tensors.sourceName(node, 0);
    const used = weights === undefined ? undefined : this.#projections.get(weights);
    if (used !== undefined) this.#uses(used, residency);
    this.#before = name;
    return this.#late?.before === name && residency?.isAwaiting === true;
  }

  /** The node is computed. Throws as `SlabResidency.await`. */
  stopped(residency: SlabResidency | undefined): void {
    this.#late = undefined;
    residency?.await?.();
  }

  /** A layer, or the evaluation, has ended. Throws `internal.invariant` where weights were not waited for: it is void. */
  end(): void {
    if (this.#unused.size > 0) this.#lastUses[this.#layer] = null;
    const missed = this.#late;
    this.begin();
    if (missed === undefined) return;
    this.#isAllowed = false;
    throw new FleetError('internal.invariant', `layer ${this.#layer}: nothing waited for its ${missed.projection}`, {
      hint: 'the evaluation was given up; from now on all weights of a layer are waited for first',
      retryable: true,
    });
  }

  #uses(projection: Projection, residency: SlabResidency | undefined): void {
    if (projection === this.#late?.projection) this.stopped(residency);
    const isLast = this.#unused.delete(projection) && this.#unused.size === 0;
    const isOnly = this.#layers[this.#layer]?.length === 1;
    if (isLast) this.#lastUses[this.#layer] = isOnly ? null : { projection, before: this.#before };
  }
}
