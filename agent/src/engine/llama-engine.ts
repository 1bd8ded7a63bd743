import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { estimateMemory, modelFacts } from '@fleetgate/shared/gguf/facts';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Sampling } from '@fleetgate/shared/protocol/job';
import { type Random, systemRandom } from '@fleetgate/shared/random';
import { type Bytes, type Milliseconds, elapsed, milliseconds } from '@fleetgate/shared/units/quantity';

import { type Call, type CallKind, type Calls, type FromChild, fromPlainError } from './child-message.js';
import type {
  Engine,
  EngineModel,
  EngineState,
  GenerateInput,
  GenerateResult,
  LoadedModel,
  ScoreResult,
} from './engine.js';
import { LlamaChildProcess } from './llama-child-process.js';
import { decideRestart } from './restart-policy.js';

export interface LlamaEngineOptions {
  /** Threads of all evaluations together. More than there are idle cores makes it slower by orders of magnitude. */
  readonly threads: number;
  /** Jobs that one variant runs at once; each adds a KV cache. */
  readonly sequences: number;
  readonly gpu: 'off' | 'auto';
  /** Without a sign of life for this long the child counts as hung. */
  readonly watchdog: Milliseconds;
  readonly log: Logger;
  readonly clock: Clock;
  /** Seeds of jobs that bring none. Default: the system's. */
  readonly random?: Random;
}

type OnText = (text: string, tokens: number) => void;

