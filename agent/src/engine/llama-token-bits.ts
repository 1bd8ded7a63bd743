import type { LlamaContextSequence, Token } from 'node-llama-cpp';

import { FleetError } from '@fleetgate/shared/errors';
import type { NextTokens } from '@fleetgate/shared/mixture/next-token';

/** Tokens evaluated at one go: between two of them a call can be aborted and is seen to get on. */
export const CHUNK = 256;

/**
 * Evaluates a document but for its last token, from index `from` on (those before it are in the sequence); -log2 p of
 * each token after index `first`, by exact probabilities (softmax over the whole vocabulary at temperature 1). Undefined
 * when it was aborted on the way.
 */
export async function documentBits(
  sequence: LlamaContextSequence,
  document: readonly Token[],
  { from, first }: { readonly from: number; readonly first: number },
  onProgress: () => void,
  signal: AbortSignal,
): Promise<readonly number[] | undefined> {
  const bits: number[] = [];
  for (let at = from; at < document.length - 1; at += CHUNK) {
    if (signal.aborted) return undefined;
    bits.push(...(await chunkBits(sequence, document, at, Math.min(at + CHUNK, document.length - 1), first)));
    onProgress();
  }
  return signal.aborted ? undefined : bits;
}

async function chunkBits(
  sequence: LlamaContextSequence,
  document: readonly Token[],
  from: number,
  until: number,
  first: number,
): Promise<readonly number[]> {
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
  const bits: number[] = [];
  for (let i = Math.max(from, first); i < until; i++) {
    const { logits, totalLogitWeight } = steps[i - from]?.next ?? {};
    const next = document[i + 1];
    const logit = next === undefined ? undefined : logits?.get(next);
    if (logits === undefined || logit === undefined || totalLogitWeight === undefined) {
      throw new FleetError('internal.invariant', `no logit of token ${i + 1} of ${document.length} came back`);
    }
    bits.push((Math.max(...logits.values()) + Math.log(totalLogitWeight) - logit) / Math.LN2);
  }
  return bits;
}

/** Evaluates one token; the `topK` likeliest tokens after it. */
export async function nextTokens(sequence: LlamaContextSequence, token: Token, topK: number): Promise<NextTokens> {
  const [step] = await sequence.controlledEvaluate([
    [token, { generateNext: { logits: { filter: { tokens: [], includeTop: topK } }, totalLogitWeight: true } }],
  ]);
  const { logits, totalLogitWeight } = step?.next ?? {};
  if (logits === undefined || logits.size === 0 || totalLogitWeight === undefined) {
    throw new FleetError('internal.invariant', 'no logits of the next token came back');
  }
  const ids = [...logits.keys()];
  const values = [...logits.values()];
  const total = Math.max(...values) + Math.log(totalLogitWeight);
  // Both are of single precision: rounding must not give a probability above 1.
  const logProbs = values.map((logit) => Math.min(0, logit - total));
  const known = logProbs.reduce((sum, logProb) => sum + Math.exp(logProb), 0);
  return { ids, logProbs, restProb: Math.max(0, 1 - known) };
}

export function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
