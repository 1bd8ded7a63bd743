import { type FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Sampling } from '@fleetgate/shared/protocol/job';

import type {
  EmbedResult,
  Engine,
  EngineModel,
  EngineState,
  GenerateExtras,
  GenerateInput,
  GenerateResult,
  LoadedModel,
  MixOptions,
  MixResult,
  MixStep,
  OnText,
  ScoreResult,
  ScoreWishes,
} from './engine.js';
import { EngineStatus } from './engine-status.js';

/**
 * Hosts whole models in one engine and mixtures whose slabs are to be looked after in another; each has a process of its
 * own, so that a slab that is not there ends no other answer.
 *
 * Where the slab-aware engine cannot be had on this machine, the ordinary one takes the model, whole if it fits, and the
 * loaded model's `residency` says why.
 */
export class ModelEngine implements Engine {
  readonly kind = 'llama';
  readonly #ordinary: Engine;
  readonly #slabs: Engine;
  readonly #log: Logger;
  readonly #status = new EngineStatus();
  /** Variants in the slab-aware engine. */
  readonly #looked = new Set<VariantId>();

  constructor(engines: { readonly ordinary: Engine; readonly slabs: Engine }, log: Logger) {
    this.#ordinary = engines.ordinary;
    this.#slabs = engines.slabs;
    this.#log = log;
    this.#ordinary.onState((state) => {
      // Whoever hears of a loss takes everything for lost, and loads it again: so it has to be.
      if (state.state !== 'ready') this.#looked.clear();
      this.#status.set(state);
    });
    this.#slabs.onState((state) => {
      // What cannot start here is no loss to models that never needed it.
      if (state.state === 'ready' || this.#looked.size === 0) return;
      this.#looked.clear();
      this.#status.set({ state: 'restarting', reason: state.reason });
      // Whole models are served on; the others are loaded again as soon as their engine is back, or whole.
      this.#status.set(this.#ordinary.state());
    });
  }

  /** Whichever of them a variant is in. */
  get abilities(): Engine['abilities'] {
    return this.#ordinary.abilities.filter((ability) => this.#slabs.abilities.includes(ability));
  }

  version(): Promise<string> {
    return this.#ordinary.version();
  }

  state(): EngineState {
    return this.#status.current;
  }

  onState(listener: (state: EngineState) => void): () => void {
    return this.#status.onChange(listener);
  }

  async load(model: EngineModel, signal: AbortSignal): Promise<LoadedModel> {
    if (!needsLookingAfter(model)) return this.#ordinary.load(model, signal);
    try {
      const loaded = await this.#slabs.load(model, signal);
      this.#looked.add(model.variantId);
      return loaded;
    } catch (error) {
      if (signal.aborted || !isFleetError(error, 'engine.unavailable')) throw error;
      return this.#loadWhole(model, error, signal);
    }
  }

  async unload(variant: VariantId): Promise<void> {
    const owner = this.#ownerOf(variant);
    this.#looked.delete(variant);
    await owner.unload(variant);
  }

  generate(
    variant: VariantId,
    input: GenerateInput,
    sampling: Sampling,
    onText: OnText,
    signal: AbortSignal,
    extras: GenerateExtras = {},
  ): Promise<GenerateResult> {
    return this.#ownerOf(variant).generate(variant, input, sampling, onText, signal, extras);
  }

  mix(
    variant: VariantId,
    options: MixOptions,
    choose: (step: MixStep) => Promise<number>,
    signal: AbortSignal,
  ): Promise<MixResult> {
    return this.#ownerOf(variant).mix(variant, options, choose, signal);
  }

  score(
    variant: VariantId,
    prompt: string,
    completion: string,
    signal: AbortSignal,
    wishes?: ScoreWishes,
  ): Promise<ScoreResult> {
    return this.#ownerOf(variant).score(variant, prompt, completion, signal, wishes);
  }

  embed(variant: VariantId, texts: readonly string[], signal: AbortSignal): Promise<EmbedResult> {
    return this.#ownerOf(variant).embed(variant, texts, signal);
  }

  setSlabsPerToken(variant: VariantId, slabs: number | undefined): boolean {
    return this.#ownerOf(variant).setSlabsPerToken(variant, slabs);
  }

  async close(): Promise<void> {
    this.#status.close();
    await Promise.all([this.#ordinary.close(), this.#slabs.close()]);
  }

  #ownerOf(variant: VariantId): Engine {
    return this.#looked.has(variant) ? this.#slabs : this.#ordinary;
  }

  async #loadWhole(model: EngineModel, cause: FleetError, signal: AbortSignal): Promise<LoadedModel> {
    const reason = `the whole file, for the slab-aware engine cannot be had: ${messageOf(cause)}`;
    this.#log.warn('engine.fallback', { variantId: model.variantId, reason });
    const { slabsPerToken } = model.serving ?? {};
    const { serving: _, ...whole } = model;
    const plain = slabsPerToken === undefined ? whole : { ...whole, serving: { slabsPerToken } };
    const loaded = await this.#ordinary.load(plain, signal);
    return { ...loaded, residency: { strategy: 'none', reason } };
  }
}

/** Whether somebody has to decide at every token what is in memory, or how many slabs are used, or which. */
function needsLookingAfter({ serving }: EngineModel): boolean {
  const { slabBudgetBytes, leastSlabsPerToken, taskMask, slabMask } = serving ?? {};
  return [slabBudgetBytes, leastSlabsPerToken, taskMask, slabMask].some((wish) => wish !== undefined);
}
