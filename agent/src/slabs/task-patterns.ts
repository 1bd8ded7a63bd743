import type { Importance } from './importance.js';

/** How the router of a model chooses on texts of one task. */
export interface TaskPattern {
  readonly task: string;
  readonly importance: Importance;
}

export interface NearestPattern {
  readonly pattern: TaskPattern;
  /** Mean over the layers of the cosine between the query's scores and the pattern's, 0..1. */
  readonly similarity: number;
}

/**
 * The stored pattern that is most like how the router chose on a query: task-adaptive expert retrieval (TAER; PreMoe,
 * arXiv 2505.17639). Of equal ones the first; undefined without patterns.
 */
export function nearestPattern(query: Importance, patterns: readonly TaskPattern[]): NearestPattern | undefined {
  let best: NearestPattern | undefined;
  for (const pattern of patterns) {
    const similarity = likeness(query, pattern.importance);
    if (best === undefined || similarity > best.similarity) best = { pattern, similarity };
  }
  return best;
}

function likeness(a: Importance, b: Importance): number {
  if (a.length === 0) return 0;
  return a.reduce((sum, layer, l) => sum + cosine(layer, b[l] ?? []), 0) / a.length;
}

function cosine(a: readonly number[], b: readonly number[]): number {
  let [product, aa, bb] = [0, 0, 0];
  for (const [i, value] of a.entries()) {
    const other = b[i] ?? 0;
    product += value * other;
    aa += value * value;
    bb += other * other;
  }
  return aa === 0 || bb === 0 ? 0 : product / Math.sqrt(aa * bb);
}
