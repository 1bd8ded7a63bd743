import { FleetError } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';
import type { NextTokens } from '@fleetgate/shared/mixture/next-token';
import type { TokenChoice } from '@fleetgate/shared/protocol/job';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { checkEmbedded, unitVector } from './embedding.js';
import type { EmbedResult, EngineModel, GenerateInput, ScoreResult } from './engine.js';

export interface Script {
  /** The answer to a prompt, one element per token. Default: the prompt's own words. */
  readonly answer?: (variant: VariantId, prompt: string) => readonly string[];
  /** How sure it is of each of its tokens: a probability. Default: 0.9. */
  readonly sureness?: (variant: VariantId, prompt: string) => number;
}

const SURENESS = 0.9;

/** Runs at most so many tokens whatever the script says. */
const LONGEST_ANSWER = 131_072;

/** What a script has for a prompt. Throws `request.invalid` for one that does not fit. */
export function partOf(
  { answer, sureness }: Script,
  { variantId, contextTokens }: EngineModel,
  input: GenerateInput,
  maxTokens: number,
): {
  readonly promptTokens: number;
  readonly script: readonly string[];
  readonly room: number;
  readonly sureness: number;
} {
  const prompt = promptOf(input);
  const promptTokens = words(prompt).length;
  if (promptTokens >= contextTokens) {
    throw new FleetError(
      'request.invalid',
      `the prompt has ${promptTokens} tokens, expected less than ${contextTokens}`,
    );
  }
  return {
    promptTokens,
    script: answer?.(variantId, prompt) ?? words(prompt),
    room: Math.min(maxTokens, contextTokens - promptTokens, LONGEST_ANSWER),
    sureness: sureness?.(variantId, prompt) ?? SURENESS,
  };
}

/** Token of a scripted answer that ends it; the words of the script are 1, 2, 3, ... */
export const END_TOKEN = 0;

/** What a scripted model says of the token of `step`: the script's next word, `sureness` sure, or else the end. */
export function offered(step: number, words: number, sureness: number, topK: number): NextTokens {
  const likely = step < words ? step + 1 : END_TOKEN;
  if (topK === 1 || likely === END_TOKEN)
    return { ids: [likely], logProbs: [Math.log(sureness)], restProb: 1 - sureness };
  const [ids, probs] =
    sureness >= 0.5
      ? [
          [likely, END_TOKEN],
          [sureness, 1 - sureness],
        ]
      : [
          [END_TOKEN, likely],
          [1 - sureness, sureness],
        ];
  return { ids, logProbs: probs.map((p) => Math.log(p)), restProb: 0 };
}

/** Words of a script as tokens of an answer, each `sureness` sure, or else the end. */
export function choicesOf(script: readonly string[], sureness: number, topLogProbs: number): readonly TokenChoice[] {
  return script.map((text, step) => {
    const { ids, logProbs } = offered(step, script.length, sureness, Math.max(2, topLogProbs));
    const top = ids.map((id, i) => ({ text: id === END_TOKEN ? '' : text, logProb: logProbs[i] ?? -Infinity }));
    return { text, logProb: Math.log(sureness), top: top.slice(0, topLogProbs) };
  });
}

/** The word that a token stands for. Throws `request.invalid` for one that the script does not have. */
export function wordOf(script: readonly string[], token: number): string {
  const word = script[token - 1];
  if (word === undefined) throw new FleetError('request.invalid', `there is no token ${token}`);
  return word;
}

/** One bit per byte of every word. */
export function scriptedScore(prompt: string, completion: string, detail: 'tokens' | undefined): ScoreResult {
  const length = Buffer.byteLength(completion);
  const tokenBits = words(completion).map((word) => Buffer.byteLength(word));
  return {
    bits: length,
    bytes: length,
    promptTokens: words(prompt).length,
    scoredTokens: tokenBits.length,
    duration: milliseconds(0),
    ...(detail === undefined ? {} : { promptBits: Buffer.byteLength(prompt), tokenBits }),
  };
}

/** Vectors by letters. Throws `request.invalid` for a text that is empty or does not fit. */
export function scriptedVectors(texts: readonly string[], contextTokens: number): EmbedResult {
  const lengths = texts.map((text) => words(text).length);
  for (const [i, length] of lengths.entries()) {
    if (length === 0) throw new FleetError('request.invalid', `text ${i} is empty`);
    checkEmbedded(length, contextTokens, i);
  }
  const promptTokens = lengths.reduce((sum, length) => sum + length, 0);
  return { vectors: texts.map((text) => unitVector(lettersOf(text))), promptTokens, duration: milliseconds(0) };
}

export function promptOf(input: GenerateInput): string {
  return input.kind === 'complete' ? input.prompt : input.messages.map(({ content }) => content).join('\n');
}

/** How often each letter comes, 1 more than it does; of 16 kinds. */
function lettersOf(text: string): readonly number[] {
  const counts = Array.from({ length: 16 }, () => 1);
  for (let i = 0; i < text.length; i++) {
    const kind = text.charCodeAt(i) % counts.length;
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** Words with the spaces before them: joined, they give the text again. */
export function words(text: string): readonly string[] {
  return text.match(/\s*\S+\s*$|\s*\S+/g) ?? [];
}
