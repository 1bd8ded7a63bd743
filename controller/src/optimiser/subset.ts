import type { GateProblem } from './gate-problem.js';
import { gateSubsetProblem } from './gate-subset.js';
import { bestSoftSubset, softValue } from './soft-subset.js';
import { solveSubset, type SubsetLimits, type SubsetResult } from './subset-kernel.js';
import { subsetForm, valueOf } from './subset-problem.js';

/** F(S) of the hard gate (each class goes to its best expert) or of the masked softmax gate. */
export function subsetValue(problem: GateProblem, subset: readonly number[]): number {
  if (problem.kind === 'softgate') return softValue(problem, subset);
  return valueOf(subsetForm(gateSubsetProblem(problem)), subset);
}

/** The experts that a gate should have: the best subset, proven unless the limits end the search first. */
export function bestSubset(problem: GateProblem, limits: SubsetLimits): SubsetResult {
  return problem.kind === 'softgate'
    ? bestSoftSubset(problem, limits)
    : solveSubset(gateSubsetProblem(problem), limits);
}
