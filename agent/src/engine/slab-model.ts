import { FleetError } from '@fleetgate/shared/errors';

import type { SlabLayout } from '../gguf/slab-layout.js';
import type { Address, LlamaLibrary } from '../native/llama-library.js';
import type { SlabResidency } from '../residency/residency.js';
import type { KeepSets } from '../slabs/routing.js';
import type { RoutingHeat } from '../slabs/routing-heat.js';
import { type RoutingListener, SlabRouter } from './slab-router.js';
import { type BatchToken, TokenBatch } from './token-batch.js';

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
  /** Slabs that every evaluation is limited to which has no limits of its own; absent: all. */
  readonly kept?: KeepSets | undefined;
}

/** `GGML_LOAD_MODE`: pages of the file, mapped. */
const MMAP = 1;
const KV_OVERRIDE_INT = 0;

/**
 * A model evaluated synchronously through llama.cpp's C interface, whose router can be watched and changed layer by layer.
 *
 * For the engine's child and for commands only: a fault in the library or in memory that is not there ends the process.
 * Not reentrant. Everything of it is gone after `close`.
 */
export class SlabModel {
  readonly #library: LlamaLibrary;
  readonly #router: SlabRouter;
  readonly #batch: TokenBatch;
  readonly #kept: KeepSets | undefined;
  readonly batchTokens: number;
  readonly vocabulary: number;
  readonly vocab: Address;
  readonly #model: Address;
  readonly #context: Address;
  readonly #memory: Address;
  /** Threads of the evaluation: without ones that stay, llama.cpp makes new ones after every layer that is looked at. */
  readonly #threads: Address;
  #closed = false;

  private constructor(library: LlamaLibrary, model: Address, options: SlabModelOptions) {
    const { layout, contextTokens, sequences, threads, batchTokens } = options;
    this.#library = library;
    this.#model = model;
    this.batchTokens = batchTokens;
    this.#router = new SlabRouter(library, layout);
    this.#kept = options.kept;
    this.keep = undefined;
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
    if (layout !== undefined) params.cb_eval = this.#router.callback;
    this.#context = library.init(model, params);
    if (this.#context === 0) {
      this.#router.close();
      library.modelFree(model);
      throw refused(`no context of ${contextTokens} tokens for ${sequences} sequences`, library);
    }
    this.#threads = threads > 1 ? library.threadsFor(this.#context, threads) : 0;
    this.#memory = library.memory(this.#context);
    this.vocab = library.modelVocab(model);
    this.vocabulary = library.vocabTokens(this.vocab);
    this.#batch = new TokenBatch(library, batchTokens);
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

  /** Slabs that stay in play by layer; undefined: `kept`. Fewer than a token uses in a layer are refused. */
  set keep(keep: KeepSets | undefined) {
    this.#router.keep = keep ?? this.#kept;
  }

  /**
   * Active slabs per token from the next evaluation on; undefined: as many as the model was loaded with. Evaluates a token of
   * no meaning where nothing was evaluated before: how a graph makes the weights of slabs is known only once it was seen.
   */
  set slabsPerToken(active: number | undefined) {
    if (active !== undefined && !this.#router.hasSeen) {
      this.evaluate([{ token: 0, position: 0, sequence: 0, output: true }]);
      this.forget(0, 0);
    }
    this.#router.slabsPerToken = active;
  }

  get residency(): SlabResidency | undefined {
    return this.#router.residency;
  }

  /** Closed with the model. */
  set residency(residency: SlabResidency | undefined) {
    this.#router.residency = residency;
  }

  /** Counts every choice that is looked at anyway. */
  set heat(heat: RoutingHeat | undefined) {
    this.#router.heat = heat;
  }

  set listener(listener: RoutingListener | undefined) {
    this.#router.listener = listener;
  }

  /** Called before each layer's slabs are computed with: an evaluation may take long where storage is slow. */
  set onLayer(onLayer: (() => void) | undefined) {
    this.#router.onLayer = onLayer;
  }

  /**
   * Evaluates tokens in one go; at most `batchTokens` of them. Afterwards `logits` has those of every token with
   * `output`. Throws what the residency throws (the evaluation is void then, and the sequences' caches are unchanged from the
   * caller's point of view only after `forget`), and `engine.crashed` where llama.cpp fails.
   */
  evaluate(tokens: readonly BatchToken[]): void {
    const batch = this.#batch.of(tokens);
    this.#router.begin(tokens.length);
    const code = this.#library.decode(this.#context, batch);
    this.#router.end();
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
    this.#library.threadsFree(this.#threads);
    this.#library.modelFree(this.#model);
    this.#router.close();
  }
}

function refused(what: string, library: LlamaLibrary): FleetError {
  const said = library.log.slice(-3).join(' | ');
  return new FleetError('gguf.malformed', `${what}${said === '' ? '' : `: ${said}`}`, {
    hint: 'the file may be damaged or of an architecture that this llama.cpp does not know',
  });
}
