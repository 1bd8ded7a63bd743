import type { ProblemArc } from '../optimiser/problem.js';

export interface OfferedVariant {
  readonly expertId: string;
  readonly memoryBytes: number;
  /** Whether the active plan places it somewhere: then it is offered whatever else there is. */
  readonly isPlaced: boolean;
}

/**
 * Indices of variants that a plan need not look at: another variant of the same expert takes no more memory and, on every
 * device and for every class where they could serve, is at least as good, as fast and as frugal. Of two that are equal in
 * all of it, the first stays. `arcs` refer to `variants` by `v`. O(pairs of one expert's variants * arcs of one).
 */
export function dominatedVariants(
  variants: readonly OfferedVariant[],
  arcs: readonly ProblemArc[],
): ReadonlySet<number> {
  const arcsOf = variants.map(() => new Map<string, ProblemArc>());
  for (const arc of arcs) arcsOf[arc.v]?.set(`${arc.d} ${arc.k}`, arc);
  const byExpert = new Map<string, number[]>();
  for (const [v, { expertId }] of variants.entries()) byExpert.set(expertId, [...(byExpert.get(expertId) ?? []), v]);
  const dominated = new Set<number>();
  for (const siblings of byExpert.values()) {
    for (const v of siblings.toReversed()) {
      const isBeaten = siblings.some((u) => u !== v && !dominated.has(u) && beats(u, v));
      if (variants[v]?.isPlaced === false && isBeaten) dominated.add(v);
    }
  }
  return dominated;

  function beats(u: number, v: number): boolean {
    const [one, other] = [variants[u], variants[v]];
    if (one === undefined || other === undefined || one.memoryBytes > other.memoryBytes) return false;
    const better = arcsOf[u];
    for (const [where, arc] of arcsOf[v] ?? []) {
      const rival = better?.get(where);
      if (rival === undefined || !isAtLeastAsGood(rival, arc)) return false;
    }
    return true;
  }
}

function isAtLeastAsGood(a: ProblemArc, b: ProblemArc): boolean {
  return a.quality >= b.quality && a.energy_J <= b.energy_J && a.service_s <= b.service_s && a.latency_s <= b.latency_s;
}
