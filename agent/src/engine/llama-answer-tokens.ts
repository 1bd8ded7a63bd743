import type { LlamaContextSequence, LlamaGrammarEvaluationState, LlamaModel, Token } from 'node-llama-cpp';

import { FleetError } from '@fleetgate/shared/errors';
import type { Sampling, TokenChoice } from '@fleetgate/shared/protocol/job';
import { SeededRandom } from '@fleetgate/shared/random';

import { type Continuation, isSeeded } from './begun-answer.js';
import { drawFromLikely, type LikelyTokens } from './draw-from-likely.js';
import type { GenerateExtras, GenerateResult } from './engine.js';
import { sum } from './llama-token-bits.js';

/** Likeliest tokens that a draw looks at first: all others together are seldom drawn from. */
const LOOKED_AT = 512;

export interface AnswerToken {
  readonly token: Token;
  /** Where the likeliest tokens were asked for, and there is no grammar. */
  readonly choice?: TokenChoice;
}

export interface AnswerWishes {
  readonly sampling: Sampling;
  readonly seed: number;
  readonly grammar: LlamaGrammarEvaluationState | undefined;
  readonly topLogProbs: number | undefined;
}

interface Wishes extends AnswerWishes {
  /** Tokens that were drawn before by the same seed: their draws are made again, whatever comes of them. */
  readonly redrawn: readonly Token[];
  readonly onProgress: () => void;
  readonly signal: AbortSignal;
}

/** Whether what the model held of each token is known with the token itself. */
export function tellsAlong({ topLogProbs, grammar }: Pick<AnswerWishes, 'topLogProbs' | 'grammar'>): boolean {
  return topLogProbs !== undefined && grammar === undefined;
}

/**
 * What of a begun answer is evaluated before its first token is drawn, and what is drawn again. With a seed of the client's,
 * draws go on where they were: the runtime's only by making all of them again, from the prompt on.
 */
export function drawsOf(
  begun: Continuation<Token>,
  wishes: AnswerWishes,
): { readonly evaluated: Continuation<Token>; readonly redrawn: readonly Token[] } {
  if (!begun.isExact || !isSeeded(wishes.sampling)) return { evaluated: begun, redrawn: [] };
  return { evaluated: tellsAlong(wishes) ? begun : { ...begun, tokens: [] }, redrawn: begun.tokens };
}

/** What was asked for, of tokens that were told along; `untold`: those with no text. */
export function toldAlong(
  choices: readonly TokenChoice[],
  untold: readonly TokenChoice[],
  { confidence, choicesWithText }: GenerateExtras,
): Pick<GenerateResult, 'meanLogProb' | 'choices'> {
  const total = sum(choices.map(({ logProb }) => logProb));
  return {
    ...(confidence !== true || choices.length === 0 ? {} : { meanLogProb: total / choices.length }),
    choices: choicesWithText === true ? untold : choices,
  };
}

/** The tokens of an answer after `last`, which is evaluated first; ends before an end token. */
export function answerTokens(
  model: LlamaModel,
  sequence: LlamaContextSequence,
  last: readonly Token[],
  wishes: Wishes,
): AsyncGenerator<AnswerToken, void, undefined> {
  const { topLogProbs } = wishes;
  return topLogProbs !== undefined && tellsAlong(wishes)
    ? toldTokens(model, sequence, last, { ...wishes, topLogProbs })
    : sampledTokens(model, sequence, last, wishes);
}

/** As the runtime draws them: what comes of a draw that is made again is replaced by what was told. */
async function* sampledTokens(
  model: LlamaModel,
  sequence: LlamaContextSequence,
  last: readonly Token[],
  { sampling, seed, grammar, redrawn, onProgress, signal }: Wishes,
): AsyncGenerator<AnswerToken, void, undefined> {
  const steps = sequence.evaluate([...last], {
    ...{ temperature: sampling.temperature, topP: sampling.topP, topK: 0, minP: 0, seed },
    ...(grammar === undefined ? {} : { grammarEvaluationState: grammar }),
    // A draw that is made again may come out as an end: it is replaced as well.
    yieldEogToken: true,
  });
  try {
    let step = await steps.next();
    for (const token of redrawn) {
      if (signal.aborted) break;
      onProgress();
      step = await steps.next(token);
    }
    for (; step.done !== true && !model.isEogToken(step.value); step = await steps.next()) {
      yield { token: step.value };
    }
  } finally {
    await steps.return();
  }
}

/** Each drawn by a seed of its own, with what the model held of it, by the same evaluation. */
async function* toldTokens(
  model: LlamaModel,
  sequence: LlamaContextSequence,
  last: readonly Token[],
  { sampling, seed, topLogProbs, redrawn }: Wishes & { readonly topLogProbs: number },
): AsyncGenerator<AnswerToken, void, undefined> {
  const random = new SeededRandom(seed);
  for (let at = 0; at < redrawn.length; at++) random.uniform();
  const size = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
  const count = Math.max(1, topLogProbs, sampling.temperature === 0 ? 0 : LOOKED_AT);
  for (let next = last; ;) {
    const likely = await likelyAfter(sequence, next, count, size);
    let all: LikelyTokens<Token> | undefined;
    const again = async (): Promise<LikelyTokens<Token>> => {
      const end = sequence.nextTokenIndex;
      await sequence.eraseContextTokenRanges([{ start: end - 1, end }]);
      return (all = await likelyAfter(sequence, next.slice(-1), 'all', size));
    };
    const ofStep = new SeededRandom(Math.floor(random.uniform() * 2 ** 32));
    const token = await drawFromLikely(likely, sampling, ofStep, again);
    if (token === undefined || model.isEogToken(token)) return;
    yield { token, choice: choiceOf(model, all ?? likely, token, topLogProbs) };
    next = [token];
  }
}

async function likelyAfter(
  sequence: LlamaContextSequence,
  tokens: readonly Token[],
  count: number | 'all',
  vocabulary: number,
): Promise<LikelyTokens<Token>> {
  const logits = count === 'all' ? true : { filter: { tokens: [], includeTop: count } };
  const steps = await sequence.controlledEvaluate(
    tokens.map((token, at) =>
      at < tokens.length - 1 ? token : [token, { generateNext: { logits, totalLogitWeight: true } }],
    ),
  );
  const { logits: told, totalLogitWeight: total } = steps[tokens.length - 1]?.next ?? {};
  if (told === undefined || told.size === 0 || total === undefined) {
    throw new FleetError('internal.invariant', 'no logits of the next token came back');
  }
  // Sorted by the runtime; of equals the first token is greedily taken, as its own sampler does.
  const ranked = Array.from(told, ([token, logit]) => ({ token, logit }));
  const likely = ranked.toSorted((a, b) => b.logit - a.logit || a.token - b.token);
  return { tokens: likely, total, others: Math.max(0, vocabulary - likely.length) };
}

function choiceOf(
  model: LlamaModel,
  { tokens, total }: LikelyTokens<Token>,
  chosen: Token,
  topLogProbs: number,
): TokenChoice {
  const most = (tokens[0]?.logit ?? 0) + Math.log(total);
  const told = (token: Token, logit: number) => ({
    text: model.detokenize([token], false),
    // Both are of single precision: rounding must not give a probability above 1.
    logProb: Math.min(0, logit - most),
  });
  const logit = tokens.find(({ token }) => token === chosen)?.logit ?? -Infinity;
  const top = tokens.slice(0, topLogProbs).map(({ token, logit: value }) => told(token, value));
  return { ...told(chosen, logit), top };
}
