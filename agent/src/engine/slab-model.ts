import { FleetError } from '@fleetgate/shared/errors';

import type { SlabLayout } from '../gguf/slab-layout.js';
import type { Address, Batch, LlamaLibrary } from '../native/llama-library.js';
import type { SlabResidency } from '../residency/residency.js';
import type { KeepSets, RoutedLayer } from '../slabs/routing.js';
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

export interface SlabModelOptions {
  /** GGUF file, or one of the same layout in whose slabs' places the residency puts them. */
  readonly path: string;
  /** Where the slabs of the file lie; undefined for a dense model, which is evaluated as it is. */
  readonly layout: SlabLayout | undefined;
  /** Tokens that one sequence holds. */
  readonly contextTokens: number;
  readonly sequences: number;
  readonly threads: number;
  /** Tokens of one evaluation at most. */
  readonly batchTokens: number;
  /** Of those, how many may have logits: a large vocabulary takes much memory for each. Default: all. */
  readonly mostOutputs?: number;
  /** Active slabs per token in place of the file's; saves their computation as well. */
  readonly slabsPerToken?: number | undefined;
}

/** One token of an evaluation. */
export interface BatchToken {
  readonly token: number;
  readonly position: number;
  readonly sequence: number;
  /** Whether its logits are wanted. */
  readonly output: boolean;
}

/** Sees the router's choice; with `probabilities` also what it was made from. */
export interface RoutingListener {
  readonly probabilities: boolean;
  onRouted(routed: RoutedLayer): void;
}

/** `GGML_LOAD_MODE`: pages of the file, mapped. */
const MMAP = 1;
const KV_OVERRIDE_INT = 0;
/** Bytes of `struct ggml_tensor`, and where its sizes and strides lie (checked by `llama-layout.ts` through the version). */
const TENSOR_BYTES = 336;
const TENSOR_SIZES = 16;
const TENSOR_STRIDES = 48;

/**
 * A model evaluated synchronously through llama.cpp's C interface, whose router can be watched and changed layer by layer.
 *
 * For the engine's child and for commands only: a fault in the library or in memory that is not there ends the process.
 * Not reentrant. Everything of it is gone after `close`.
 */
export class SlabModel {
  readonly #library: LlamaLibrary;
  readonly #layout: SlabLayout | undefined;
  readonly #indexOfLayer: ReadonlyMap<number, number>;
  readonly #stages = new StagePlan();
  readonly #struct = new DataView(new ArrayBuffer(TENSOR_BYTES));
  readonly #batch: Batch;
  readonly #tokens: { readonly token: Int32Array; readonly pos: Int32Array; readonly output: Int8Array };
  readonly #sequenceIds: Int32Array;
  readonly #callback: { readonly pointer: unknown; release(): void };
  readonly #probabilities = new Map<number, Address>();
  readonly #routers: RouterForesight;
  readonly batchTokens: number;
  readonly vocabulary: number;
  readonly vocab: Address;
  readonly #model: Address;
  readonly #context: Address;
  readonly #memory: Address;
  #pending: { readonly tensor: MoeTensor; readonly stage: Stage } | undefined;
  #routed: RoutedLayer | undefined;
  #failure: unknown;
  #keep: KeepSets | undefined;
  #slabsPerToken: number | undefined;
  #closed = false;
  residency: SlabResidency | undefined;
  listener: RoutingListener | undefined;
  /** Called before each layer's slabs are computed with: an evaluation may take long where storage is slow. */
  onLayer: (() => void) | undefined;

