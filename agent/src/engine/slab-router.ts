import { FleetError } from '@fleetgate/shared/errors';

import type { SlabLayout } from '../gguf/slab-layout.js';
import { GgmlTensors } from '../native/ggml-tensors.js';
import type { Address, LlamaLibrary } from '../native/llama-library.js';
import type { Buffers, SlabResidency } from '../residency/residency.js';
import type { KeepSets, RoutedLayer } from '../slabs/routing.js';
import type { RoutingHeat } from '../slabs/routing-heat.js';
import { LateSlabs } from './late-slabs.js';
import { RouterForesight } from './router-foresight.js';
import {
  asProbabilities,
  chosenSlabs,
  dropSlabs,
  moeTensor,
  type MoeTensor,
  repeatFirst,
  type Stage,
  StagePlan,
} from './slab-observer.js';

/** Sees the router's choice; with `probabilities` also what it was made from. */
export interface RoutingListener {
  readonly probabilities: boolean;
  onRouted(routed: RoutedLayer): void;
}

/**
 * Stands between a layer's routing and its computation, called by llama.cpp on the thread that evaluates: masks slabs, lowers
 * their number, has them brought into memory, and tells who listens.
 */
export class SlabRouter {
  readonly #library: LlamaLibrary;
  readonly #tensors: GgmlTensors;
  readonly #layout: SlabLayout | undefined;
  readonly #indexOfLayer: ReadonlyMap<number, number>;
  readonly #stages = new StagePlan();
  readonly #probabilities = new Map<number, Address>();
  readonly #routers: RouterForesight;
  readonly #late: LateSlabs;
  readonly #callback: { readonly pointer: unknown; release(): void };
  #pending: { readonly named: MoeTensor; readonly stage: Stage } | undefined;
  #waits = false;
  /** What the running evaluation computes in. */
  #buffers: Buffers | undefined;
  #routed: RoutedLayer | undefined;
  #failure: unknown;
  #hasSeen = false;
  #keep: KeepSets | undefined;
  /** Active slabs per token; undefined: as many as the model was loaded with. */
  slabsPerToken: number | undefined;
  residency: SlabResidency | undefined;
  listener: RoutingListener | undefined;
  /** Counts every choice that is looked at anyway. */
  heat: RoutingHeat | undefined;
  /** Called before each layer's slabs are computed with. */
  onLayer: (() => void) | undefined;

  constructor(library: LlamaLibrary, layout: SlabLayout | undefined) {
    this.#library = library;
    this.#tensors = new GgmlTensors(library);
    this.#routers = new RouterForesight(library, this.#tensors);
    this.#late = new LateSlabs(this.#tensors, layout);
    this.#layout = layout;
    this.#indexOfLayer = new Map(layout?.layers.map(({ layer }, index) => [layer, index]));
    this.#callback = library.evalCallback((tensor, ask) => this.#onTensor(tensor, ask));
  }

  /** For `cb_eval`, until `close`. */
  get callback(): unknown {
    return this.#callback.pointer;
  }

