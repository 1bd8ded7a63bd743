import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Sampling } from '@fleetgate/shared/protocol/job';
import { type Bytes, type Milliseconds, bytes, milliseconds } from '@fleetgate/shared/units/quantity';

import { AnswerText } from './answer-text.js';
import type {
  Engine,
  EngineModel,
  EngineState,
  GenerateInput,
  GenerateResult,
  LoadedModel,
  ScoreResult,
} from './engine.js';
import { EngineStatus } from './engine-status.js';
import { pause } from './waiting.js';

export interface ScriptedEngineOptions {
  readonly clock: Clock;
  /** The answer to a prompt, one element per token. Default: the prompt's own words. */
  readonly answer?: (variant: VariantId, prompt: string) => readonly string[];
  readonly loadTime?: Milliseconds;
  readonly prefill?: Milliseconds;
  readonly perToken?: Milliseconds;
  readonly memory?: Bytes;
}

/** Runs at most so many tokens whatever the script says. */
const LONGEST_ANSWER = 131_072;

/**
 * A fake engine for tests: deterministic answers, delays by the given clock, failures on demand. No model is involved.
 */
export class ScriptedEngine implements Engine {
  readonly kind = 'scripted';
  readonly #options: ScriptedEngineOptions;
  readonly #resident = new Map<VariantId, { model: EngineModel; loaded: LoadedModel }>();
  readonly #jobs = new Map<AbortController, VariantId>();
  readonly #status = new EngineStatus();
  #failLoad: FleetError | undefined;
  #failJob: { readonly error: FleetError; readonly afterTokens: number } | undefined;
  #closed = false;

  constructor(options: ScriptedEngineOptions) {
    this.#options = options;
  }

  /** The next load fails with this. */
  failNextLoad(error: FleetError): void {
    this.#failLoad = error;
  }

  /** The next job fails with this once it has sent so many tokens. */
  failNextJob(error: FleetError, afterTokens: number): void {
    this.#failJob = { error, afterTokens };
  }

  /** As if the process died: running jobs fail, nothing is resident, and the state is `restarting` until `recover`. */
  crash(): void {
    const error = new FleetError('engine.crashed', 'the scripted engine crashed', { retryable: true });
    this.#resident.clear();
    for (const job of this.#jobs.keys()) job.abort(error);
    this.#status.set({ state: 'restarting', reason: error.message });
  }

  recover(): void {
    this.#status.set({ state: 'ready' });
  }

  async version(): Promise<string> {
    return 'scripted';
  }

  state(): EngineState {
    return this.#status.current;
  }

  onState(listener: (state: EngineState) => void): () => void {
    return this.#status.onChange(listener);
  }

  async load(model: EngineModel, signal: AbortSignal): Promise<LoadedModel> {
    this.#checkUp();
    const present = this.#resident.get(model.variantId);
    if (present !== undefined) return present.loaded;
    const failure = this.#failLoad;
    this.#failLoad = undefined;
    if (failure !== undefined) throw failure;
    const loadTime = this.#options.loadTime ?? milliseconds(0);
    await this.#wait(loadTime, signal);
    if (signal.aborted) throw new FleetError('job.cancelled', `loading ${model.variantId} was cancelled`);
    const loaded = { memory: this.#options.memory ?? bytes(1_000_000), loadTime };
    this.#resident.set(model.variantId, { model, loaded });
    return loaded;
  }

  async unload(variant: VariantId): Promise<void> {
    this.#resident.delete(variant);
    for (const [job, owner] of this.#jobs) if (owner === variant) job.abort();
  }

  async generate(
    variant: VariantId,
    input: GenerateInput,
    sampling: Sampling,
    onText: (text: string, tokens: number) => void,
    signal: AbortSignal,
  ): Promise<GenerateResult> {
    const model = this.#model(variant);
    const prompt = promptOf(input);
    const promptTokens = words(prompt).length;
    if (promptTokens >= model.contextTokens) {
      throw new FleetError(
        'request.invalid',
        `the prompt has ${promptTokens} tokens, expected less than ${model.contextTokens}`,
      );
    }
    const failure = this.#failJob;
    this.#failJob = undefined;
    const script = this.#options.answer?.(variant, prompt) ?? words(prompt);
    const room = Math.min(sampling.maxTokens, model.contextTokens - promptTokens, LONGEST_ANSWER);
    const answer = new AnswerText([...sampling.stop, ...model.stop], input.kind, onText);
    return this.#asJob(variant, signal, async (job) => {
      const startedAt = this.#options.clock.now();
      await this.#wait(this.#options.prefill ?? milliseconds(0), job);
      const firstAt = this.#options.clock.now();
      let sent = 0;
      for (const token of script) {
        await this.#wait(this.#options.perToken ?? milliseconds(0), job);
        if (job.aborted || answer.stopped || sent >= room) break;
        if (failure !== undefined && sent >= failure.afterTokens) throw failure.error;
        sent++;
        answer.push(token);
      }
      if (job.reason instanceof FleetError) throw job.reason;
      if (!job.aborted) answer.flush();
      const finished = answer.stopped || sent >= script.length;
      return {
        finishReason: job.aborted ? 'cancelled' : finished ? 'stop' : 'length',
        promptTokens,
        outputTokens: sent,
        prefill: milliseconds(firstAt - startedAt),
        decode: milliseconds(this.#options.clock.now() - firstAt),
      };
    });
  }

  /** One bit per byte, whatever the text. */
  async score(variant: VariantId, prompt: string, completion: string): Promise<ScoreResult> {
    this.#model(variant);
    const length = Buffer.byteLength(completion);
    return {
      bits: length,
      bytes: length,
      promptTokens: words(prompt).length,
      scoredTokens: words(completion).length,
      duration: milliseconds(0),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#status.close();
    for (const variant of this.#resident.keys()) await this.unload(variant);
  }

  async #asJob(
    variant: VariantId,
    signal: AbortSignal,
    run: (job: AbortSignal) => Promise<GenerateResult>,
  ): Promise<GenerateResult> {
    const job = new AbortController();
    this.#jobs.set(job, variant);
    try {
      return await run(AbortSignal.any([signal, job.signal]));
    } finally {
      this.#jobs.delete(job);
    }
  }

  #model(variant: VariantId): EngineModel {
    this.#checkUp();
    const resident = this.#resident.get(variant);
    if (resident !== undefined) return resident.model;
    throw new FleetError('engine.unavailable', `variant ${variant} is not resident`, { retryable: true });
  }

  #checkUp(): void {
    if (this.#closed) throw new FleetError('engine.unavailable', 'the engine was closed');
    const status = this.#status.current;
    if (status.state === 'ready') return;
    throw new FleetError('engine.unavailable', `the engine is ${status.state}: ${status.reason}`, { retryable: true });
  }

  /** Lets other work run even when there is nothing to wait for, as a real engine does. */
  async #wait(delay: Milliseconds, signal: AbortSignal): Promise<void> {
    if (delay > 0) await pause(this.#options.clock, delay, signal);
    else await new Promise((resolve) => setImmediate(resolve));
  }
}

function promptOf(input: GenerateInput): string {
  return input.kind === 'complete' ? input.prompt : input.messages.map(({ content }) => content).join('\n');
}

/** Words with the spaces before them: joined, they give the text again. */
function words(text: string): readonly string[] {
  return text.match(/\s*\S+\s*$|\s*\S+/g) ?? [];
}
