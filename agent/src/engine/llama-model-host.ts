import type { LlamaContext, LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp';

import type { Sampling } from '@fleetgate/shared/protocol/job';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { AnswerText } from './answer-text.js';
import type {
  EmbedResult,
  EngineModel,
  GenerateExtras,
  GenerateInput,
  GenerateResult,
  MixOptions,
  MixResult,
  MixStep,
  ScoreResult,
} from './engine.js';
import { LlamaEmbeddings } from './llama-embeddings.js';
import { cancelled, checkFits } from './llama-failure.js';
import { checkTopLogProbs, openGrammar } from './llama-grammar.js';
import type { LlamaModels, SharedModel } from './llama-models.js';
import { LlamaPrompts } from './llama-prompts.js';
import { LlamaSequences } from './llama-sequences.js';
import { checkDetail, scoredDocument, toldOfAnswer } from './llama-score.js';
import { CHUNK, documentBits, nextTokens, sum } from './llama-token-bits.js';
import { mixAnswer, MixText } from './mix-answer.js';
import { type ModelHost, nothingAnswered } from './model-host.js';
import { TokenText } from './token-text.js';

type OnText = (text: string, tokens: number) => void;

/** One resident model with its sequences: tokenises, generates and scores. Lives in the engine's child process. */
export class LlamaModelHost implements ModelHost {
  readonly model: EngineModel;
  readonly #shared: SharedModel;
  readonly #llamaModel: LlamaModel;
  readonly #context: LlamaContext;
  readonly #prompts: LlamaPrompts;
  readonly #onProgress: () => void;
  readonly #embeddings: LlamaEmbeddings;
  readonly #sequences: LlamaSequences;

  private constructor(
    model: EngineModel,
    { shared, context, threads }: { shared: SharedModel; context: LlamaContext; threads: number },
    onProgress: () => void,
  ) {
    const { llamaModel } = shared;
    this.model = model;
    this.#shared = shared;
    this.#embeddings = new LlamaEmbeddings(llamaModel, model, threads);
    this.#llamaModel = llamaModel;
    this.#context = context;
    this.#prompts = new LlamaPrompts(llamaModel);
    this.#onProgress = onProgress;
    this.#sequences = new LlamaSequences(context);
  }

  /** `onProgress` is called with every step of the load, and later with every step of a call. */
  static async load(
    models: LlamaModels,
    model: EngineModel,
    { threads, sequences }: { readonly threads: number; readonly sequences: number },
    onProgress: () => void,
    signal: AbortSignal,
  ): Promise<LlamaModelHost> {
    const shared = await models.acquire(model, onProgress, signal);
    try {
      const adapters = model.adapters?.map(({ path: filePath, scale }) => ({ filePath, scale })) ?? [];
      const context = await shared.llamaModel.createContext({
        sequences,
        contextSize: model.contextTokens,
        threads,
        ...(adapters.length === 0 ? {} : { lora: { adapters } }),
        createSignal: signal,
      });
      onProgress();
      return new LlamaModelHost(model, { shared, context, threads }, onProgress);
    } catch (error) {
      await shared.release();
      throw error;
    }
  }

  /** What the runtime itself accounts for, bytes: KV cache, compute buffers, and weights where this model brought them. */
  get accountedBytes(): number {
    return (this.#shared.isShared ? 0 : this.#llamaModel.memoryUsage.ram) + this.#context.memoryUsage.ram;
  }

  async dispose(): Promise<void> {
    await this.#embeddings.dispose();
    await this.#context.dispose();
    await this.#shared.release();
  }

  async generate(
    input: GenerateInput,
    sampling: Sampling,
    seed: number,
    onText: OnText,
    signal: AbortSignal,
    extras: GenerateExtras = {},
  ): Promise<GenerateResult> {
    const { tokens, stop } = this.#prompts.tokensOf(input);
    checkFits(this.model, tokens.length);
    checkTopLogProbs(extras.topLogProbs);
    const grammar = extras.grammar === undefined ? undefined : await openGrammar(this.#llamaModel, extras.grammar);
    return this.#sequences.using(tokens, signal, async (sequence, reusedTokens) => {
      if (sequence === undefined) return nothingAnswered();
      const answer = new AnswerText([...sampling.stop, ...this.model.stop, ...stop], input.kind, onText);
      const text = this.#textAfter(tokens);
      const startedAt = performance.now();
      const last = Math.max(reusedTokens, tokens.length - CHUNK);
      if (!(await this.#prefill(sequence, tokens.slice(reusedTokens, last), signal))) return nothingAnswered();
      const room = Math.min(sampling.maxTokens, this.model.contextTokens - tokens.length);
      let firstAt: number | undefined;
      const output: Token[] = [];
      let finishReason: GenerateResult['finishReason'] = 'stop';
      const { temperature, topP } = sampling;
      const options = {
        ...{ temperature, topP, topK: 0, minP: 0, seed },
        ...(grammar === undefined ? {} : { grammarEvaluationState: grammar }),
      };
      for await (const token of sequence.evaluate(tokens.slice(last), options)) {
        firstAt ??= performance.now();
        this.#onProgress();
        if (signal.aborted) {
          finishReason = 'cancelled';
          break;
        }
        output.push(token);
        answer.push(text.push(token));
        if (answer.stopped) break;
        if (output.length >= room) {
          finishReason = 'length';
          break;
        }
      }
      if (finishReason !== 'cancelled') answer.flush(text.flush());
      const textOf = (token: Token): string => this.#llamaModel.detokenize([token], false);
      const told = await toldOfAnswer(sequence, { prompt: tokens, output }, extras, textOf, this.#onProgress, signal);
      const endedAt = performance.now();
      return {
        finishReason,
        promptTokens: tokens.length,
        ...(reusedTokens === 0 ? {} : { reusedTokens }),
        outputTokens: output.length,
        prefill: milliseconds((firstAt ?? endedAt) - startedAt),
        decode: milliseconds(endedAt - (firstAt ?? endedAt)),
        ...told,
      };
    });
  }

  /** Answers token by token with those that `choose` picks; it resolves with undefined when it was aborted. */
  async mix(
    { input, topK, maxTokens, stop }: MixOptions,
    choose: (step: MixStep) => Promise<number | undefined>,
    signal: AbortSignal,
  ): Promise<MixResult> {
    const prompt = this.#prompts.tokensOf(input);
    const { tokens } = prompt;
    checkFits(this.model, tokens.length);
    return this.#sequences.using([], signal, async (sequence) => {
      const startedAt = performance.now();
      const bits = sequence && (await this.#bitsOf(sequence, tokens, 0, signal));
      if (sequence === undefined || bits === undefined) return { ...nothingAnswered(), text: '' };
      return mixAnswer({
        nextOf: (token) => nextTokens(sequence, token, topK),
        endsAnswer: (token) => this.#llamaModel.isEogToken(token),
        prompt: { tokens, bits: sum(bits), startedAt },
        room: Math.min(maxTokens, this.model.contextTokens - tokens.length),
        answer: new MixText([...stop, ...this.model.stop, ...prompt.stop], input.kind, this.#textAfter(tokens)),
        tokenOf: (id) => this.#prompts.tokenOf(id),
        onProgress: this.#onProgress,
        choose,
      });
    });
  }

  /**
   * Bits of the completion and its closing end token after the chat prompt, by exact log-probabilities (softmax over
   * the whole vocabulary). The document is cut to the context; a part that is cut off is not scored.
   */
  async score(prompt: string, completion: string, signal: AbortSignal, detail?: 'tokens'): Promise<ScoreResult> {
    const text = { prompt, completion };
    const document = scoredDocument(this.#llamaModel, this.#prompts, this.model.contextTokens, text);
    const { tokens, promptTokens, bytes } = document;
    const scoredTokens = tokens.length - promptTokens;
    if (scoredTokens < 1) checkFits(this.model, promptTokens);
    if (detail !== undefined) checkDetail(scoredTokens);
    return this.#sequences.using([], signal, async (sequence) => {
      const startedAt = performance.now();
      const first = detail === undefined ? promptTokens - 1 : 0;
      const bits = sequence && (await this.#bitsOf(sequence, tokens, first, signal));
      if (bits === undefined) throw cancelled('scoring');
      const scored = bits.slice(promptTokens - 1 - first);
      return {
        bits: sum(scored),
        bytes,
        promptTokens,
        scoredTokens,
        duration: milliseconds(performance.now() - startedAt),
        ...(detail === undefined ? {} : { promptBits: sum(bits.slice(0, promptTokens - 1)), tokenBits: scored }),
      };
    });
  }

  embed(texts: readonly string[], signal: AbortSignal): Promise<EmbedResult> {
    return this.#embeddings.embed(this.#prompts, texts, this.#onProgress, signal);
  }

  #bitsOf(sequence: LlamaContextSequence, document: readonly Token[], first: number, signal: AbortSignal) {
    return documentBits(sequence, document, { from: 0, first }, this.#onProgress, signal);
  }

  #textAfter(tokens: readonly Token[]): TokenText<Token> {
    return new TokenText<Token>((some, before) => this.#llamaModel.detokenize(some, false, before), tokens);
  }

  /** False when it was aborted on the way. */
  async #prefill(sequence: LlamaContextSequence, tokens: readonly Token[], signal: AbortSignal): Promise<boolean> {
    for (let from = 0; from < tokens.length; from += CHUNK) {
      if (signal.aborted) return false;
      await sequence.evaluateWithoutGeneratingNewTokens(tokens.slice(from, from + CHUNK));
      this.#onProgress();
    }
    return !signal.aborted;
  }
}
