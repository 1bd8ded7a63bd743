/**
 * Choosing a subset of experts for a gate, by branch and bound with monotone bounds (kinds `gate` and `softgate`).
 *
 * Whatever the gate does with the chosen experts, the value of a class is at most its best quality among them, which
 * grows with the subset: that of "chosen plus all undecided" bounds every completion.
 */
import type { GateProblem } from './gate-problem.js';

export interface SubsetResult {
  readonly status: 'optimal' | 'feasible' | 'infeasible' | 'timeout';
  readonly subset: readonly number[] | null;
  readonly objective: number | null;
  readonly bound: number | null;
  readonly nodes: number;
}

/** F(S) of the hard gate (each class goes to its best expert) or of the masked softmax gate. */
export function subsetValue(problem: GateProblem, subset: readonly number[]): number {
  return problem.weight.reduce((total, weight, k) => total + weight * classValue(problem, subset, k), 0);
}

function classValue(problem: GateProblem, subset: readonly number[], k: number): number {
  const quality = (i: number) => problem.quality[i]?.[k] ?? 0;
  if (problem.kind === 'gate') return subset.reduce((best, i) => Math.max(best, quality(i)), 0);
  const logit = (i: number) => problem.logit[i]?.[k] ?? -Infinity;
  const ranked = subset.toSorted((a, b) => logit(b) - logit(a) || a - b);
  const asked = problem.topk === null || problem.topk === undefined ? ranked : ranked.slice(0, problem.topk);
  const top = logit(asked[0] ?? -1);
  let mass = 0;
  let value = 0;
  for (const i of asked) {
    const share = Math.exp(logit(i) - top);
    mass += share;
    value += share * quality(i);
  }
  return mass === 0 ? 0 : value / mass;
}

/**
 * The best subset, proven unless `expired` says that time is over; then the best found, with a valid bound.
 * O(2^n) at worst; tens of experts in milliseconds as a rule.
 */
export function bestSubset(problem: GateProblem, expired: () => boolean): SubsetResult {
  const n = problem.experts;
  const optimistic = Array.from({ length: n }, (_, i) => i).sort(
    (a, b) => potential(problem, b) - potential(problem, a),
  );
  let best: { subset: number[]; value: number } | undefined;
  let openBound = -Infinity;
  let nodes = 0;
  let isCut = false;

  const visit = (chosen: number[], next: number): void => {
    nodes++;
    if (nodes % 256 === 0 && expired()) isCut = true;
    const rest = optimistic.slice(next).filter((i) => fits(problem, [...chosen, i]));
    const bound = ceiling(problem, [...chosen, ...rest]);
    if (best !== undefined && bound <= best.value + 1e-12 * Math.max(1, Math.abs(best.value))) return;
    if (isCut) {
      openBound = Math.max(openBound, bound);
      return;
    }
    if (!canReplicate(problem, [...chosen, ...rest])) return;
    if (canReplicate(problem, chosen)) {
      const value = subsetValue(problem, chosen);
      if (best === undefined || value > best.value) best = { subset: chosen.toSorted((a, b) => a - b), value };
    }
    for (let position = next; position < n; position++) {
      const candidate = optimistic[position];
      if (candidate === undefined) continue;
      const extended = [...chosen, candidate];
      if (fits(problem, extended)) visit(extended, position + 1);
    }
  };
  visit([], 0);
  if (best === undefined) {
    return {
      status: isCut ? 'timeout' : 'infeasible',
      subset: null,
      objective: null,
      bound: isCut ? openBound : null,
      nodes,
    };
  }
  const bound = Math.max(best.value, openBound);
  return { status: isCut ? 'timeout' : 'optimal', subset: best.subset, objective: best.value, bound, nodes };
}

const potential = (problem: GateProblem, i: number): number =>
  problem.weight.reduce((total, weight, k) => total + weight * (problem.quality[i]?.[k] ?? 0), 0);

/** No gate over a part of these experts is worth more. */
const ceiling = (problem: GateProblem, experts: readonly number[]): number =>
  problem.weight.reduce(
    (total, weight, k) => total + weight * experts.reduce((most, i) => Math.max(most, problem.quality[i]?.[k] ?? 0), 0),
    0,
  );

function fits(problem: GateProblem, subset: readonly number[]): boolean {
  if (problem.maxExperts !== null && subset.length > problem.maxExperts) return false;
  return problem.resources.every((use, j) => {
    const budget = problem.budget[j] ?? Infinity;
    return subset.reduce((total, i) => total + (use[i] ?? 0), 0) <= budget + 1e-9 * Math.max(1, Math.abs(budget));
  });
}

const canReplicate = (problem: GateProblem, subset: readonly number[]): boolean =>
  (problem.minReplicas ?? 0) === 0 ||
  problem.weight.every(
    (_, k) => subset.filter((i) => (problem.quality[i]?.[k] ?? 0) > 0).length >= (problem.minReplicas ?? 0),
  );