interface Pending {
  readonly resolve: (result: Calls[CallKind]['answers']) => void;
  readonly reject: (error: FleetError) => void;
  readonly onText: OnText | undefined;
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
  readonly #pending = new Map<number, Pending>();
  readonly #resident = new Set<VariantId>();
  readonly #listeners = new Set<(state: EngineState) => void>();
  #state: EngineState = { state: 'ready' };
  #child: LlamaChildProcess | undefined;
  #crashes = 0;
  #lastId = 0;
  #closed = false;
  #cancelTimer: () => void = () => {};
  /** Calls that wait for the state to become ready or down. */
  readonly #waiting = new Set<() => void>();

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
    return this.#state;
  }

  onState(listener: (state: EngineState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async load(model: EngineModel, signal: AbortSignal): Promise<LoadedModel> {
    const header = await readGguf(model.path);
    const facts = modelFacts(header, model.path);
    if (!Number.isInteger(model.contextTokens) || model.contextTokens < 1) {
      throw new FleetError('internal.invariant', `context of ${model.contextTokens} tokens asked for`);
    }
    const contextTokens = Math.min(model.contextTokens, facts.contextTokens);
    if (!this.#resident.has(model.variantId)) {
      checkMemory(estimateMemory(header, contextTokens, this.#options.sequences, model.path), model.variantId);
    }
    const child = await this.#ready(signal);
    const loaded = await this.#call<'load'>(child, { kind: 'load', model: { ...model, contextTokens } }, signal);
    if (child === this.#child) this.#resident.add(model.variantId);
    return loaded;
  }

  async unload(variant: VariantId): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.#resident.delete(variant)) return;
    try {
      await this.#call<'unload'>(child, { kind: 'unload', variantId: variant });
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
  ): Promise<GenerateResult> {
    const seed = sampling.seed === undefined ? Math.floor(this.#random.uniform() * 2 ** 32) : sampling.seed >>> 0;
    const call = { kind: 'generate' as const, variantId: variant, input, sampling, seed };
    return this.#call<'generate'>(this.#holder(variant), call, signal, onText);
  }

  async score(variant: VariantId, prompt: string, completion: string, signal: AbortSignal): Promise<ScoreResult> {
    const call = { kind: 'score' as const, variantId: variant, prompt, completion };
    return this.#call<'score'>(this.#holder(variant), call, signal);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTimer();
    const child = this.#child;
    this.#child = undefined;
    this.#loseCalls(closed());
    for (const wake of this.#waiting) wake();
    await child?.stop();
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
      if (this.#state.state === 'down') {
        throw new FleetError('engine.unavailable', `the engine is down: ${this.#state.reason}`, {
          retryable: true,
          hint: 'it is tried again every 30 s',
        });
      }
      if (this.#state.state === 'ready') {
        const child = (this.#child ??= this.#start());
        await child.started;
        if (child === this.#child) return child;
        continue;
      }
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        this.#waiting.add(wake);
        signal.addEventListener('abort', wake);
      });
    }
  }

  #start(): LlamaChildProcess {
    this.#cancelTimer();
    const { threads, sequences, gpu, watchdog, clock } = this.#options;
    const options = { threads, sequences, gpu, heartbeatMs: Math.max(10, Math.floor(watchdog / 4)) };
    const child: LlamaChildProcess = new LlamaChildProcess(options, watchdog, clock, {
      onMessage: (message) => this.#receive(message),
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
    if (child === this.#child) this.#setState({ state: 'ready' });
  }

  #receive(message: FromChild): void {
    if (!('id' in message)) return;
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    switch (message.kind) {
      case 'text':
        pending.onText?.(message.text, message.tokens);
        return;
      case 'done':
        pending.resolve(message.result);
        return;
      case 'failed':
        pending.reject(fromPlainError(message.error));
    }
  }

  #onEnd(child: LlamaChildProcess, error: FleetError | undefined): void {
    if (child !== this.#child) return;
    this.#child = undefined;
    this.#resident.clear();
    if (error === undefined) return;
    this.#loseCalls(error);
    const lifetime = elapsed(child.startedAt, this.#options.clock.now());
    // An engine that cannot start will not start in a second either.
    const decision = decideRestart(error.code === 'engine.unavailable' ? Infinity : this.#crashes, lifetime);
    this.#crashes = decision.crashes;
    this.#options.log.warn('engine.lost', { code: error.code, message: error.message, restartMs: decision.delay });
    this.#setState({ state: decision.state, reason: messageOf(error) });
    this.#cancelTimer = this.#options.clock.after(decision.delay, () => {
      this.#child = this.#start();
    });
  }

  #loseCalls(error: FleetError): void {
    for (const pending of this.#pending.values()) pending.reject(error);
  }

  async #call<K extends CallKind>(
    child: LlamaChildProcess,
    call: { readonly kind: K } & Calls[K]['takes'],
    signal?: AbortSignal,
    onText?: OnText,
  ): Promise<Calls[K]['answers']> {
    const id = ++this.#lastId;
    const cancel = (): void => child.send({ kind: 'cancel', id });
    try {
      return await new Promise<Calls[CallKind]['answers']>((resolve, reject) => {
        this.#pending.set(id, { resolve, reject, onText });
        child.send({ ...call, id } as unknown as Call);
        if (signal?.aborted === true) cancel();
        signal?.addEventListener('abort', cancel, { once: true });
      });
    } finally {
      this.#pending.delete(id);
      signal?.removeEventListener('abort', cancel);
    }
  }

  #stopWhenIdle(): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#options.clock.after(IDLE_STOP, () => {
      if (this.#resident.size > 0 || this.#pending.size > 0 || this.#state.state !== 'ready') return;
      const child = this.#child;
      this.#child = undefined;
      void child?.stop();
    });
  }

  #setState(state: EngineState): void {
    if (state.state === this.#state.state && !('reason' in state)) return;
    this.#state = state;
    for (const wake of this.#waiting) wake();
    for (const listener of this.#listeners) listener(state);
  }
}

/**
 * Refuses a model that the machine (or this process's memory group) cannot hold, before anything is allocated: the
 * system hands out more memory than there is and kills when it is used.
 */
function checkMemory(need: Bytes, variant: VariantId): void {
  const available = process.availableMemory();
  if (need <= available) return;
  throw new FleetError(
    'engine.out-of-memory',
    `${variant} needs an estimated ${need} bytes (weights, KV cache, compute buffers), but ${available} are available`,
    { hint: 'unload another variant, or use a smaller one, a shorter context or fewer sequences' },
  );
}

function closed(): FleetError {
  return new FleetError('engine.unavailable', 'the engine was closed');
}
