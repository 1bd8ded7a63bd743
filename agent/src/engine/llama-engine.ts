import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { estimateMemory, modelFacts } from '@fleetgate/shared/gguf/facts';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Sampling } from '@fleetgate/shared/protocol/job';
import { type Random, systemRandom } from '@fleetgate/shared/random';
import { type Milliseconds, bytes, elapsed, milliseconds } from '@fleetgate/shared/units/quantity';

import { loraFault, weightBytes } from '../gguf/lora.js';
import { ChildCalls, type OnText } from './child-calls.js';
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
  ScoreResult,
} from './engine.js';
import { EngineStatus } from './engine-status.js';
import { type ChildHosts, LlamaChildProcess } from './llama-child-process.js';
import { checkMemory } from './llama-failure.js';
import { weightsKey } from './llama-models.js';
import { decideRestart } from './restart-policy.js';

export interface LlamaEngineOptions {
  /** Threads of all evaluations together. More than there are idle cores makes it slower by orders of magnitude. */
  readonly threads: number;
  /** Jobs that one variant runs at once; each adds a KV cache. */
  readonly sequences: number;
  readonly gpu: 'off' | 'auto';
  /** Default: whole models. */
  readonly hosts?: ChildHosts;
  /** Without a sign of life for this long the child counts as hung. */
  readonly watchdog: Milliseconds;
  readonly log: Logger;
  readonly clock: Clock;
  /** Seeds of jobs that bring none. Default: the system's. */
  readonly random?: Random;
}

/** With nothing resident for this long the child is stopped: it takes some 90 MB. */
const IDLE_STOP = milliseconds(30_000);

/** llama.cpp in a child process, by node-llama-cpp. The child starts with the first call that needs it. */
export function createLlamaEngine(options: LlamaEngineOptions): LlamaEngine {
  return new LlamaEngine(options);
}

/**
 * Supervises one child process that holds all resident variants.
 *
 * A crash or hang rejects the calls that were running, and restarts the child with backoff, empty. After several quick
 * crashes the engine is down, and tried again every 30 s.
 */
export class LlamaEngine implements Engine {
  readonly kind = 'llama';
  readonly #options: LlamaEngineOptions;
  readonly #random: Random;
  readonly #status = new EngineStatus();
  readonly #calls = new ChildCalls();
  readonly #resident = new Map<VariantId, EngineModel>();
  #child: LlamaChildProcess | undefined;
  #crashes = 0;
  #closed = false;
  #cancelTimer: () => void = () => {};

  constructor(options: LlamaEngineOptions) {
    this.#options = options;
    this.#random = options.random ?? systemRandom;
  }

  /** Process id of the child while there is one: its memory is the engine's. */
  get childPid(): number | undefined {
    return this.#child?.pid;
  }

  async version(): Promise<string> {
    const child = await this.#ready(new AbortController().signal);
    this.#stopWhenIdle();
    return child.started;
  }

  state(): EngineState {
    return this.#status.current;
  }

  onState(listener: (state: EngineState) => void): () => void {
    return this.#status.onChange(listener);
  }

