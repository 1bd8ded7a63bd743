import type { LlamaContextSequence, Token } from 'node-llama-cpp';

import { FleetError } from '@fleetgate/shared/errors';
import type { NextTokens } from '@fleetgate/shared/mixture/next-token';

/** Tokens evaluated at one go: between two of them a call can be aborted and is seen to get on. */
export const CHUNK = 256;

export interface Span {
  /** Tokens before it are in the sequence already. */
  readonly from: number;
  /** Tokens after it are told of. */
  readonly first: number;
}

/** What the model held of a token of a document, in its place. */
export interface DocumentToken {
  readonly logProb: number;
  /** The likeliest tokens there, likeliest first. */
  readonly top: readonly { readonly token: Token; readonly logProb: number }[];
}

/**
 * Evaluates a document but for its last token; -log2 p of each token after index `first`, by exact probabilities (softmax
 * over the whole vocabulary at temperature 1). Undefined when it was aborted on the way.
 */
export async function documentBits(
  sequence: LlamaContextSequence,
  document: readonly Token[],
  span: Span,
  onProgress: () => void,
  signal: AbortSignal,
): Promise<readonly number[] | undefined> {
  const tokens = await documentTokens(sequence, document, { ...span, top: 1 }, onProgress, signal);
  return tokens?.map(({ logProb }) => -logProb / Math.LN2);
}

/** The same, with the `top` likeliest tokens of each place besides. */
export async function documentTokens(
  sequence: LlamaContextSequence,
  document: readonly Token[],
  span: Span & { readonly top: number },
  onProgress: () => void,
  signal: AbortSignal,
): Promise<readonly DocumentToken[] | undefined> {
  const tokens: DocumentToken[] = [];
  for (let at = span.from; at < document.length - 1; at += CHUNK) {
    if (signal.aborted) return undefined;
    tokens.push(...(await chunkTokens(sequence, document, at, span)));
    onProgress();
  }
  return signal.aborted ? undefined : tokens;
}

async function chunkTokens(
  sequence: LlamaContextSequence,
  document: readonly Token[],
  from: number,
  { first, top }: { readonly first: number; readonly top: number },
): Promise<readonly DocumentToken[]> {
  const until = Math.min(from + CHUNK, document.length - 1);
  // The largest is needed in any case: the total weight is relative to it.
  const includeTop = Math.max(1, top);
  const steps = await sequence.controlledEvaluate(
    document.slice(from, until).map((token, i) => {
      const next = document[from + i + 1];
      if (from + i < first || next === undefined) return token;
      // `includeMax` does not work together with `tokens`; the top one is the same.
      return [token, { generateNext: { logits: { filter: { tokens: [next], includeTop } }, totalLogitWeight: true } }];
    }),
  );
  const tokens: DocumentToken[] = [];
  for (let i = Math.max(from, first); i < until; i++) {
    const { logits, totalLogitWeight } = steps[i - from]?.next ?? {};
    const next = document[i + 1];
    const logit = next === undefined ? undefined : logits?.get(next);
    if (logits === undefined || logit === undefined || totalLogitWeight === undefined) {
      throw new FleetError('internal.invariant', `no logit of token ${i + 1} of ${document.length} came back`);
    }
    const total = Math.max(...logits.values()) + Math.log(totalLogitWeight);
    tokens.push({
      logProb: logit - total,
      top: [...logits]
        .map(([token, value]) => ({ token, logProb: Math.min(0, value - total) }))
        .toSorted((a, b) => b.logProb - a.logProb || a.token - b.token)
        .slice(0, top),
    });
  }
  return tokens;
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
