import type { Llama, LlamaContext, LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp';

import { FleetError } from '@fleetgate/shared/errors';
import type { Sampling } from '@fleetgate/shared/protocol/job';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { AnswerText } from './answer-text.js';
import type { EngineModel, GenerateInput, GenerateResult, ScoreResult } from './engine.js';
import { cancelled } from './llama-failure.js';
import { LlamaPrompts } from './llama-prompts.js';
import { Slots } from './slots.js';
import { TokenText } from './token-text.js';

/** Prompt tokens evaluated at one go: between two of them a call can be aborted and is seen to get on. */
const PREFILL_CHUNK = 256;

type OnText = (text: string, tokens: number) => void;

/** One resident model with its sequences: tokenises, generates and scores. Lives in the engine's child process. */
export class LlamaModelHost {
  readonly model: EngineModel;
  readonly #llamaModel: LlamaModel;
  readonly #context: LlamaContext;
  readonly #prompts: LlamaPrompts;
  readonly #onProgress: () => void;
  readonly #sequences: Slots<LlamaContextSequence>;

  private constructor(model: EngineModel, llamaModel: LlamaModel, context: LlamaContext, onProgress: () => void) {
    this.model = model;
    this.#llamaModel = llamaModel;
    this.#context = context;
    this.#prompts = new LlamaPrompts(llamaModel);
    this.#onProgress = onProgress;
    this.#sequences = new Slots(Array.from({ length: context.totalSequences }, () => context.getSequence()));
  }

  /** `onProgress` is called with every step of the load, and later with every step of a call. */
  static async load(
    llama: Llama,
    model: EngineModel,
    { threads, sequences }: { readonly threads: number; readonly sequences: number },
    onProgress: () => void,
    signal: AbortSignal,
  ): Promise<LlamaModelHost> {
    const llamaModel = await llama.loadModel({
      modelPath: model.path,
      ...(llama.gpu === false ? { gpuLayers: 0 } : {}),
      loadSignal: signal,
      onLoadProgress: onProgress,
    });
    try {
      const context = await llamaModel.createContext({
        sequences,
        contextSize: model.contextTokens,
        threads,
        createSignal: signal,
      });
      onProgress();
      return new LlamaModelHost(model, llamaModel, context, onProgress);
    } catch (error) {
      await llamaModel.dispose();
      throw error;
    }
  }

  /** What the runtime itself accounts for: weights, KV cache and compute buffers, bytes. */
  get accountedBytes(): number {
    return this.#llamaModel.memoryUsage.ram + this.#context.memoryUsage.ram;
  }

  async dispose(): Promise<void> {
    await this.#context.dispose();
    await this.#llamaModel.dispose();
  }

  async generate(
    input: GenerateInput,
    sampling: Sampling,
    seed: number,
    onText: OnText,
    signal: AbortSignal,
  ): Promise<GenerateResult> {
    const { tokens, stop } = this.#prompts.tokensOf(input);
    this.#checkFits(tokens.length);
    return this.#withSequence(signal, async (sequence) => {
      if (sequence === undefined) return cancelledBeforeStart();
      const answer = new AnswerText([...sampling.stop, ...this.model.stop, ...stop], input.kind, onText);
      const text = new TokenText<Token>((some, before) => this.#llamaModel.detokenize(some, false, before), tokens);
      const startedAt = performance.now();
      if (!(await this.#prefill(sequence, tokens.slice(0, -1), signal))) return cancelledBeforeStart();
      const room = Math.min(sampling.maxTokens, this.model.contextTokens - tokens.length);
      let firstAt: number | undefined;
      let outputTokens = 0;
      let finishReason: GenerateResult['finishReason'] = 'stop';
      const steps = sequence.evaluate(tokens.slice(-1), {
        temperature: sampling.temperature,
        topP: sampling.topP,
        topK: 0,
        minP: 0,
        seed,
      });
      for await (const token of steps) {
        firstAt ??= performance.now();
        this.#onProgress();
        if (signal.aborted) {
          finishReason = 'cancelled';
          break;
        }
        outputTokens++;
        answer.push(text.push(token));
        if (answer.stopped) break;
        if (outputTokens >= room) {
          finishReason = 'length';
          break;
        }
      }
      if (finishReason !== 'cancelled') answer.flush(text.flush());
      const endedAt = performance.now();
      return {
        finishReason,
        promptTokens: tokens.length,
        outputTokens,
        prefill: milliseconds((firstAt ?? endedAt) - startedAt),
        decode: milliseconds(endedAt - (firstAt ?? endedAt)),
      };
    });
  }

  /**
   * Bits of the completion and its closing end token after the chat prompt, by exact log-probabilities (softmax over
   * the whole vocabulary). The document is cut to the context; a part that is cut off is not scored.
   */
  async score(prompt: string, completion: string, signal: AbortSignal): Promise<ScoreResult> {
    const { tokens, endsWithSpace } = this.#prompts.tokensOf({
      kind: 'chat',
      messages: [{ role: 'user', content: prompt }],
    });
    const separator = endsWithSpace ? '' : ' ';
    const answer = this.#llamaModel.tokenize(separator + completion);
    const { eot, eos } = this.#llamaModel.tokens;
    const end = eot ?? eos;
    const document = [...tokens, ...answer, ...(end === null ? [] : [end])].slice(0, this.model.contextTokens);
    const scoredTokens = document.length - tokens.length;
    if (scoredTokens < 1) this.#checkFits(tokens.length);
    return this.#withSequence(signal, async (sequence) => {
      if (sequence === undefined) throw cancelled('scoring');
      const startedAt = performance.now();
      const first = tokens.length - 1;
      let bits = 0;
      for (let from = 0; from < document.length - 1; from += PREFILL_CHUNK) {
        if (signal.aborted) throw cancelled('scoring');
        const until = Math.min(from + PREFILL_CHUNK, document.length - 1);
        bits += await this.#bitsOf(sequence, document, from, until, first);
        this.#onProgress();
      }
      const whole = scoredTokens >= answer.length;
      const text = whole
        ? separator + completion
        : this.#llamaModel.detokenize(document.slice(tokens.length)).replace(/\uFFFD$/, '');
      return {
        bits,
        bytes: Buffer.byteLength(text),
        promptTokens: tokens.length,
        scoredTokens,
        duration: milliseconds(performance.now() - startedAt),
      };
    });
  }

  /** Evaluates tokens `from` to `until` of the document; bits of the tokens after them, from index `first` on. */
  async #bitsOf(
    sequence: LlamaContextSequence,
    document: readonly Token[],
    from: number,
    until: number,
    first: number,
  ): Promise<number> {
    const steps = await sequence.controlledEvaluate(
      document.slice(from, until).map((token, i) => {
        const next = document[from + i + 1];
        if (from + i < first || next === undefined) return token;
        // `includeMax` does not work together with `tokens`; the top one is the same.
        return [
          token,
          { generateNext: { logits: { filter: { tokens: [next], includeTop: 1 } }, totalLogitWeight: true } },
        ];
      }),
    );
    let bits = 0;
    for (let i = Math.max(from, first); i < until; i++) {
      const { logits, totalLogitWeight } = steps[i - from]?.next ?? {};
      const next = document[i + 1];
      const logit = next === undefined ? undefined : logits?.get(next);
      if (logits === undefined || logit === undefined || totalLogitWeight === undefined) {
        throw new FleetError('internal.invariant', `no logit of token ${i + 1} of ${document.length} came back`);
      }
      bits += (Math.max(...logits.values()) + Math.log(totalLogitWeight) - logit) / Math.LN2;
    }
    return bits;
  }

  /** False when it was aborted on the way. */
  async #prefill(sequence: LlamaContextSequence, tokens: readonly Token[], signal: AbortSignal): Promise<boolean> {
    for (let from = 0; from < tokens.length; from += PREFILL_CHUNK) {
      if (signal.aborted) return false;
      await sequence.evaluateWithoutGeneratingNewTokens(tokens.slice(from, from + PREFILL_CHUNK));
      this.#onProgress();
    }
    return !signal.aborted;
  }

  #checkFits(promptTokens: number): void {
    if (promptTokens < this.model.contextTokens) return;
    throw new FleetError(
      'request.invalid',
      `the prompt has ${promptTokens} tokens, but ${this.model.variantId} holds ${this.model.contextTokens} ` +
        'with its answer',
      { hint: 'shorten the prompt, or ask a model with a longer context' },
    );
  }

  /** Runs on a sequence of its own, waiting for one in turn; with undefined when aborted meanwhile. */
  async #withSequence<T>(
    signal: AbortSignal,
    run: (sequence: LlamaContextSequence | undefined) => Promise<T>,
  ): Promise<T> {
    const sequence = await this.#sequences.acquire(signal);
    if (sequence === undefined) return run(undefined);
    try {
      await sequence.clearHistory();
      return await run(sequence);
    } finally {
      this.#sequences.release(sequence);
    }
  }
}

function cancelledBeforeStart(): GenerateResult {
  return {
    finishReason: 'cancelled',
    promptTokens: 0,
    outputTokens: 0,
    prefill: milliseconds(0),
    decode: milliseconds(0),
  };
}
