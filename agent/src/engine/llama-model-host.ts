import type { LlamaContext, LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp';

import type { Sampling, TokenChoice } from '@fleetgate/shared/protocol/job';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { AnswerText } from './answer-text.js';
import { continuationOf, endedBefore, piecesToEvaluate, textAfter } from './begun-answer.js';
import type {
  EmbedResult,
  EngineModel,
  GenerateExtras,
  GenerateInput,
  GenerateResult,
  MixOptions,
  MixResult,
  MixStep,
  OnText,
  ScoreResult,
  ScoreWishes,
} from './engine.js';
import { answerTokens, drawsOf, tellsAlong, toldAlong } from './llama-answer-tokens.js';
import { LlamaEmbeddings } from './llama-embeddings.js';
import { cancelled, checkFits, noMask } from './llama-failure.js';
import { checkTopLogProbs, openGrammar } from './llama-grammar.js';
import type { LlamaModels, SharedModel } from './llama-models.js';
import { LlamaPrompts } from './llama-prompts.js';
import { LlamaSequences } from './llama-sequences.js';
import { checkDetail, scoredDocument, toldOfAnswer } from './llama-score.js';
import { CHUNK, documentBits, nextTokens, sum } from './llama-token-bits.js';
import { mixAnswer, MixText } from './mix-answer.js';
import { type ModelHost, nothingAnswered } from './model-host.js';
import { TokenText } from './token-text.js';

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
    const { tokens: prompt, stop } = this.#prompts.tokensOf(input);
    const { tokenIds: tellIds, resume } = extras;
    const begun = continuationOf(
      extras,
      (id) => this.#prompts.tokenOf(id),
      (text) => this.#prompts.plain(text),
    );
    const tokens = [...prompt, ...begun.tokens];
    checkFits(this.model, tokens.length);
    checkTopLogProbs(extras.topLogProbs);
    const grammar = extras.grammar === undefined ? undefined : await openGrammar(this.#llamaModel, extras.grammar);
    const wishes = { sampling, seed, grammar, topLogProbs: extras.topLogProbs };
    const { evaluated, redrawn } = drawsOf(begun, wishes);
    return this.#sequences.using([...prompt, ...evaluated.tokens], signal, async (sequence, reusedTokens) => {
      if (sequence === undefined) return nothingAnswered();
      const stops = [...sampling.stop, ...this.model.stop, ...stop];
      const answer = new AnswerText(stops, input.kind, onText, { tellIds, isBegun: !begun.isExact });
      const text = textAfter(prompt, begun, answer, (before) => this.#textAfter(before));
      const room = Math.min(sampling.maxTokens - begun.tokens.length, this.model.contextTokens - tokens.length);
      const ended = endedBefore(answer, text, room, tokens.length);
      if (ended !== undefined) return { ...ended, resumedTokens: begun.tokens.length };
      const startedAt = performance.now();
      const pieces = piecesToEvaluate(prompt, evaluated, reusedTokens, sampling);
      const last = await this.#prefillAll(sequence, pieces, signal);
      if (last === undefined) return nothingAnswered();
      let firstAt: number | undefined;
      const output: Token[] = [];
      let finishReason: GenerateResult['finishReason'] = 'stop';
      const choices: TokenChoice[] = [];
      const around = { redrawn, onProgress: this.#onProgress, signal };
      for await (const { token, choice } of answerTokens(this.#llamaModel, sequence, last, { ...wishes, ...around })) {
        firstAt ??= performance.now();
        this.#onProgress();
        if (signal.aborted) {
          finishReason = 'cancelled';
          break;
        }
        output.push(token);
        if (choice !== undefined) choices.push(choice);
        answer.push(text.push(token), Number(token), extras.choicesWithText === true ? choices.slice(-1) : []);
        if (answer.stopped) break;
        if (output.length >= room) {
          finishReason = 'length';
          break;
        }
      }
      if (finishReason !== 'cancelled') answer.flush(text.flush());
      const textOf = (token: Token): string => this.#llamaModel.detokenize([token], false);
      const told = tellsAlong(wishes)
        ? toldAlong(choices, answer.untold, extras)
        : await toldOfAnswer(sequence, { prompt: tokens, output }, extras, textOf, this.#onProgress, signal);
      const endedAt = performance.now();
      return {
        finishReason,
        promptTokens: tokens.length,
        ...(reusedTokens === 0 ? {} : { reusedTokens }),
        ...(resume === undefined ? {} : { resumedTokens: begun.tokens.length }),
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
  async score(
    prompt: string,
    completion: string,
    signal: AbortSignal,
    { detail, slabMask }: ScoreWishes = {},
  ): Promise<ScoreResult> {
    if (slabMask !== undefined) throw noMask(this.model);
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

  /** Evaluates all but the end, which is to be followed by an answer. Undefined when it was aborted on the way. */
  async #prefillAll(
    sequence: LlamaContextSequence,
    pieces: readonly (readonly Token[])[],
    signal: AbortSignal,
  ): Promise<readonly Token[] | undefined> {
    let end: readonly Token[] = [];
    for (const piece of pieces) {
      const cut = Math.max(0, piece.length - CHUNK);
      const isDone =
        (await this.#prefill(sequence, end, signal)) && (await this.#prefill(sequence, piece.slice(0, cut), signal));
      if (!isDone) return undefined;
      end = piece.slice(cut);
    }
    return end;
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
