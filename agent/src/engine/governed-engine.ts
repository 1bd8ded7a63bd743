import type { SlabHeat } from '@fleetgate/shared/catalogue/slab-heat';
import type { ClassId, VariantId } from '@fleetgate/shared/ids';
import type { Sampling } from '@fleetgate/shared/protocol/job';
import type { SlabReport } from '@fleetgate/shared/protocol/twin';

import type { ResidencyFigures } from '../residency/residency.js';
import { AT_EASE, governedSlabs, type Strain } from '../slabs/governor.js';
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

/** Weight of what was before when another answer comes. */
const REMEMBERED = 0.8;

interface Kept {
  readonly model: EngineModel;
  readonly loaded: LoadedModel;
  /** Active slabs per token, as the engine was last told; undefined: as loaded. */
  slabs: number | undefined;
  /** Over recent answers, older ones counting less. */
  readonly recent: {
    task: string | undefined;
    heat: SlabHeat | undefined;
    tokens: number;
    routed: number;
    hits: number;
    bytesRead: number | undefined;
    waitMs: number;
  };
}

/**
 * An engine that lowers the active slabs of what it serves when the device is strained, within what each variant's way of
 * serving allows, raises them again after, and knows what keeping slabs on storage achieves. Everything else it passes on.
 */
export class GovernedEngine implements Engine {
  readonly #engine: Engine;
  readonly #onChange: (what: 'change' | 'progress') => void;
  readonly #resident = new Map<VariantId, Kept>();
  #strain: Strain = AT_EASE.strain;

  /** `onChange`: `slabsOf` answers something else now; `progress`: only in its figures. */
  constructor(engine: Engine, onChange: (what: 'change' | 'progress') => void) {
    this.#engine = engine;
    this.#onChange = onChange;
    engine.onState((state) => {
      if (state.state !== 'ready') this.#resident.clear();
    });
  }

  get kind(): Engine['kind'] {
    return this.#engine.kind;
  }

  get abilities(): Engine['abilities'] {
    return this.#engine.abilities;
  }

  get strain(): Strain {
    return this.#strain;
  }

