/**
 * The ways of choosing experts that MoE^2 (arXiv 2501.09410) is compared with, on the same problem and budgets as ours.
 *
 * None looks at `minReplicas` while choosing; a choice that breaks it counts as none. Pure; chance comes as an argument.
 */
import type { Random } from '@fleetgate/shared/random';

import { eachSubset } from './exhaustive-subsets.js';
import type { GateProblem } from './gate-problem.js';
import { gateSubsetProblem } from './gate-subset.js';
import { subsetValue } from './subset.js';
import { subsetForm } from './subset-problem.js';

export const BASELINES = ['single', 'random', 'all', 'greedy', 'exhaustive'] as const;
export type Baseline = (typeof BASELINES)[number];

export interface SubsetChoice {
  /** Rising. */
  readonly subset: readonly number[];
  readonly objective: number;
}

/** More experts than these are not enumerated. */
export const MOST_ENUMERATED = 20;
const ROUNDING = 1e-9;

/**
 * What the baseline chooses; undefined when that breaks a budget or a floor, or there are too many experts to enumerate.
 * O(n^2 k), `exhaustive` O(2^n k).
 */
export function baselineChoice(baseline: Baseline, problem: GateProblem, random: Random): SubsetChoice | undefined {
  switch (baseline) {
    case 'single':
      return best(experts(problem).map((i) => choiceOf(problem, [i])));
    case 'random':
      return choiceOf(problem, randomSubset(problem, random));
    case 'all':
      return choiceOf(problem, experts(problem));
    case 'greedy':
      return choiceOf(problem, greedySubset(problem));
    case 'exhaustive':
      return problem.experts > MOST_ENUMERATED ? undefined : exhaustiveChoice(problem);
  }
}

/** Whether a choice keeps every budget, the count and the replicas; the same rounding allowance as the optimum. */
export function isAllowed(problem: GateProblem, subset: readonly number[]): boolean {
  const replicas = problem.minReplicas ?? 0;
  return (
    fits(problem, subset) &&
    problem.weight.every((_, k) => subset.filter((i) => (problem.quality[i]?.[k] ?? 0) > 0).length >= replicas)
  );
}

/** Experts in random order, each taken that still fits: a random subset that nothing can be added to. */
function randomSubset(problem: GateProblem, random: Random): readonly number[] {
  const order = experts(problem)
    .map((i) => ({ i, at: random.uniform() }))
    .sort((a, b) => a.at - b.at);
  return order.reduce<number[]>((taken, { i }) => (fits(problem, [...taken, i]) ? [...taken, i] : taken), []);
}

/** The expert of the largest gain per share of the budgets that it takes, until no expert gains or fits. */
function greedySubset(problem: GateProblem): readonly number[] {
  const taken: number[] = [];
  let value = subsetValue(problem, taken);
  for (;;) {
    let next: { readonly i: number; readonly ratio: number; readonly value: number } | undefined;
    for (const i of experts(problem)) {
      if (taken.includes(i) || !fits(problem, [...taken, i])) continue;
      const reached = subsetValue(problem, [...taken, i]);
      const ratio = (reached - value) / Math.max(budgetShare(problem, i), ROUNDING);
      if (reached > value + 1e-12 && ratio > (next?.ratio ?? 0)) next = { i, ratio, value: reached };
    }
    if (next === undefined) return taken;
    taken.push(next.i);
    value = next.value;
  }
}

function exhaustiveChoice(problem: GateProblem): SubsetChoice | undefined {
  let found: SubsetChoice | undefined;
  const offer = (subset: readonly number[], objective: number) => {
    if (found === undefined || objective > found.objective) found = { subset: [...subset], objective };
  };
  if (problem.kind === 'gate') {
    eachSubset(subsetForm(gateSubsetProblem(problem)), offer);
    return found;
  }
  for (let mask = 0; mask < 2 ** problem.experts; mask++) {
    const subset = experts(problem).filter((i) => (mask >> i) % 2 === 1);
    if (isAllowed(problem, subset)) offer(subset, subsetValue(problem, subset));
  }
  return found;
}

const experts = (problem: GateProblem): number[] => Array.from({ length: problem.experts }, (_, i) => i);

const budgetShare = (problem: GateProblem, i: number): number =>
  problem.resources.reduce((sum, use, j) => sum + (use[i] ?? 0) / Math.max(problem.budget[j] ?? Infinity, ROUNDING), 0);

function choiceOf(problem: GateProblem, chosen: readonly number[]): SubsetChoice | undefined {
  const subset = chosen.toSorted((a, b) => a - b);
  return isAllowed(problem, subset) ? { subset, objective: subsetValue(problem, subset) } : undefined;
}

function best(choices: readonly (SubsetChoice | undefined)[]): SubsetChoice | undefined {
  return choices.reduce<SubsetChoice | undefined>(
    (most, one) => (one !== undefined && (most === undefined || one.objective > most.objective) ? one : most),
    undefined,
  );
}

function fits(problem: GateProblem, subset: readonly number[]): boolean {
  if (problem.maxExperts !== null && subset.length > problem.maxExperts) return false;
  return problem.resources.every((use, j) => {
    const budget = problem.budget[j] ?? Infinity;
    return subset.reduce((total, i) => total + (use[i] ?? 0), 0) <= budget + ROUNDING * Math.max(1, Math.abs(budget));
  });
}
