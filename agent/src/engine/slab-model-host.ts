import { FleetError } from '@fleetgate/shared/errors';
import type { Sampling } from '@fleetgate/shared/protocol/job';
import { SeededRandom } from '@fleetgate/shared/random';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import type { LlamaLibrary } from '../native/llama-library.js';
import type { ResidencyFigures } from '../residency/residency.js';
import { AnswerText } from './answer-text.js';
import { BatchLoop } from './batch-loop.js';
import { checkEmbedded, unitVector } from './embedding.js';
import type {
  EmbedResult,
  EngineModel,
  GenerateExtras,
  GenerateInput,
  GenerateResult,
  Grammar,
  LoadedModel,
  MixOptions,
  MixResult,
  MixStep,
  ScoreResult,
} from './engine.js';
import { cancelled } from './llama-failure.js';
import { checkTopLogProbs, grammarText } from './llama-grammar.js';
import { checkDetail } from './llama-score.js';
import { bitsOf, topTokens } from './logits.js';
import { mixAnswer, MixText } from './mix-answer.js';
import type { ModelHost } from './model-host.js';
import { Prompts } from './prompt-tokens.js';
import { commonBeginning, SequencePool } from './sequence-pool.js';
import type { SlabModel } from './slab-model.js';
import type { SlabVocabulary } from './slab-vocabulary.js';
import { SlabGrammar } from './slab-grammar.js';
import { TokenPicker } from './token-picker.js';
import { TokenText } from './token-text.js';

/** Logits of one evaluation that are kept at once, bytes: a large vocabulary is scored in smaller pieces. */
const MOST_LOGITS_BYTES = 32 * 1024 * 1024;

export interface SlabModelHostParts {
  readonly library: LlamaLibrary;
  readonly model: EngineModel;
  readonly slabModel: SlabModel;
  readonly vocabulary: SlabVocabulary;
  readonly sequences: number;
  readonly residency: LoadedModel['residency'];
  readonly accountedBytes: number;
  readonly onProgress: () => void;
}

interface HostSequence {
  readonly id: number;
  held: number[];
}

/** A model whose slabs the engine looks after: generates, mixes and scores over batched sequences. */
export class SlabModelHost implements ModelHost {
  readonly #parts: SlabModelHostParts;
  readonly #prompts: Prompts<number>;
  readonly #pool: SequencePool<HostSequence>;
  readonly #loop: BatchLoop;
  readonly #logits: Float32Array;
  /** Calls that want states. */
  #embedding = 0;
  #grammarRoom: ReturnType<LlamaLibrary['fixedInts']> | undefined;

