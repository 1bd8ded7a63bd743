import type { Llama, LlamaContext, LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { ChatMessage, Sampling } from '@fleetgate/shared/protocol/job';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { guardSpecials, renderChat } from './chat-prompt.js';
import type { EngineModel, GenerateInput, GenerateResult, ScoreResult } from './engine.js';
import { Slots } from './slots.js';
import { StopFilter } from './stop-filter.js';
import { TokenText } from './token-text.js';

/** Prompt tokens evaluated at one go: between two of them a call can be aborted and is seen to get on. */
const PREFILL_CHUNK = 256;

type OnText = (text: string, tokens: number) => void;

/** One resident model with its sequences: tokenises, generates and scores. Lives in the engine's child process. */
export class LlamaModelHost {
  readonly model: EngineModel;
  readonly #llamaModel: LlamaModel;
  readonly #context: LlamaContext;
  readonly #onProgress: () => void;
  readonly #sequences: Slots<LlamaContextSequence>;
  #specials: readonly string[] | undefined;

  private constructor(model: EngineModel, llamaModel: LlamaModel, context: LlamaContext, onProgress: () => void) {
    this.model = model;
    this.#llamaModel = llamaModel;
    this.#context = context;
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
    const { tokens, stop } = this.#promptOf(input);
    this.#checkFits(tokens.length);
    return this.#withSequence(signal, async (sequence) => {
      if (sequence === undefined) return cancelledBeforeStart();
      const stops = new StopFilter([...sampling.stop, ...this.model.stop, ...stop]);
      const text = new AnswerText(this.#llamaModel, tokens, stops, input.kind === 'chat', onText);
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
        text.push(token);
        if (stops.stopped) break;
        if (outputTokens >= room) {
          finishReason = 'length';
          break;
        }
      }
      if (finishReason !== 'cancelled') text.flush();
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
    const { tokens, parts } = this.#promptOf({ kind: 'chat', messages: [{ role: 'user', content: prompt }] });
    const separator = /\s$/.test(parts.at(-1) ?? '') ? '' : ' ';
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

  #promptOf(input: GenerateInput): {
    readonly tokens: Token[];
    readonly stop: readonly string[];
    readonly parts: readonly string[];
  } {
    const { parts, stop } =
      input.kind === 'complete' ? { parts: [input.prompt], stop: [] } : this.#chatParts(input.messages);
    const tokens = parts.flatMap((part) => this.#llamaModel.tokenize(part, true));
    const { bos, shouldPrependBosToken } = this.#llamaModel.tokens;
    if (shouldPrependBosToken && bos !== null && tokens[0] !== bos) tokens.unshift(bos);
    if (tokens.length === 0)
      throw new FleetError('request.invalid', 'the prompt is empty, expected at least one token');
    return { tokens, stop, parts };
  }

  #chatParts(messages: readonly ChatMessage[]): { parts: readonly string[]; stop: readonly string[] } {
    const { bosString, eosString } = this.#llamaModel.tokens;
    const template: unknown = this.#llamaModel.fileInfo.metadata.tokenizer.chat_template;
    const format = {
      template: typeof template === 'string' ? template : undefined,
      bosText: bosString ?? '',
      eosText: eosString ?? '',
    };
    this.#specials ??= this.#specialTexts();
    return guardSpecials(messages, this.#specials, (guarded) => renderChat(format, guarded));
  }

  #specialTexts(): readonly string[] {
    const texts: string[] = [];
    for (const token of this.#llamaModel.iterateAllTokens()) {
      if (this.#llamaModel.isSpecialToken(token)) texts.push(this.#llamaModel.detokenize([token], true));
    }
    return texts;
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

/** Sends an answer's text on: whole characters, no stop string, and for a chat without the space that templates leave. */
class AnswerText {
  readonly #text: TokenText<Token>;
  readonly #stops: StopFilter;
  readonly #onText: OnText;
  #trimming: boolean;
  #tokens = 0;

  constructor(model: LlamaModel, prompt: readonly Token[], stops: StopFilter, trimming: boolean, onText: OnText) {
    this.#text = new TokenText((tokens, before) => model.detokenize(tokens, false, before), prompt);
    this.#stops = stops;
    this.#trimming = trimming;
    this.#onText = onText;
  }

  push(token: Token): void {
    this.#tokens++;
    this.#send(this.#stops.push(this.#text.push(token)));
  }

  flush(): void {
    this.#send(this.#stops.push(this.#text.flush()));
    this.#send(this.#stops.flush());
  }

  #send(piece: string): void {
    const text = this.#trimming && piece.startsWith(' ') ? piece.slice(1) : piece;
    if (piece !== '') this.#trimming = false;
    if (text === '') return;
    this.#onText(text, this.#tokens);
    this.#tokens = 0;
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

function cancelled(what: string): FleetError {
  return new FleetError('job.cancelled', `${what} was cancelled`);
}

/** The FleetError that a failed load of a model means. `detail` is what the runtime logged. */
export function loadError(model: EngineModel, error: unknown, detail: string, signal: AbortSignal): FleetError {
  if (signal.aborted) return cancelled(`loading ${model.variantId}`);
  const name = error instanceof Error ? error.constructor.name : '';
  const said = [messageOf(error), detail].filter((text) => text !== '').join('; ');
  if (name === 'InsufficientMemoryError' || /context|alloc|memory/i.test(messageOf(error))) {
    return new FleetError('engine.out-of-memory', `${model.variantId} does not fit in memory: ${said}`, {
      cause: error,
      hint: 'unload another variant, or use a smaller one or a shorter context',
    });
  }
  return new FleetError('gguf.unsupported', `${model.path}: llama.cpp cannot load it: ${said}`, {
    cause: error,
    hint: 'the file may need a newer llama.cpp, or it is damaged: compare its sha256',
  });
}
