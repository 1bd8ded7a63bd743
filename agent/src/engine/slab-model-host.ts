import type { SlabMask } from '@fleetgate/shared/catalogue/slab-mask';
import type { Grammar } from '@fleetgate/shared/protocol/grammar';
import type { Sampling } from '@fleetgate/shared/protocol/job';
import { SeededRandom } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { LlamaLibrary } from '../native/llama-library.js';
import type { KeepSets } from '../slabs/routing.js';
import type { RoutingHeat } from '../slabs/routing-heat.js';
import { AnswerText } from './answer-text.js';
import {
  type Continuation,
  continuationOf,
  endedBefore,
  isSeeded,
  piecesToEvaluate,
  textAfter,
} from './begun-answer.js';
import type {
  EmbedResult,
  EngineModel,
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
import { cancelled, checkFits } from './llama-failure.js';
import { checkTopLogProbs, grammarText } from './llama-grammar.js';
import { checkDetail } from './llama-score.js';
import { topTokens } from './logits.js';
import { mixAnswer, MixText } from './mix-answer.js';
import { type ModelHost, nothingAnswered } from './model-host.js';
import { Prompts } from './prompt-tokens.js';
import type { SlabModel } from './slab-model.js';
import type { SlabVocabulary } from './slab-vocabulary.js';
import { SlabEmbeddings } from './slab-embeddings.js';
import { SlabFigures } from './slab-figures.js';
import { SlabGrammar } from './slab-grammar.js';
import { slabDocument } from './slab-score.js';
import { type SlabSequence, SlabSequences } from './slab-sequences.js';
import type { SlabTasks } from './slab-tasks.js';
import { TokenPicker } from './token-picker.js';
import { TokenText } from './token-text.js';

export interface SlabModelHostParts {
  readonly library: LlamaLibrary;
  readonly model: EngineModel;
  readonly slabModel: SlabModel;
  readonly vocabulary: SlabVocabulary;
  readonly sequences: number;
  readonly residency: LoadedModel['residency'];
  /** Where the model is served by task. */
  readonly tasks: SlabTasks | undefined;
  /** Counted by the model; undefined where nobody looks at its choices. */
  readonly heat: RoutingHeat | undefined;
  /** Throws `gguf.unsupported` for a mask that is none of this model. */
  readonly maskOf: (mask: SlabMask) => KeepSets;
  readonly accountedBytes: number;
  readonly onProgress: () => void;
}

/** A model whose slabs the engine looks after: generates, mixes and scores over batched sequences. */
export class SlabModelHost implements ModelHost {
  readonly #parts: SlabModelHostParts;
  readonly #prompts: Prompts<number>;
  readonly #sequences: SlabSequences;
  readonly #figures: SlabFigures;
  readonly #embeddings: SlabEmbeddings;
  #grammarRoom: ReturnType<LlamaLibrary['fixedInts']> | undefined;

  constructor(parts: SlabModelHostParts) {
    this.#parts = parts;
    const { slabModel, vocabulary, sequences, tasks, onProgress } = parts;
    this.#prompts = new Prompts(vocabulary);
    this.#sequences = new SlabSequences({ model: slabModel, sequences, tasks, onProgress });
    this.#figures = new SlabFigures(() => slabModel.residency);
    this.#embeddings = new SlabEmbeddings(slabModel, this.#sequences, parts.model.contextTokens);
  }

  get model(): EngineModel {
    return this.#parts.model;
  }

  get accountedBytes(): number {
    return this.#parts.accountedBytes;
  }

  get residency(): LoadedModel['residency'] {
    return this.#parts.residency;
  }

  get patterns(): LoadedModel['patterns'] {
    return this.#parts.tasks?.patterns;
  }

  setSlabsPerToken(slabs: number | undefined): void {
    this.#parts.slabModel.slabsPerToken = slabs;
  }

  async dispose(): Promise<void> {
    this.#parts.slabModel.close();
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
    const { tokenIds: tellIds, resume } = extras;
    const begun = continuationOf(
      extras,
      (id) => (id < this.#parts.vocabulary.size ? id : undefined),
      (text) => this.#prompts.plain(text),
    );
    const prompt = [...tokens, ...begun.tokens];
    checkFits(this.model, prompt.length);
    const stops = [...sampling.stop, ...this.model.stop, ...stop];
    const answer = new AnswerText(stops, input.kind, onText, { tellIds, isBegun: !begun.isExact });
    const text = textAfter(tokens, begun, answer, (before) => this.#text(before));
    checkTopLogProbs(extras.topLogProbs);
    const grammar = extras.grammar === undefined ? undefined : await this.#grammar(extras.grammar);
    try {
      return await this.#sequences.using(prompt, signal, async (sequence) => {
        const random = new SeededRandom(seed);
        // A draw a token: those that were told before are behind it.
        if (begun.isExact && isSeeded(sampling)) begun.tokens.forEach(() => random.uniform());
        const picker = new TokenPicker(this.#sequences.logits, {
          sampling,
          random,
          extras,
          grammar,
        });
        const result = await this.#answer({ sequence, prompt, begun, sampling, answer, text, picker, signal });
        return resume === undefined ? result : { ...result, resumedTokens: begun.tokens.length };
      });
    } finally {
      grammar?.close();
    }
  }

  async #answer(job: {
    readonly sequence: SlabSequence;
    /** Ends with what was begun elsewhere. */
    readonly prompt: readonly number[];
    readonly begun: Continuation<number>;
    readonly sampling: Sampling;
    readonly answer: AnswerText;
    readonly text: TokenText<number>;
    readonly picker: TokenPicker;
    readonly signal: AbortSignal;
  }): Promise<GenerateResult> {
    const { sequence, prompt, begun, sampling, answer, text, picker, signal } = job;
    const { vocabulary } = this.#parts;
    const before = this.#figures.total;
    const startedAt = performance.now();
    const room = Math.min(sampling.maxTokens - begun.tokens.length, this.model.contextTokens - prompt.length);
    const ended = endedBefore(answer, text, room, prompt.length);
    if (ended !== undefined) return ended;
    const pick = (): number => picker.pick();
    const textOf = (id: number): string => vocabulary.detokenise([id]);
    const mask = await this.#sequences.takeMask(sequence, prompt, signal);
    const reusedTokens = sequence.held.length;
    const own = prompt.slice(0, prompt.length - begun.tokens.length);
    const pieces = piecesToEvaluate(own, begun, reusedTokens, sampling);
    const read = async (): Promise<number | undefined> => {
      for (const piece of pieces.slice(0, -1)) {
        if ((await this.#sequences.next(sequence, piece, signal, () => 0)) === undefined) return undefined;
      }
      return this.#sequences.next(sequence, pieces.at(-1) ?? [], signal, pick);
    };
    const [first, hint] =
      mask === undefined ? await this.#sequences.observed(sequence, read) : [await read(), undefined];
    if (first === undefined) return nothingAnswered();
    let token: number | undefined = first;
    const pattern = mask ?? hint;
    const firstAt = performance.now();
    let outputTokens = 0;
    let finishReason: GenerateResult['finishReason'] = 'stop';
    while (token !== undefined && !vocabulary.endsAnswer(token)) {
      outputTokens++;
      picker.accept(token);
      answer.push(text.push(token), token, picker.toldWithText(textOf));
      if (answer.stopped) break;
      if (outputTokens >= room) {
        finishReason = 'length';
        break;
      }
      token = await this.#sequences.next(sequence, [token], signal, pick);
      if (token === undefined) finishReason = 'cancelled';
    }
    if (finishReason !== 'cancelled') answer.flush(text.flush());
    const endedAt = performance.now();
    const slabs = this.#figures.since(before);
    const heat = this.#parts.heat?.tell();
    return {
      finishReason,
      promptTokens: prompt.length,
      outputTokens,
      prefill: milliseconds(firstAt - startedAt),
      decode: milliseconds(endedAt - firstAt),
      ...picker.told(outputTokens, textOf, answer.untold),
      ...(reusedTokens === 0 ? {} : { reusedTokens }),
      ...(slabs === undefined ? {} : { slabs }),
      ...(heat === undefined ? {} : { heat }),
      ...(pattern === undefined ? {} : { pattern }),
    };
  }

  async #grammar(grammar: Grammar): Promise<SlabGrammar> {
    const { library, vocabulary } = this.#parts;
    const text = await grammarText(grammar);
    this.#grammarRoom ??= SlabGrammar.room(library, vocabulary);
    return SlabGrammar.open(library, vocabulary, text, this.#grammarRoom);
  }

  async mix(
    { input, topK, maxTokens, stop }: MixOptions,
    choose: (step: MixStep) => Promise<number | undefined>,
    signal: AbortSignal,
  ): Promise<MixResult> {
    const prompt = this.#prompts.tokensOf(input);
    const { tokens } = prompt;
    checkFits(this.model, tokens.length);
    const { vocabulary } = this.#parts;
    return this.#sequences.using([], signal, async (sequence) => {
      const startedAt = performance.now();
      await this.#sequences.takeMask(sequence, tokens, signal);
      const bits = await this.#sequences.bits(sequence, tokens, 0, signal);
      if (bits === undefined) return { ...nothingAnswered(), text: '' };
      return mixAnswer<number>({
        nextOf: (token) =>
          this.#sequences.next(sequence, [token], signal, () => topTokens(this.#sequences.logits, topK)),
        endsAnswer: (token) => vocabulary.endsAnswer(token),
        prompt: { tokens, bits: sum(bits), startedAt },
        room: Math.min(maxTokens, this.model.contextTokens - tokens.length),
        answer: new MixText([...stop, ...this.model.stop, ...prompt.stop], input.kind, this.#text(tokens)),
        tokenOf: (id) => (id < vocabulary.size ? id : undefined),
        onProgress: this.#parts.onProgress,
        choose,
      });
    });
  }

  async score(
    prompt: string,
    completion: string,
    signal: AbortSignal,
    { detail, slabMask }: ScoreWishes = {},
  ): Promise<ScoreResult> {
    const masked = slabMask === undefined ? undefined : this.#parts.maskOf(slabMask);
    const text = { prompt, completion };
    const document = slabDocument(this.#parts.vocabulary, this.#prompts, this.model.contextTokens, text);
    const { tokens, promptTokens, bytes } = document;
    const scoredTokens = tokens.length - promptTokens;
    if (scoredTokens < 1) checkFits(this.model, promptTokens);
    if (detail !== undefined) checkDetail(scoredTokens);
    return this.#sequences.using([], signal, async (sequence) => {
      const startedAt = performance.now();
      if (masked === undefined) await this.#sequences.takeMask(sequence, tokens.slice(0, promptTokens), signal);
      else this.#sequences.compute(sequence, masked);
      const first = detail === undefined ? promptTokens - 1 : 0;
      const bits = await this.#sequences.bits(sequence, tokens, first, signal);
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
    return this.#embeddings.embed(this.#prompts, texts, signal);
  }

  #text(before: readonly number[]): TokenText<number> {
    return new TokenText<number>((tokens) => this.#parts.vocabulary.detokenise(tokens), before);
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
