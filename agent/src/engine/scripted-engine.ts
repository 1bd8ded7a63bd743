import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Sampling } from '@fleetgate/shared/protocol/job';
import type { EngineAbility } from '@fleetgate/shared/protocol/twin';
import { type Bytes, type Milliseconds, bytes, milliseconds } from '@fleetgate/shared/units/quantity';

import { AnswerText } from './answer-text.js';
import { continuationOf } from './begun-answer.js';
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
import { cancelled, noMask } from './llama-failure.js';
import { checkTopLogProbs } from './llama-grammar.js';
import {
  choicesOf,
  END_TOKEN,
  offered,
  partOf,
  promptOf,
  type Script,
  scriptedScore,
  scriptedVectors,
  wordOf,
  words,
} from './script.js';
import { ScriptedJobs } from './scripted-jobs.js';
import { orAborted, pause } from './waiting.js';

export interface ScriptedEngineOptions extends Script {
  readonly clock: Clock;
  readonly loadTime?: Milliseconds;
  readonly prefill?: Milliseconds;
  readonly perToken?: Milliseconds;
  readonly memory?: Bytes;
}

/**
 * A fake engine for tests: deterministic answers, delays by the given clock, failures on demand. No model is involved.
 */
export class ScriptedEngine implements Engine {
  readonly kind = 'scripted';
  readonly abilities: readonly EngineAbility[] = ['log-probs', 'resume', 'embeddings'];
  readonly #options: ScriptedEngineOptions;
  readonly #resident = new Map<VariantId, { model: EngineModel; loaded: LoadedModel }>();
  readonly #jobs = new ScriptedJobs();
  readonly #status = new EngineStatus();
  readonly #slabsPerToken = new Map<VariantId, number | undefined>();
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
    this.#jobs.failAll(error);
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
    this.#jobs.cancel(variant);
  }

  async generate(
    variant: VariantId,
    input: GenerateInput,
    sampling: Sampling,
    onText: OnText,
    signal: AbortSignal,
    extras: GenerateExtras = {},
  ): Promise<GenerateResult> {
    if (extras.grammar !== undefined) {
      throw new FleetError('engine.unavailable', 'a script knows no grammar', { retryable: false });
    }
    const { topLogProbs, choicesWithText, tokenIds: tellIds, resume } = extras;
    checkTopLogProbs(topLogProbs);
    const { model, promptTokens, script, room, failure, sureness } = this.#begin(variant, input, sampling.maxTokens);
    const begun = continuationOf(
      extras,
      (id) => id,
      (text) => words(text).map((_, i) => i + 1),
    );
    const resumed = begun.tokens.length;
    const answer = new AnswerText([...sampling.stop, ...model.stop], input.kind, onText, {
      tellIds,
      isBegun: !begun.isExact,
    });
    if (begun.isExact) {
      answer.replay(
        begun.tokens.map((token) => wordOf(script, token)),
        begun.characters,
      );
    }
    const choices = topLogProbs === undefined ? undefined : choicesOf(script, sureness, topLogProbs);
    return this.#jobs.during(variant, signal, async (job) => {
      const startedAt = this.#options.clock.now();
      await this.#wait(this.#options.prefill ?? milliseconds(0), job);
      const firstAt = this.#options.clock.now();
      let sent = 0;
      for (const [i, token] of script.slice(resumed).entries()) {
        await this.#wait(this.#options.perToken ?? milliseconds(0), job);
        if (job.aborted || answer.stopped || resumed + sent >= room) break;
        if (failure !== undefined && sent >= failure.afterTokens) throw failure.error;
        sent++;
        const likely = choicesWithText === true ? choices?.slice(resumed + i, resumed + i + 1) : [];
        answer.push(token, resumed + i + 1, likely);
      }
      if (job.reason instanceof FleetError) throw job.reason;
      if (!job.aborted) answer.flush();
      const finished = answer.stopped || resumed + sent >= script.length;
      return {
        finishReason: job.aborted ? 'cancelled' : finished ? 'stop' : 'length',
        promptTokens: promptTokens + resumed,
        ...(resume === undefined ? {} : { resumedTokens: resumed }),
        outputTokens: sent,
        prefill: milliseconds(firstAt - startedAt),
        decode: milliseconds(this.#options.clock.now() - firstAt),
        ...(extras.confidence !== true || sent === 0 ? {} : { meanLogProb: Math.log(sureness) }),
        ...(choices === undefined
          ? {}
          : { choices: choicesWithText === true ? answer.untold : choices.slice(resumed, resumed + sent) }),
      };
    });
  }

  /** Step n offers word n of the script, sure as told, and else the end. */
  async mix(
    variant: VariantId,
    { input, topK, maxTokens, stop }: MixOptions,
    choose: (step: MixStep) => Promise<number>,
    signal: AbortSignal,
  ): Promise<MixResult> {
    const { model, promptTokens, script, room, failure, sureness } = this.#begin(variant, input, maxTokens);
    let text = '';
    const answer = new AnswerText([...stop, ...model.stop], input.kind, (piece) => (text += piece));
    const { prefill = milliseconds(0), perToken = milliseconds(0) } = this.#options;
    return this.#jobs.during(variant, signal, async (job) => {
      let sent = 0;
      const ended = (finishReason: GenerateResult['finishReason']): MixResult => {
        if (job.reason instanceof FleetError) throw job.reason;
        if (finishReason !== 'cancelled') answer.flush();
        const decode = milliseconds(perToken * sent);
        return { finishReason, promptTokens, outputTokens: sent, prefill, decode, text };
      };
      for (let step = 0; ; step++) {
        await this.#wait(step === 0 ? prefill : perToken, job);
        if (failure !== undefined && sent >= failure.afterTokens) throw failure.error;
        if (job.aborted) return ended('cancelled');
        const evidence = step === 0 ? { promptBits: Buffer.byteLength(promptOf(input)) } : {};
        const offer = { step, next: offered(step, script.length, sureness, topK), text, ...evidence };
        text = '';
        const token = await orAborted(choose(offer), job);
        if (token === undefined) return ended('cancelled');
        if (token === END_TOKEN) return ended('stop');
        answer.push(wordOf(script, token));
        sent++;
        if (answer.stopped) return ended('stop');
        if (sent >= room) return ended('length');
      }
    });
  }

  /** One bit per byte, whatever the text. */
  async score(
    variant: VariantId,
    prompt: string,
    completion: string,
    _signal: AbortSignal,
    wishes?: ScoreWishes,
  ): Promise<ScoreResult> {
    this.#model(variant);
    if (wishes?.slabMask !== undefined) throw noMask({ variantId: variant });
    return scriptedScore(prompt, completion, wishes?.detail);
  }

  /** Texts of the same letters have the same vector. */
  async embed(variant: VariantId, texts: readonly string[], signal: AbortSignal): Promise<EmbedResult> {
    const { contextTokens } = this.#model(variant);
    if (signal.aborted) throw cancelled('embedding');
    return scriptedVectors(texts, contextTokens);
  }

  /** Of models loaded with a way of serving; it answers the same with any number of slabs. */
  setSlabsPerToken(variant: VariantId, slabs: number | undefined): boolean {
    const resident = this.#resident.get(variant);
    if (resident?.model.serving === undefined) return false;
    this.#slabsPerToken.set(variant, slabs);
    return true;
  }

  /** Active slabs per token, as last told. */
  slabsPerToken(variant: VariantId): number | undefined {
    return this.#slabsPerToken.get(variant);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#status.close();
    for (const variant of this.#resident.keys()) await this.unload(variant);
  }

  /** What a job has to work with. Throws `request.invalid` for a prompt that does not fit. */
  #begin(variant: VariantId, input: GenerateInput, maxTokens: number) {
    const model = this.#model(variant);
    const part = partOf(this.#options, model, input, maxTokens);
    const failure = this.#failJob;
    this.#failJob = undefined;
    return { model, failure, ...part };
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