  /** Takes the device's strain; gives the variants whose active slabs changed by it. */
  govern(strain: Strain): readonly { readonly variantId: VariantId; readonly slabs: number }[] {
    this.#strain = strain;
    const changed = [...this.#resident].flatMap(([variantId, kept]) => {
      const slabs = this.#apply(variantId, kept);
      return slabs === undefined ? [] : [{ variantId, slabs }];
    });
    if (changed.length > 0) this.#onChange('change');
    return changed;
  }

  /** How a resident variant's slabs are kept; undefined where the engine has no say in it. */
  slabsOf(variant: VariantId): SlabReport | undefined {
    const kept = this.#resident.get(variant);
    const residency = kept?.loaded.residency;
    if (kept === undefined || residency === undefined) return undefined;
    const { task, heat, tokens, routed, hits, bytesRead, waitMs } = kept.recent;
    const { strategy, reason } = residency;
    return {
      strategy,
      reason: reason.slice(0, 500),
      ...(kept.slabs === undefined ? {} : { slabsPerToken: kept.slabs }),
      ...(routed === 0 ? {} : { hitRatio: Math.min(1, hits / routed) }),
      ...(tokens === 0 || bytesRead === undefined ? {} : { readBytesPerToken: bytesRead / tokens }),
      ...(tokens === 0 ? {} : { waitMsPerToken: waitMs / tokens }),
      ...(task === undefined ? {} : { task: task.slice(0, 200) }),
      ...(heat === undefined ? {} : { heat }),
    };
  }

  /**
   * How much of the slabs that prompts of one class use is in memory after one of another class, as a rough share: 1 for the
   * same, what the model's patterns say where the classes are its tasks, else 0; 0 where all slabs are in memory anyway.
   */
  sharing(variant: VariantId, one: ClassId, other: ClassId): number {
    const { residency, patterns } = this.#resident.get(variant)?.loaded ?? {};
    if (residency === undefined || residency.strategy === 'none') return 0;
    if (one === other) return 1;
    const [row, column] = [patterns?.tasks.indexOf(one) ?? -1, patterns?.tasks.indexOf(other) ?? -1];
    return patterns?.likeness[row]?.[column] ?? 0;
  }

  version(): Promise<string> {
    return this.#engine.version();
  }

  state(): EngineState {
    return this.#engine.state();
  }

  onState(listener: (state: EngineState) => void): () => void {
    return this.#engine.onState(listener);
  }

  async load(model: EngineModel, signal: AbortSignal): Promise<LoadedModel> {
    const loaded = await this.#engine.load(model, signal);
    const recent = { task: undefined, heat: undefined, tokens: 0, routed: 0, hits: 0, bytesRead: undefined, waitMs: 0 };
    const kept: Kept = { model, loaded, slabs: undefined, recent };
    this.#resident.set(model.variantId, kept);
    this.#apply(model.variantId, kept);
    return loaded;
  }

  async unload(variant: VariantId): Promise<void> {
    this.#resident.delete(variant);
    await this.#engine.unload(variant);
  }

  async generate(
    variant: VariantId,
    input: GenerateInput,
    sampling: Sampling,
    onText: OnText,
    signal: AbortSignal,
    extras: GenerateExtras = {},
  ): Promise<GenerateResult> {
    const result = await this.#engine.generate(variant, input, sampling, onText, signal, extras);
    this.#note(variant, result);
    return result;
  }

  mix(
    variant: VariantId,
    options: MixOptions,
    choose: (step: MixStep) => Promise<number>,
    signal: AbortSignal,
  ): Promise<MixResult> {
    return this.#engine.mix(variant, options, choose, signal);
  }

  score(
    variant: VariantId,
    prompt: string,
    completion: string,
    signal: AbortSignal,
    wishes?: ScoreWishes,
  ): Promise<ScoreResult> {
    return this.#engine.score(variant, prompt, completion, signal, wishes);
  }

  embed(variant: VariantId, texts: readonly string[], signal: AbortSignal): Promise<EmbedResult> {
    return this.#engine.embed(variant, texts, signal);
  }

  setSlabsPerToken(variant: VariantId, slabs: number | undefined): boolean {
    return this.#engine.setSlabsPerToken(variant, slabs);
  }

  close(): Promise<void> {
    return this.#engine.close();
  }

  /** The new number of active slabs where it is another one now. */
  #apply(variantId: VariantId, kept: Kept): number | undefined {
    const { slabsPerToken: most, leastSlabsPerToken: least } = kept.model.serving ?? {};
    if (most === undefined || least === undefined) return undefined;
    const slabs = governedSlabs(most, least, this.#strain);
    if (slabs === (kept.slabs ?? most)) return undefined;
    if (!this.#engine.setSlabsPerToken(variantId, slabs)) return undefined;
    kept.slabs = slabs === most ? undefined : slabs;
    return slabs;
  }

  #note(variant: VariantId, { slabs, heat, pattern, promptTokens, outputTokens }: GenerateResult): void {
    const recent = this.#resident.get(variant)?.recent;
    if (recent === undefined || [slabs, heat, pattern].every((told) => told === undefined)) return;
    recent.task = pattern?.task;
    recent.heat = heat ?? recent.heat;
    if (slabs !== undefined) addFigures(recent, slabs, promptTokens + outputTokens);
    this.#onChange('progress');
  }
}

function addFigures(recent: Kept['recent'], slabs: ResidencyFigures, tokens: number): void {
  recent.tokens = REMEMBERED * recent.tokens + tokens;
  recent.routed = REMEMBERED * recent.routed + slabs.routed;
  recent.hits = REMEMBERED * recent.hits + slabs.hits;
  recent.waitMs = REMEMBERED * recent.waitMs + slabs.waitMs;
  if (slabs.bytesRead !== undefined) recent.bytesRead = REMEMBERED * (recent.bytesRead ?? 0) + slabs.bytesRead;
}
