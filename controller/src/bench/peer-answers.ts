/** Reads what solvers print about a minimisation (`mps-text.ts`). Nothing is recomputed: it is their word. */
import type { SolverRun } from './solver-run.js';

/** In the sense of the file; a bound is missing where none was printed. */
export type PeerAnswer = Pick<SolverRun, 'status' | 'objective' | 'bound' | 'nodes'>;

const NUMBER = String.raw`(-?\d[\d.]*(?:e[+-]?\d+)?)`;

/** CBC 2.10: the summary at its end, and the sharper of its bounds. */
export function cbcAnswer(output: string): PeerAnswer {
  const result = /^Result - (.*)$/m.exec(output)?.[1] ?? '';
  if (/infeasible/i.test(result) || /problem (?:is|proven) infeasible|primal infeasible/i.test(output)) {
    return { status: 'infeasible', objective: null, bound: null, nodes: null };
  }
  const objective = /no feasible solution/i.test(output) ? null : last(output, `^Objective value:\\s+${NUMBER}`);
  // Six digits in the summary, eight in the log.
  const open = last(output, `best possible\\s+${NUMBER}`) ?? last(output, `^Lower bound:\\s+${NUMBER}`);
  const isOptimal = result.startsWith('Optimal solution found') && objective !== null;
  return {
    status: isOptimal ? 'optimal' : objective !== null ? 'feasible' : result === '' ? 'failed' : 'timeout',
    objective,
    bound: isOptimal && !/within gap tolerance/i.test(result) ? objective : open,
    nodes: last(output, `^Enumerated nodes:\\s+${NUMBER}`),
  };
}

/** GLPK 5.0's glpsol: its log lines `+ 486: mip = ... >= ...  0.2% (10; 20)`. */
export function glpsolAnswer(output: string): PeerAnswer {
  if (/PROBLEM HAS NO (?:PRIMAL |INTEGER )?FEASIBLE SOLUTION/.test(output)) {
    return { status: 'infeasible', objective: null, bound: null, nodes: null };
  }
  const lines = [
    ...output.matchAll(
      /^\+\s*\d+: (?:mip =|>>>>>)\s+(not found yet|\S+) (?:>=|<=)\s+(tree is empty|\S+).*\((\d+); (\d+)\)/gm,
    ),
  ];
  const found = lines.flatMap(([, value = '']) => (Number.isFinite(Number(value)) ? [Number(value)] : []));
  const bounds = lines.flatMap(([, , value = '']) => (Number.isFinite(Number(value)) ? [Number(value)] : []));
  const objective = found.at(-1) ?? null;
  const isOptimal = /^INTEGER OPTIMAL SOLUTION FOUND/m.test(output) && objective !== null;
  const [, , , active = '', cut = ''] = lines.at(-1) ?? [];
  const isKnown = lines.length > 0 || /TIME LIMIT EXCEEDED/.test(output);
  return {
    status: isOptimal ? 'optimal' : objective !== null ? 'feasible' : isKnown ? 'timeout' : 'failed',
    objective,
    bound: isOptimal ? objective : (bounds.at(-1) ?? null),
    nodes: lines.length === 0 ? null : Number(active) + Number(cut),
  };
}

function last(text: string, pattern: string): number | null {
  const value = [...text.matchAll(new RegExp(pattern, 'gim'))].at(-1)?.[1];
  return value === undefined ? null : Number(value);
}
