import type { TaskProfile } from './profile.js';

/**
 * Normalised pointwise mutual information of "the slab was chosen" and "the token is one of reasoning", by layer and slab,
 * from -1 (never together) over 0 (independent) to 1 (only together): `ln(p(s,r) / (p(s) p(r))) / -ln p(s,r)`. RICE
 * (Two Experts Are All You Need for Steering Thinking, arXiv 2505.14681) finds the slabs that steer reasoning by it.
 * Over the tasks together; 0 where nothing is known.
 */
export function reasoningNpmi(tasks: readonly TaskProfile[]): readonly (readonly number[])[] {
  const tokens = sum(tasks.map((task) => task.tokens));
  const reasoning = sum(tasks.map(({ reasoningTokens }) => reasoningTokens));
  const [first] = tasks;
  return (first?.layers ?? []).map(({ frequency }, l) =>
    frequency.map((_, s) => {
      const chosen = sum(tasks.map(({ layers }) => layers[l]?.frequency[s] ?? 0));
      const both = sum(tasks.map(({ layers }) => layers[l]?.reasoning[s] ?? 0));
      return npmi(both / tokens, chosen / tokens, reasoning / tokens);
    }),
  );
}

/** Of two events with their joint probability. */
export function npmi(both: number, one: number, other: number): number {
  if (one <= 0 || other <= 0) return 0;
  if (both <= 0) return -1;
  if (both >= 1) return 0;
  return Math.log(both / (one * other)) / -Math.log(both);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