  constructor(parts: SlabModelHostParts) {
    this.#parts = parts;
    const { slabModel, vocabulary, sequences, onProgress } = parts;
    this.#prompts = new Prompts(vocabulary);
    this.#pool = new SequencePool(Array.from({ length: sequences }, (_, id): HostSequence => ({ id, held: [] })));
    this.#logits = new Float32Array(slabModel.vocabulary);
    this.#loop = new BatchLoop(
      {
        batchTokens: slabModel.batchTokens,
        mostOutputs: Math.max(1, Math.floor(MOST_LOGITS_BYTES / (4 * slabModel.vocabulary))),
        evaluate: (tokens) => slabModel.evaluate(tokens),
        forget: (sequence, from) => slabModel.forget(sequence, from),
      },
      onProgress,
    );
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
    onText: (text: string, tokens: number) => void,
    signal: AbortSignal,
    extras: GenerateExtras = {},
  ): Promise<GenerateResult> {
    const prompt = this.#prompts.tokensOf(input);
    this.#checkFits(prompt.tokens.length);
    const answer = new AnswerText([...sampling.stop, ...this.model.stop, ...prompt.stop], input.kind, onText);
    checkTopLogProbs(extras.topLogProbs);
    const grammar = extras.grammar === undefined ? undefined : await this.#grammar(extras.grammar);
    try {
      return await this.#withSequence(prompt.tokens, signal, async (sequence) => {
        const picker = new TokenPicker(this.#logits, { sampling, random: new SeededRandom(seed), extras, grammar });
        return this.#answer({ sequence, prompt: prompt.tokens, sampling, answer, picker, signal });
      });
    } finally {
      grammar?.close();
    }
  }

  async #answer(job: {
    readonly sequence: HostSequence;
    readonly prompt: readonly number[];
    readonly sampling: Sampling;
    readonly answer: AnswerText;
    readonly picker: TokenPicker;
    readonly signal: AbortSignal;
  }): Promise<GenerateResult> {
    const { sequence, prompt, sampling, answer, picker, signal } = job;
    const { vocabulary } = this.#parts;
    const before = this.#figures();
    const text = this.#text(prompt);
    const startedAt = performance.now();
    const room = Math.min(sampling.maxTokens, this.model.contextTokens - prompt.length);
    const pick = (): number => picker.pick();
    const reusedTokens = sequence.held.length;
    let token = await this.#next(sequence, prompt.slice(reusedTokens), signal, pick);
    if (token === undefined) return nothing();
    const firstAt = performance.now();
    let outputTokens = 0;
    let finishReason: GenerateResult['finishReason'] = 'stop';
    while (token !== undefined && !vocabulary.endsAnswer(token)) {
      outputTokens++;
      picker.accept(token);
      answer.push(text.push(token));
      if (answer.stopped) break;
      if (outputTokens >= room) {
        finishReason = 'length';
        break;
      }
      token = await this.#next(sequence, [token], signal, pick);
      if (token === undefined) finishReason = 'cancelled';
    }
    if (finishReason !== 'cancelled') answer.flush(text.flush());
    const endedAt = performance.now();
    const slabs = this.#figuresSince(before);
    return {
      finishReason,
      promptTokens: prompt.length,
      outputTokens,
      prefill: milliseconds(firstAt - startedAt),
      decode: milliseconds(endedAt - firstAt),
      ...picker.told(outputTokens, (id) => vocabulary.detokenise([id])),
      ...(reusedTokens === 0 ? {} : { reusedTokens }),
      ...(slabs === undefined ? {} : { slabs }),
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
    this.#checkFits(tokens.length);
    const { vocabulary } = this.#parts;
    return this.#withSequence([], signal, async (sequence) => {
      const startedAt = performance.now();
      const bits = await this.#bits(sequence, tokens, 0, signal);
      if (bits === undefined) return { ...nothing(), text: '' };
      return mixAnswer<number>({
        nextOf: (token) => this.#next(sequence, [token], signal, () => topTokens(this.#logits, topK)),
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

  async score(prompt: string, completion: string, signal: AbortSignal, detail?: 'tokens'): Promise<ScoreResult> {
    const { vocabulary } = this.#parts;
    const messages = [{ role: 'user' as const, content: prompt }];
    const { tokens: before, endsWithSpace } = this.#prompts.tokensOf({ kind: 'chat', messages });
    const text = `${endsWithSpace ? '' : ' '}${completion}`;
    const answer = vocabulary.tokenise(text, 'plain');
    const end = vocabulary.endToken;
    const document = [...before, ...answer, ...(end === undefined ? [] : [end])].slice(0, this.model.contextTokens);
    const scoredTokens = document.length - before.length;
    if (scoredTokens < 1) this.#checkFits(before.length);
    if (detail !== undefined) checkDetail(scoredTokens);
    const isWhole = document.length >= before.length + answer.length;
    const left = isWhole ? text : vocabulary.detokenise(document.slice(before.length)).replace(/\uFFFD$/, '');
    return this.#withSequence([], signal, async (sequence) => {
      const startedAt = performance.now();
      const first = detail === undefined ? before.length - 1 : 0;
      const bits = await this.#bits(sequence, document, first, signal);
      if (bits === undefined) throw cancelled('scoring');
      const scored = bits.slice(before.length - 1 - first);
      return {
        bits: sum(scored),
        bytes: Buffer.byteLength(left),
        promptTokens: before.length,
        scoredTokens,
        duration: since(startedAt),
        ...(detail === undefined ? {} : { promptBits: sum(bits.slice(0, before.length - 1)), tokenBits: scored }),
      };
    });
  }

  async embed(texts: readonly string[], signal: AbortSignal): Promise<EmbedResult> {
    const { slabModel } = this.#parts;
    const startedAt = performance.now();
    const tokens = texts.map((prompt) => this.#prompts.tokensOf({ kind: 'complete', prompt }).tokens);
    for (const [i, text] of tokens.entries()) checkEmbedded(text.length, this.model.contextTokens, i);
    const vectors: (readonly number[])[] = [];
    // What others evaluate in the same go has its state read too, which costs next to nothing.
    this.#embedding++;
    slabModel.keepsStates = true;
    try {
      for (const text of tokens) {
        const vector = await this.#withSequence([], signal, async (sequence) =>
          this.#stateAfter(sequence, text, signal),
        );
        if (vector === undefined) throw cancelled('embedding');
        vectors.push(unitVector(vector));
      }
    } finally {
      this.#embedding--;
      slabModel.keepsStates = this.#embedding > 0;
    }
    const promptTokens = tokens.reduce((all, text) => all + text.length, 0);
    return { vectors, promptTokens, duration: since(startedAt) };
  }

  async #stateAfter(
    sequence: HostSequence,
    tokens: readonly number[],
    signal: AbortSignal,
  ): Promise<Float32Array | undefined> {
    const { slabModel } = this.#parts;
    let state: Float32Array | undefined;
    const outcome = await this.#feed(
      sequence,
      tokens,
      signal,
      (i) => i === tokens.length - 1,
      (_, at) => (state = slabModel.stateAfter(at)),
    );
    return outcome === 'aborted' ? undefined : state;
  }

  /** Evaluates a document but for its last token; bits of each token after index `first`. Undefined when aborted. */
  async #bits(
    sequence: HostSequence,
    document: readonly number[],
    first: number,
    signal: AbortSignal,
  ): Promise<readonly number[] | undefined> {
    const bits: number[] = [];
    const outcome = await this.#feed(
      sequence,
      document.slice(0, -1),
      signal,
      (i) => i >= first,
      (i) => {
        bits[i - first] = bitsOf(this.#logits, document[i + 1] ?? 0);
      },
    );
    return outcome === 'aborted' ? undefined : bits;
  }

  /** Appends tokens; what `read` makes of the logits after the last one. Undefined when aborted. */
  async #next<T>(
    sequence: HostSequence,
    tokens: readonly number[],
    signal: AbortSignal,
    read: () => T,
  ): Promise<T | undefined> {
    let result: T | undefined;
    const outcome = await this.#feed(
      sequence,
      tokens,
      signal,
      (i) => i === tokens.length - 1,
      () => (result = read()),
    );
    return outcome === 'aborted' || signal.aborted ? undefined : result;
  }

  async #feed(
    sequence: HostSequence,
    tokens: readonly number[],
    signal: AbortSignal,
    wants: (i: number) => boolean,
    onLogits: (i: number, at: number) => void,
  ): Promise<'done' | 'aborted'> {
    const from = sequence.held.length;
    const outcome = await this.#loop.feed({
      sequence: sequence.id,
      tokens,
      from,
      wants,
      onOutput: (i, at) => {
        this.#parts.slabModel.logits(at, this.#logits);
        onLogits(i, at);
      },
      signal,
    });
    // An aborted feed may have evaluated some: they are not counted as held, and overwritten.
    if (outcome === 'done') sequence.held.push(...tokens);
    return outcome;
  }

  /** Runs on a sequence that begins as the prompt does, with all of the prompt but a part to evaluate. */
  async #withSequence<T>(
    prompt: readonly number[],
    signal: AbortSignal,
    run: (sequence: HostSequence) => Promise<T>,
  ): Promise<T> {
    const sequence = await this.#pool.acquire(prompt, signal);
    if (sequence === undefined) return run({ id: -1, held: [] });
    try {
      // The last token of the prompt is evaluated again: its logits are wanted.
      const common = Math.min(commonBeginning(sequence.held, prompt), Math.max(0, prompt.length - 1));
      const isPart = this.#parts.slabModel.forget(sequence.id, common);
      if (!isPart) this.#parts.slabModel.forget(sequence.id, 0);
      sequence.held = isPart ? sequence.held.slice(0, common) : [];
      return await run(sequence);
    } finally {
      this.#parts.slabModel.forget(sequence.id, sequence.held.length);
      this.#pool.release(sequence);
    }
  }

  #text(before: readonly number[]): TokenText<number> {
    return new TokenText<number>((tokens) => this.#parts.vocabulary.detokenise(tokens), before);
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

  #figures(): ResidencyFigures | undefined {
    return this.#parts.slabModel.residency?.figures();
  }

  /** With several answers at once each is told what happened meanwhile, also for the others. */
  #figuresSince(before: ResidencyFigures | undefined): ResidencyFigures | undefined {
    const now = this.#figures();
    if (now === undefined || before === undefined) return undefined;
    return {
      routed: now.routed - before.routed,
      hits: now.hits - before.hits,
      waitMs: now.waitMs - before.waitMs,
      ...(now.bytesRead === undefined ? {} : { bytesRead: now.bytesRead - (before.bytesRead ?? 0) }),
    };
  }
}

function since(startedAt: number): Milliseconds {
  return milliseconds(performance.now() - startedAt);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function nothing(): GenerateResult {
  const zero = milliseconds(0);
  return { finishReason: 'cancelled', promptTokens: 0, outputTokens: 0, prefill: zero, decode: zero };
}
