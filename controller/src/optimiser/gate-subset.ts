import type { GateProblem } from './gate-problem.js';
import type { SubsetProblem } from './subset-problem.js';

/** A hard gate as subset selection: experts are facilities, prompt classes are clients. */
export function gateSubsetProblem(problem: Extract<GateProblem, { kind: 'gate' }>): SubsetProblem {
  const { experts, classes, weight, quality } = problem;
  const value = new Float64Array(experts * classes);
  const serves = new Uint8Array(experts * classes);
  quality.forEach((row, i) =>
    row.forEach((each, k) => {
      value[i * classes + k] = (weight[k] ?? 0) * each;
      serves[i * classes + k] = each > 0 ? 1 : 0;
    }),
  );
  return {
    facilities: experts,
    clients: classes,
    value,
    service: 'optional',
    serves,
    use: problem.resources,
    budget: problem.budget,
    maxCount: problem.maxExperts ?? experts,
    minReplicas: problem.minReplicas ?? 0,
  };
}
