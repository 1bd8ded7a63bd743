import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Job, JobUsage, SlabUsage } from '@fleetgate/shared/protocol/job';
import { toMessageError } from '@fleetgate/shared/protocol/version';
import { milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { Engine, GenerateResult, MixStep, OnText } from '../engine/engine.js';
import type { Slots } from '../engine/slots.js';
import { EnergyAccount, type JobEnergy } from './job-energy.js';
import type { QueuedJob } from './job-queue.js';
import { type JobStream, scoredOut } from './job-stream.js';
import { MixTurn } from './mix-turn.js';

/** How long an aborted job may take to stop before it is told to have ended. */
const STOPPING = milliseconds(2000);

export interface JobSurroundings {
  readonly engine: Engine;
  /** Whether the variant is resident and not on its way out. */
  readonly serves: (variantId: VariantId) => boolean;
  readonly energy: JobEnergy;
  /** Mixed answers use the engine one at a time: evaluations side by side would spin against each other. */
  readonly turns: Slots<string>;
  /** How fast the device's storage was measured to read; undefined: not yet. */
  readonly readBytesPerS?: () => number | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface JobListener {
  onTokens(tokens: number): void;
  /** Called once, when its last message was said. */
  onEnd(): void;
}

type TokenCounts = Pick<
  JobUsage,
  'promptTokens' | 'reusedTokens' | 'resumedTokens' | 'outputTokens' | 'prefillMs' | 'decodeMs' | 'slabs'
>;

/** One accepted job, waiting or running: says its messages and ends exactly once, whatever happens. */
export class ActiveJob {
  readonly job: Job;
  readonly #around: JobSurroundings;
  readonly #stream: JobStream;
  readonly #listener: JobListener;
  readonly #arrivedAt: UnixMs;
  readonly #abort = new AbortController();
  readonly #energy: EnergyAccount;
  readonly #turn: MixTurn;
  /** Why it was told to stop; decides how it ends. */
  #stopped: 'cancelled' | 'expired' | 'shutdown' | undefined;
  #startedAt: UnixMs | undefined;
  #held: string | undefined;
  #cancelTimer: () => void;

  /** Its time runs from now on. */
  constructor({ job, arrivedAt }: QueuedJob, stream: JobStream, around: JobSurroundings, listener: JobListener) {
    this.job = job;
    this.#around = around;
    this.#stream = stream;
    this.#listener = listener;
    this.#arrivedAt = arrivedAt;
    this.#energy = new EnergyAccount(around.energy, job.jobId);
    this.#turn = new MixTurn(around.clock);
    this.#cancelTimer = around.clock.after(milliseconds(job.timeoutMs), () => this.stop('expired'));
  }

  /** Runs it on the engine. Never rejects. */
  async run(): Promise<void> {
    const { clock, serves } = this.#around;
    const { variantId } = this.job;
    this.#startedAt = clock.now();
    if (!serves(variantId)) {
      this.#end({ error: unloaded(variantId) });
      return;
    }
    if (this.job.kind !== 'mix') this.#energy.start();
    try {
      await this.#work(this.job);
    } catch (error) {
      this.#end({ error });
    } finally {
      this.#turn.end();
      this.#energy.pause();
    }
  }

  /** Goes on with a mixed answer whose step waits for its token; any other step is ignored. */
  proceed(step: number, token: number): void {
    if (this.#turn.take(step, token)) this.#listener.onTokens(1);
  }

  /** Ends it before its time: at once while it waits, else with the usage that the engine tells soon. */
  stop(why: 'cancelled' | 'expired' | 'shutdown'): void {
    if (this.#stopped !== undefined || this.#stream.hasEnded) return;
    this.#stopped = why;
    if (this.#startedAt === undefined) {
      this.#end({});
      return;
    }
    this.#abort.abort();
    // A hung engine must not keep the caller waiting.
    this.#cancelTimer();
    this.#cancelTimer = this.#around.clock.after(STOPPING, () => this.#end({}));
  }

  #work(job: Job): Promise<void> {
    switch (job.kind) {
      case 'score':
        return this.#score(job);
      case 'embed':
        return this.#embed(job);
      case 'mix':
        return this.#mix(job);
      case 'chat':
      case 'complete':
        return this.#generate(job);
    }
  }

  async #score({ variantId, prompt, completion, detail, slabMask }: Job & { readonly kind: 'score' }): Promise<void> {
    const { engine } = this.#around;
    const wanted = { detail: detail === true ? ('tokens' as const) : undefined, slabMask };
    const result = await engine.score(variantId, prompt, completion, this.#abort.signal, wanted);
    const { bits, bytes, promptBits, tokenBits, promptTokens, scoredTokens, duration } = result;
    const usage = this.#usage({ promptTokens, outputTokens: scoredTokens, prefillMs: duration, decodeMs: 0 });
    if (this.#stopped !== undefined) this.#end({ usage });
    else this.#finish(() => this.#stream.end(scoredOut({ bits, bytes, usage }, promptBits, tokenBits)));
  }

  async #embed({ variantId, texts }: Job & { readonly kind: 'embed' }): Promise<void> {
    const result = await this.#around.engine.embed(variantId, texts, this.#abort.signal);
    const { vectors, promptTokens, duration } = result;
    const usage = this.#usage({ promptTokens, outputTokens: 0, prefillMs: duration, decodeMs: 0 });
    if (this.#stopped !== undefined) {
      this.#end({ usage });
      return;
    }
    this.#stream.vectors(vectors);
    this.#finish(() => this.#stream.end({ kind: 'embedded', usage }));
  }

  async #mix({ variantId, input, topK, maxTokens, stop }: Job & { readonly kind: 'mix' }): Promise<void> {
    const options = { input, topK, maxTokens, stop };
    try {
      await this.#takeEngine();
      const choose = (step: MixStep) => this.#choose(step);
      const result = await this.#around.engine.mix(variantId, options, choose, this.#abort.signal);
      if (result.text !== '') this.#stream.text(result.text, 1);
      this.#endDone(result);
    } catch (error) {
      this.#end({ error, usage: this.#usage(this.#counted()) });
    } finally {
      this.#giveEngine();
    }
  }

  /** Waiting for the controller is no use of the engine. */
  async #choose(step: MixStep): Promise<number> {
    this.#giveEngine();
    this.#stream.next(step);
    const token = await this.#turn.wait(step.step);
    await this.#takeEngine();
    return token;
  }

  /** Without it when the job is stopped meanwhile: the engine sees that by itself. */
  async #takeEngine(): Promise<void> {
    this.#held = await this.#around.turns.acquire(this.#abort.signal);
    if (this.#held !== undefined) this.#energy.start();
  }

  #giveEngine(): void {
    this.#energy.pause();
    if (this.#held !== undefined) this.#around.turns.release(this.#held);
    this.#held = undefined;
  }

  async #generate(job: Job & { readonly kind: 'chat' | 'complete' }): Promise<void> {
    const input =
      job.kind === 'chat'
        ? { kind: 'chat' as const, messages: job.messages }
        : { kind: 'complete' as const, prompt: job.prompt };
    const onText: OnText = (text, tokens, ids, choices) => {
      this.#listener.onTokens(tokens);
      this.#stream.text(text, tokens, ids, choices);
    };
    const { engine } = this.#around;
    const { logProbs, topLogProbs, choicesWithText, grammar, tokenIds, resume } = job;
    const wanted = { confidence: logProbs === true, topLogProbs, choicesWithText, grammar, tokenIds, resume };
    this.#endDone(await engine.generate(job.variantId, input, job.sampling, onText, this.#abort.signal, wanted));
  }

  #endDone({ finishReason, meanLogProb, choices, ...counts }: GenerateResult): void {
    const { promptTokens, reusedTokens, resumedTokens, outputTokens, prefill, decode } = counts;
    const slabs = counts.slabs && slabUsage(counts.slabs, this.#around.readBytesPerS?.());
    const usage = this.#usage({
      promptTokens,
      ...(reusedTokens === undefined ? {} : { reusedTokens }),
      ...(resumedTokens === undefined ? {} : { resumedTokens }),
      outputTokens,
      prefillMs: prefill,
      decodeMs: decode,
      ...(slabs === undefined ? {} : { slabs }),
    });
    if (this.#stopped !== undefined) this.#end({ usage });
    // The engine ended it by itself.
    else if (finishReason === 'cancelled') this.#end({ usage, error: unloaded(this.job.variantId) });
    else {
      if (choices !== undefined) this.#stream.choices(choices);
      const sure = meanLogProb === undefined ? {} : { meanLogProb };
      this.#finish(() => this.#stream.end({ kind: 'done', finishReason, usage, ...sure }));
    }
  }

  /** Ends a job that did not run to its end: as it was stopped, else as the error says. */
  #end({ usage, error }: { readonly usage?: JobUsage; readonly error?: unknown }): void {
    if (this.#stream.hasEnded) return;
    const { jobId, timeoutMs } = this.job;
    if (this.#stopped === 'cancelled') {
      const counted = usage ?? this.#usage(this.#counted());
      this.#finish(() => this.#stream.end({ kind: 'done', finishReason: 'cancelled', usage: counted }));
      return;
    }
    let failure: unknown = error;
    if (this.#stopped === 'expired') {
      failure = new FleetError('job.expired', `not done within ${timeoutMs} ms`, { retryable: false });
    } else if (this.#stopped === 'shutdown') {
      failure = new FleetError('job.cancelled', 'the agent shuts down', { retryable: true });
    }
    const told = toMessageError(failure);
    this.#around.log.warn('job.failed', { jobId, ...told });
    const ending = { kind: 'failed', error: told, ...(usage === undefined ? {} : { usage }) } as const;
    this.#finish(() => this.#stream.end(ending));
  }

  #finish(end: () => void): void {
    this.#cancelTimer();
    end();
    this.#listener.onEnd();
  }

  #counted(): TokenCounts {
    return { promptTokens: 0, outputTokens: this.#stream.outputTokens, prefillMs: 0, decodeMs: 0 };
  }

  #usage(counts: TokenCounts): JobUsage {
    const used = this.#energy.total();
    const startedAt = this.#startedAt ?? this.#around.clock.now();
    const queueMs = Math.max(0, startedAt - this.#arrivedAt);
    return { ...counts, energyJ: Math.max(0, used.energy), energySource: used.source, queueMs };
  }
}

function slabUsage(
  { routed, hits, bytesRead, waitMs }: NonNullable<GenerateResult['slabs']>,
  readBytesPerS: number | undefined,
): SlabUsage | undefined {
  if (routed === 0) return undefined;
  const read = bytesRead === undefined ? {} : { readBytes: bytesRead };
  const isKnown = bytesRead !== undefined && readBytesPerS !== undefined;
  const floor = isKnown ? { floorMs: rounded((1000 * bytesRead) / readBytesPerS) } : {};
  return { hitRatio: rounded(hits / routed), ...read, waitMs: rounded(waitMs), ...floor };
}

const rounded = (value: number): number => Number(value.toPrecision(4));

function unloaded(variantId: VariantId): FleetError {
  return new FleetError('job.rejected', `variant ${variantId} was unloaded`, { retryable: true });
}