  private constructor(library: LlamaLibrary, model: Address, options: SlabModelOptions) {
    const { layout, contextTokens, sequences, threads, batchTokens } = options;
    this.#library = library;
    this.#routers = new RouterForesight(library);
    this.#layout = layout;
    this.#indexOfLayer = new Map(layout?.layers.map(({ layer }, index) => [layer, index]));
    this.#model = model;
    this.batchTokens = batchTokens;
    this.#callback = library.evalCallback((tensor, ask) => this.#onTensor(tensor, ask));
    const params = library.contextDefaultParams();
    params.n_ctx = contextTokens * sequences;
    // llama.cpp wants room for one output of each sequence, whatever is ever evaluated at once.
    params.n_batch = params.n_ubatch = Math.max(batchTokens, sequences);
    params.n_seq_max = sequences;
    if (options.mostOutputs !== undefined) params.n_outputs_max = Math.max(sequences, options.mostOutputs);
    params.n_threads = params.n_threads_batch = threads;
    params.no_perf = true;
    // One buffer a sequence: what others hold must not change the order of a sum.
    params.kv_unified = false;
    if (layout !== undefined) params.cb_eval = this.#callback.pointer;
    this.#context = library.init(model, params);
    if (this.#context === 0) {
      this.#callback.release();
      library.modelFree(model);
      throw refused(`no context of ${contextTokens} tokens for ${sequences} sequences`, library);
    }
    this.#memory = library.memory(this.#context);
    this.vocab = library.modelVocab(model);
    this.vocabulary = library.vocabTokens(this.vocab);
    this.#tokens = {
      token: new Int32Array(batchTokens),
      pos: new Int32Array(batchTokens),
      output: new Int8Array(batchTokens),
    };
    const ids = library.fixedInts(batchTokens);
    this.#sequenceIds = ids.ints;
    const pointers = BigUint64Array.from({ length: batchTokens }, (_, i) => BigInt(ids.address + 4 * i));
    this.#batch = {
      n_tokens: 0,
      token: this.#tokens.token,
      embd: null,
      pos: this.#tokens.pos,
      n_seq_id: new Int32Array(batchTokens).fill(1),
      seq_id: pointers,
      logits: this.#tokens.output,
    };
  }

  /** Loads the file. Throws `gguf.malformed` where llama.cpp refuses it, with what it said. */
  static open(library: LlamaLibrary, options: SlabModelOptions): SlabModel {
    const params = library.modelDefaultParams();
    params.n_gpu_layers = 0;
    params.load_mode = MMAP;
    params.lazy_mode = 0;
    // Repacked weights lie elsewhere in memory, all of them, and would not be the slabs that are looked after.
    params.use_extra_bufts = false;
    const { slabsPerToken, layout } = options;
    if (slabsPerToken !== undefined && layout !== undefined) {
      const key = `${layout.architecture}.expert_used_count`;
      params.kv_overrides = [
        { tag: KV_OVERRIDE_INT, key, val_i64: slabsPerToken, rest: [] },
        { tag: KV_OVERRIDE_INT, key: '', val_i64: 0, rest: [] },
      ];
    }
    const model = library.modelLoad(options.path, params);
    if (model === 0) throw refused(`${options.path} cannot be loaded`, library);
    return new SlabModel(library, model, options);
  }

  /** Lays adapters over the weights, from the next evaluation on. Throws `gguf.unsupported` where llama.cpp refuses one. */
  adapt(adapters: readonly { readonly path: string; readonly scale: number }[]): void {
    const loaded = adapters.map(({ path }) => this.#library.adapterLoad(this.#model, path));
    const refusedAt = loaded.indexOf(0);
    const scales = Float32Array.from(adapters, ({ scale }) => scale);
    const code =
      refusedAt >= 0
        ? -1
        : this.#library.setAdapters(this.#context, BigUint64Array.from(loaded, BigInt), loaded.length, scales);
    if (code === 0) return;
    const said = this.#library.log.slice(-3).join(' | ');
    throw new FleetError(
      'gguf.unsupported',
      `${adapters[Math.max(0, refusedAt)]?.path}: llama.cpp refuses it: ${said}`,
    );
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

  /** Active slabs per token from the next evaluation on; undefined: as many as the model was loaded with. */
  set slabsPerToken(active: number | undefined) {
    this.#slabsPerToken = active;
  }

  /**
   * Evaluates tokens in one go; at most `batchTokens` of them. Afterwards `logits` has those of every token with
   * `output`. Throws what the residency throws (the evaluation is void then, and the sequences' caches are unchanged from the
   * caller's point of view only after `forget`), and `engine.crashed` where llama.cpp fails.
   */
  evaluate(tokens: readonly BatchToken[]): void {
    for (const [i, { token, position, sequence, output }] of tokens.entries()) {
      this.#tokens.token[i] = token;
      this.#tokens.pos[i] = position;
      this.#tokens.output[i] = output ? 1 : 0;
      this.#sequenceIds[i] = sequence;
    }
    this.#batch.n_tokens = tokens.length;
    this.#failure = undefined;
    this.#pending = undefined;
    this.residency?.begin(tokens.length);
    const code = this.#library.decode(this.#context, this.#batch);
    if (this.#failure !== undefined) throw this.#failure;
    if (code !== 0) throw refused(`evaluating ${tokens.length} tokens failed with code ${code}`, this.#library);
  }

  /** Logits of the i-th token of the last evaluation, which had `output`, into `out`. */
  logits(i: number, out: Float32Array): void {
    const address = this.#library.logitsIth(this.#context, i);
    if (address === 0) throw new FleetError('internal.invariant', `token ${i} of the last evaluation has no logits`);
    this.#library.copy(out, address, 4 * this.vocabulary);
  }

  /** Whether evaluations from the next one on keep the state after each token with `output`. */
  set keepsStates(keeps: boolean) {
    this.#library.setEmbeddings(this.#context, keeps);
  }

  /** The state after the i-th token of the last evaluation, or its sequence's as the model pools it. */
  stateAfter(i: number): Float32Array {
    const state = new Float32Array(this.#library.modelEmbedding(this.#model));
    const address = this.#library.embeddingsIth(this.#context, i);
    if (address === 0) throw new FleetError('internal.invariant', `token ${i} of the last evaluation has no state`);
    this.#library.copy(state, address, state.byteLength);
    return state;
  }

  /** Drops what a sequence holds from a position on; false where the model cannot drop a part. */
  forget(sequence: number, from: number): boolean {
    return this.#library.seqRm(this.#memory, sequence, from, -1);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.residency?.close();
    this.#library.free(this.#context);
    this.#library.modelFree(this.#model);
    this.#callback.release();
  }

  /** llama.cpp asks of every node of the graph whether to stop after it, and comes back when it is computed. */
  #onTensor(tensor: Address, ask: boolean): boolean {
    if (ask) return this.#ask(tensor);
    const pending = this.#pending;
    if (pending === undefined) return true;
    try {
      this.#run(tensor, pending);
      return true;
    } catch (error) {
      // An exception must not cross C: the evaluation is broken off, and its result thrown away.
      this.#failure = error;
      return false;
    }
  }

  #ask(tensor: Address): boolean {
    const named = moeTensor(this.#library.tensorName(tensor));
    if (named === undefined || this.#failure !== undefined) return false;
    if (named.what === 'probs') this.#probabilities.set(named.layer, tensor);
    if (named.what === 'logits' && this.residency?.strategy === 'cache') this.#routers.found(named.layer, tensor);
    const stage = this.#stages.stageOf(named, {
      keep: this.#keep,
      slabsPerToken: this.#slabsPerToken,
      observes: this.residency !== undefined || this.listener !== undefined,
    });
    if (stage === undefined) return false;
    this.#pending = { tensor: named, stage };
    return true;
  }

  #run(tensor: Address, { tensor: { layer }, stage }: { readonly tensor: MoeTensor; readonly stage: Stage }): void {
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
    const scores = this.#floats(tensor);
    dropSlabs(scores, this.#layout?.slabsPerLayer ?? 1, this.#keep?.[index] ?? []);
    this.#library.tensorSet(tensor, scores, 0, scores.byteLength);
  }

  #choose(tensor: Address, layer: number, index: number): void {
    const { slabsPerToken, tokens, stride } = this.#shape(tensor);
    if (tokens === 0) return;
    const ids = new Int32Array(this.#library.tensorBytes(tensor) / 4);
    this.#library.tensorGet(tensor, ids, 0, ids.byteLength);
    let slabs = chosenSlabs(ids, tokens, slabsPerToken, stride);
    const active = Math.min(slabsPerToken, this.#slabsPerToken ?? slabsPerToken);
    if (active < slabsPerToken) {
      slabs = repeatFirst({ layer, tokens, slabsPerToken, slabs }, active);
      for (let t = 0; t < tokens; t++) {
        const row = slabs.subarray(t * slabsPerToken, (t + 1) * slabsPerToken);
        this.#library.tensorSet(tensor, row, 4 * t * stride, row.byteLength);
      }
    }
    this.#routed = this.#withProbabilities(layer, { layer: index, tokens, slabsPerToken, slabs });
    const foresight = tokens > 1 ? undefined : () => this.#foresee(layer, index + 1);
    this.residency?.ensure(this.#routed, foresight);
    this.onLayer?.();
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
    return { ...routed, probabilities: asProbabilities(this.#floats(scores), this.#layout?.slabsPerLayer ?? 1) };
  }

  #weigh(tensor: Address, layer: number): void {
    const weights = this.#floats(tensor);
    const slabsPerToken = this.#routed?.slabsPerToken ?? 1;
    const active = this.#slabsPerToken ?? slabsPerToken;
    const none = this.#stages.noWeight(layer);
    for (let i = 0; i < weights.length; i++) if (i % slabsPerToken >= active) weights[i] = none;
    this.#library.tensorSet(tensor, weights, 0, weights.byteLength);
  }

  #floats(tensor: Address): Float32Array {
    const values = new Float32Array(this.#library.tensorBytes(tensor) / 4);
    if (values.length > 0) this.#library.tensorGet(tensor, values, 0, values.byteLength);
    return values;
  }

  /** Of a choice: `ne[0]`, `ne[1]`, and numbers from row to row. */
  #shape(tensor: Address): { readonly slabsPerToken: number; readonly tokens: number; readonly stride: number } {
    this.#library.copy(this.#struct, tensor, TENSOR_BYTES);
    const at = (offset: number): number => Number(this.#struct.getBigInt64(offset, true));
    return {
      slabsPerToken: at(TENSOR_SIZES),
      tokens: at(TENSOR_SIZES + 8),
      stride: at(TENSOR_STRIDES + 8) / at(TENSOR_STRIDES),
    };
  }
}

function refused(what: string, library: LlamaLibrary): FleetError {
  const said = library.log.slice(-3).join(' | ');
  return new FleetError('gguf.malformed', `${what}${said === '' ? '' : `: ${said}`}`, {
    hint: 'the file may be damaged or of an architecture that this llama.cpp does not know',
  });
}