  /** Slabs that stay in play by layer; undefined: all. Fewer than a token uses in a layer are refused. */
  set keep(keep: KeepSets | undefined) {
    const least = this.#layout?.slabsPerToken ?? 0;
    const short = keep?.findIndex((kept) => kept.length < least) ?? -1;
    if (short >= 0 || (keep !== undefined && keep.length !== this.#layout?.layers.length)) {
      throw new FleetError(
        'request.invalid',
        `a mask of ${keep?.length ?? 0} layers, the least with ${Math.min(...(keep ?? []).map((kept) => kept.length))} slabs; ` +
          `expected ${this.#layout?.layers.length ?? 0} layers of ${least} or more`,
      );
    }
    this.#keep = keep;
  }

  /** An evaluation begins. */
  begin(tokens: number): void {
    this.#failure = undefined;
    this.#buffers = undefined;
    this.#late.begin();
    this.residency?.begin(tokens);
  }

  /** The evaluation has ended. Throws what went wrong in a call from llama.cpp since `begin`: what was computed is void. */
  end(): void {
    this.residency?.end?.(this.#buffers);
    if (this.#failure !== undefined) throw this.#failure;
    this.#hasSeen = true;
    this.#late.end();
  }

  close(): void {
    this.#callback.release();
    this.#routers.close();
  }

  /** llama.cpp asks of every node of the graph whether to stop after it, and comes back when it is computed. */
  #onTensor(tensor: Address, ask: boolean): boolean {
    try {
      if (ask) return this.#ask(tensor);
      if (this.#waits) this.#late.stopped(this.residency);
      if (this.#pending !== undefined) this.#run(tensor, this.#pending);
      return true;
    } catch (error) {
      // An exception must not cross C: the evaluation is broken off, and its result thrown away.
      this.#failure = error;
      return false;
    }
  }

  #ask(tensor: Address): boolean {
    this.#pending = undefined;
    this.#waits = false;
    if (this.#failure !== undefined || !this.#isWatched) return false;
    const name = this.#library.tensorName(tensor);
    if (this.#late.isWatching) this.#waits = this.#late.asked(tensor, name, this.residency);
    const named = moeTensor(name);
    if (named === undefined) return this.#waits;
    if (named.what === 'probs') this.#probabilities.set(named.layer, tensor);
    if (named.what === 'logits' && this.residency?.strategy === 'cache') this.#routers.found(named.layer, tensor);
    const stage = this.#stages.stageOf(named, {
      keep: this.#keep,
      slabsPerToken: this.slabsPerToken,
      observes: this.#observes,
    });
    if (stage === undefined) return this.#waits;
    this.#pending = { named, stage };
    return true;
  }

  /** Whether an evaluation has been looked at to its end. */
  get hasSeen(): boolean {
    return this.#hasSeen;
  }

  get #observes(): boolean {
    return this.residency !== undefined || this.listener !== undefined;
  }

  /** Whether the graph has to be looked at: once for what it is like, and where something is done with the choices. */
  get #isWatched(): boolean {
    return !this.#hasSeen || this.#observes || this.#keep !== undefined || this.slabsPerToken !== undefined;
  }

  #run(tensor: Address, { named: { layer }, stage }: { readonly named: MoeTensor; readonly stage: Stage }): void {
    const index = this.#indexOfLayer.get(layer);
    if (index === undefined) throw new FleetError('internal.invariant', `layer ${layer} has no slabs in the file`);
    switch (stage) {
      case 'mask':
        this.#mask(tensor, index);
        return;
      case 'chosen':
        this.#choose(tensor, layer, index);
        return;
      case 'weights':
        this.#weigh(tensor, layer);
    }
  }

  #mask(tensor: Address, index: number): void {
    const scores = this.#tensors.floats(tensor);
    dropSlabs(scores, this.#layout?.slabsPerLayer ?? 1, this.#keep?.[index] ?? []);
    this.#tensors.write(tensor, scores);
  }

  #choose(tensor: Address, layer: number, index: number): void {
    const { columns: slabsPerToken, rows: tokens, stride } = this.#tensors.matrix(tensor);
    if (tokens === 0) return;
    // Each graph of an evaluation may have others.
    if (index === 0) this.#buffers = this.#tensors.bufferOf(tensor);
    let slabs = chosenSlabs(this.#tensors.ints(tensor), tokens, slabsPerToken, stride);
    const active = Math.min(slabsPerToken, this.slabsPerToken ?? slabsPerToken);
    if (active < slabsPerToken) {
      slabs = repeatFirst({ layer, tokens, slabsPerToken, slabs }, active);
      for (let t = 0; t < tokens; t++) {
        this.#tensors.write(tensor, slabs.subarray(t * slabsPerToken, (t + 1) * slabsPerToken), t * stride);
      }
    }
    this.#routed = this.#withProbabilities(layer, { layer: index, tokens, slabsPerToken, slabs });
    const foresight = tokens > 1 ? undefined : () => this.#foresee(layer, index + 1);
    this.residency?.ensure(
      this.#routed,
      foresight,
      this.residency.await === undefined ? undefined : this.#late.enter(index),
    );
    this.onLayer?.();
    this.heat?.routed(this.#routed);
    this.listener?.onRouted(this.#routed);
  }

  #foresee(layer: number, index: number): Float32Array | undefined {
    const of = this.#layout?.layers[index]?.layer;
    return of === undefined ? undefined : this.#routers.scores(layer, of);
  }

  #withProbabilities(layer: number, routed: RoutedLayer): RoutedLayer {
    const isWanted = this.residency?.strategy === 'cache' || this.listener?.probabilities === true;
    const scores = isWanted ? this.#probabilities.get(layer) : undefined;
    if (scores === undefined) return routed;
    const probabilities = asProbabilities(this.#tensors.floats(scores), this.#layout?.slabsPerLayer ?? 1);
    return { ...routed, probabilities };
  }

  #weigh(tensor: Address, layer: number): void {
    const weights = this.#tensors.floats(tensor);
    const slabsPerToken = this.#routed?.slabsPerToken ?? 1;
    const active = this.slabsPerToken ?? slabsPerToken;
    const none = this.#stages.noWeight(layer);
    for (let i = 0; i < weights.length; i++) if (i % slabsPerToken >= active) weights[i] = none;
    this.#tensors.write(tensor, weights);
  }
}
