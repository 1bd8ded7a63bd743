import { servedMemory } from '@fleetgate/shared/catalogue/serving';
import { FleetError } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { estimateMemory, modelFacts, weightBytes } from '@fleetgate/shared/gguf/facts';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Sampling } from '@fleetgate/shared/protocol/job';
import { ENGINE_ABILITIES } from '@fleetgate/shared/protocol/twin';
import { type Random, systemRandom } from '@fleetgate/shared/random';
import { bytes } from '@fleetgate/shared/units/quantity';

import { adapterBytes } from '@fleetgate/shared/gguf/disk-lora';
import { ChildCalls } from './child-calls.js';
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
import type { LlamaChildProcess } from './llama-child-process.js';
import { type ChildSupervisorOptions, LlamaChildSupervisor } from './llama-child-supervisor.js';
import { checkMemory } from './llama-failure.js';
import { weightsKey } from './llama-models.js';

export interface LlamaEngineOptions extends ChildSupervisorOptions {
  /** Seeds of jobs that bring none. Default: the system's. */
  readonly random?: Random;
}

/** llama.cpp in a child process, by node-llama-cpp. The child starts with the first call that needs it. */
export function createLlamaEngine(options: LlamaEngineOptions): LlamaEngine {
  return new LlamaEngine(options);
}

/** One child process holds all resident variants; a crash or hang rejects the calls that were running, and leaves it empty. */
export class LlamaEngine implements Engine {
  readonly kind = 'llama';
  readonly abilities = ENGINE_ABILITIES;
  readonly #options: LlamaEngineOptions;
  readonly #random: Random;
  readonly #calls = new ChildCalls();
  readonly #resident = new Map<VariantId, EngineModel>();
  readonly #supervisor: LlamaChildSupervisor;

  constructor(options: LlamaEngineOptions) {
    this.#options = options;
    this.#random = options.random ?? systemRandom;
    this.#supervisor = new LlamaChildSupervisor(options, {
      onMessage: (message) => this.#calls.receive(message),
      onGone: (error) => {
        this.#resident.clear();
        if (error !== undefined) this.#calls.lose(error);
      },
      isIdle: () => this.#resident.size === 0 && this.#calls.count === 0,
    });
  }

  /** Process id of the child while there is one: its memory is the engine's. */
  get childPid(): number | undefined {
    return this.#supervisor.child?.pid;
  }

  async version(): Promise<string> {
    const child = await this.#supervisor.ready(new AbortController().signal);
    this.#supervisor.stopWhenIdle();
    return child.started;
  }

  state(): EngineState {
    return this.#supervisor.status.current;
  }

  onState(listener: (state: EngineState) => void): () => void {
    return this.#supervisor.status.onChange(listener);
  }

  async load(model: EngineModel, signal: AbortSignal): Promise<LoadedModel> {
    const header = await readGguf(model.path);
    const facts = modelFacts(header, model.path);
    if (!Number.isInteger(model.contextTokens) || model.contextTokens < 1) {
      throw new FleetError('internal.invariant', `context of ${model.contextTokens} tokens asked for`);
    }
    const contextTokens = Math.min(model.contextTokens, facts.contextTokens);
    const adapters = model.adapters?.map(({ path }) => path) ?? [];
    const laidOver = await adapterBytes(adapters, header, model.path);
    if (!this.#resident.has(model.variantId)) {
      const whole = estimateMemory(header, contextTokens, this.#options.sequences, model.path);
      const served = this.#options.hosts === 'slabs' ? model.serving : undefined;
      const need = servedMemory(whole, facts.slabsBytes ?? 0, served);
      const there = this.#holdsWeights(model) ? weightBytes(header) : 0;
      checkMemory(bytes(Math.max(0, need - there) + laidOver), model.variantId);
    }
    const child = await this.#supervisor.ready(signal);
    const loaded = await this.#calls.make(child, { kind: 'load', model: { ...model, contextTokens } }, signal);
    if (child === this.#supervisor.child) this.#resident.set(model.variantId, model);
    return loaded;
  }

  async unload(variant: VariantId): Promise<void> {
    const { child } = this.#supervisor;
    if (child === undefined || !this.#resident.delete(variant)) return;
    try {
      await this.#calls.make(child, { kind: 'unload', variantId: variant });
    } catch (error) {
      // Gone with its process is unloaded, too.
      if (child === this.#supervisor.child) throw error;
    }
    this.#supervisor.stopWhenIdle();
  }

  async generate(
    variant: VariantId,
    input: GenerateInput,
    sampling: Sampling,
    onText: OnText,
    signal: AbortSignal,
    extras: GenerateExtras = {},
  ): Promise<GenerateResult> {
    const seed = sampling.seed === undefined ? Math.floor(this.#random.uniform() * 2 ** 32) : sampling.seed >>> 0;
    const call = { kind: 'generate' as const, variantId: variant, input, sampling, seed, extras };
    return this.#calls.make(this.#holder(variant), call, signal, { onText });
  }

  async mix(
    variant: VariantId,
    options: MixOptions,
    choose: (step: MixStep) => Promise<number>,
    signal: AbortSignal,
  ): Promise<MixResult> {
    const call = { kind: 'mix' as const, variantId: variant, options };
    return this.#calls.make(this.#holder(variant), call, signal, { choose });
  }

  async score(
    variant: VariantId,
    prompt: string,
    completion: string,
    signal: AbortSignal,
    wishes?: ScoreWishes,
  ): Promise<ScoreResult> {
    const call = { kind: 'score' as const, variantId: variant, prompt, completion, wishes };
    return this.#calls.make(this.#holder(variant), call, signal);
  }

  async embed(variant: VariantId, texts: readonly string[], signal: AbortSignal): Promise<EmbedResult> {
    return this.#calls.make(this.#holder(variant), { kind: 'embed' as const, variantId: variant, texts }, signal);
  }

  setSlabsPerToken(variant: VariantId, slabs: number | undefined): boolean {
    if (this.#options.hosts !== 'slabs' || !this.#resident.has(variant)) return false;
    this.#supervisor.child?.send({ kind: 'slabs', variantId: variant, slabs: slabs ?? null });
    return true;
  }

  close(): Promise<void> {
    return this.#supervisor.close();
  }

  /** Whether the weights are in memory already, for another variant. */
  #holdsWeights(model: EngineModel): boolean {
    const key = weightsKey(model);
    return this.#options.hosts !== 'slabs' && [...this.#resident.values()].some((one) => weightsKey(one) === key);
  }

  /** The child that holds a resident variant. */
  #holder(variant: VariantId): LlamaChildProcess {
    this.#supervisor.checkOpen();
    const { child } = this.#supervisor;
    if (child !== undefined && this.#resident.has(variant)) return child;
    throw new FleetError('engine.unavailable', `variant ${variant} is not resident`, { retryable: true });
  }
}