  async load(model: EngineModel, signal: AbortSignal): Promise<LoadedModel> {
    const header = await readGguf(model.path);
    const facts = modelFacts(header, model.path);
    if (!Number.isInteger(model.contextTokens) || model.contextTokens < 1) {
      throw new FleetError('internal.invariant', `context of ${model.contextTokens} tokens asked for`);
    }
    const contextTokens = Math.min(model.contextTokens, facts.contextTokens);
    const adapterBytes = await this.#checkAdapters(model, header);
    if (!this.#resident.has(model.variantId)) {
      const whole = estimateMemory(header, contextTokens, this.#options.sequences, model.path);
      const there = this.#holdsWeights(model) ? weightBytes(header) : 0;
      checkMemory(bytes(Math.max(0, whole - there) + adapterBytes), model.variantId);
    }
    const child = await this.#ready(signal);
    const loaded = await this.#calls.make(child, { kind: 'load', model: { ...model, contextTokens } }, signal);
    if (child === this.#child) this.#resident.set(model.variantId, model);
    return loaded;
  }

  async unload(variant: VariantId): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.#resident.delete(variant)) return;
    try {
      await this.#calls.make(child, { kind: 'unload', variantId: variant });
    } catch (error) {
      // Gone with its process is unloaded, too.
      if (child === this.#child) throw error;
    }
    this.#stopWhenIdle();
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
    detail?: 'tokens',
  ): Promise<ScoreResult> {
    const call = { kind: 'score' as const, variantId: variant, prompt, completion, detail };
    return this.#calls.make(this.#holder(variant), call, signal);
  }

  async embed(variant: VariantId, texts: readonly string[], signal: AbortSignal): Promise<EmbedResult> {
    return this.#calls.make(this.#holder(variant), { kind: 'embed' as const, variantId: variant, texts }, signal);
  }

  setSlabsPerToken(variant: VariantId, slabs: number | undefined): boolean {
    if (this.#options.hosts !== 'slabs' || !this.#resident.has(variant)) return false;
    this.#child?.send({ kind: 'slabs', variantId: variant, slabs: slabs ?? null });
    return true;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTimer();
    const child = this.#child;
    this.#child = undefined;
    this.#calls.lose(closed());
    this.#status.close();
    await child?.stop();
  }

  /** Bytes of a model's adapters. Throws `gguf.unsupported` for what is none of this model. */
  async #checkAdapters({ adapters = [], path }: EngineModel, base: GgufHeader): Promise<number> {
    let all = 0;
    for (const { path: adapterPath } of adapters) {
      const header = await readGguf(adapterPath);
      const fault = loraFault(header, base);
      if (fault !== undefined) {
        throw new FleetError('gguf.unsupported', `${adapterPath} cannot be laid over ${path}: ${fault}`, {
          hint: 'an adapter fits the model that it was trained on, in any quantisation',
        });
      }
      all += weightBytes(header);
    }
    return all;
  }

  /** Whether the weights are in memory already, for another variant. */
  #holdsWeights(model: EngineModel): boolean {
    const key = weightsKey(model);
    return this.#options.hosts !== 'slabs' && [...this.#resident.values()].some((one) => weightsKey(one) === key);
  }

  /** The child that holds a resident variant. */
  #holder(variant: VariantId): LlamaChildProcess {
    if (this.#closed) throw closed();
    if (this.#child !== undefined && this.#resident.has(variant)) return this.#child;
    throw new FleetError('engine.unavailable', `variant ${variant} is not resident`, { retryable: true });
  }

  /** A child that takes calls, started if there is none; waits while the engine restarts. */
  async #ready(signal: AbortSignal): Promise<LlamaChildProcess> {
    for (;;) {
      if (this.#closed) throw closed();
      if (signal.aborted) throw new FleetError('job.cancelled', 'the call was cancelled');
      const status = this.#status.current;
      if (status.state === 'down') {
        throw new FleetError('engine.unavailable', `the engine is down: ${status.reason}`, {
          retryable: true,
          hint: 'it is tried again every 30 s',
        });
      }
      if (status.state === 'ready') {
        const child = (this.#child ??= this.#start());
        await child.started;
        if (child === this.#child) return child;
        continue;
      }
      await this.#status.nextChange(signal);
    }
  }

  #start(): LlamaChildProcess {
    this.#cancelTimer();
    const { threads, sequences, gpu, watchdog, clock } = this.#options;
    const options = { threads, sequences, gpu, heartbeatMs: Math.max(10, Math.floor(watchdog / 4)) };
    const child: LlamaChildProcess = new LlamaChildProcess(this.#options.hosts ?? 'models', options, watchdog, clock, {
      onMessage: (message) => this.#calls.receive(message),
      onEnd: (error) => this.#onEnd(child, error),
    });
    void this.#announce(child);
    return child;
  }

  async #announce(child: LlamaChildProcess): Promise<void> {
    try {
      const version = await child.started;
      this.#options.log.info('engine.started', { version, childPid: child.pid });
    } catch {
      return; // its end tells why
    }
    if (child === this.#child) this.#status.set({ state: 'ready' });
  }

  #onEnd(child: LlamaChildProcess, error: FleetError | undefined): void {
    if (child !== this.#child) return;
    this.#child = undefined;
    this.#resident.clear();
    if (error === undefined) return;
    this.#calls.lose(error);
    const lifetime = elapsed(child.startedAt, this.#options.clock.now());
    // An engine that cannot start will not start in a second either.
    const decision = decideRestart(error.code === 'engine.unavailable' ? Infinity : this.#crashes, lifetime);
    this.#crashes = decision.crashes;
    this.#options.log.warn('engine.lost', { code: error.code, message: error.message, restartMs: decision.delay });
    this.#status.set({ state: decision.state, reason: messageOf(error) });
    this.#cancelTimer();
    this.#cancelTimer = this.#options.clock.after(decision.delay, () => {
      this.#child = this.#start();
    });
  }

  #stopWhenIdle(): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#options.clock.after(IDLE_STOP, () => {
      if (this.#resident.size > 0 || this.#calls.count > 0 || this.#status.current.state !== 'ready') return;
      const child = this.#child;
      this.#child = undefined;
      void child?.stop();
    });
  }
}

function closed(): FleetError {
  return new FleetError('engine.unavailable', 'the engine was closed');
}
