/** Our choice of experts beside MoE^2's baselines over budgets of energy and delay, on measured outcomes. Pure. */
import type { Outcome } from '../gating/outcomes.js';
import { type BaselineComparison, compareWithBaselines } from '../optimiser/baseline-comparison.js';
import type { GateProblem } from '../optimiser/gate-problem.js';

import { bytesByName, outcomeGate, withEnergyShare, withinLatency } from './outcome-gate-problem.js';

const SHARES = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1] as const;
/** Of all experts' energy, while the delay is bounded. */
const ENERGY_SHARE = 0.5;
/** Search time of one problem, ms; a safeguard, as these take milliseconds. */
const SOLVE_MS = 2_000;

export interface TradeOffPoint extends BaselineComparison {
  /** Of the energy of all experts, or of the slowest expert's mean delay. */
  readonly share: number;
  /** J, or s. */
  readonly bound: number;
}

export interface TradeOffFigures {
  readonly experts: number;
  readonly classes: number;
  /** Over the energy of the selection: that of one request asked of each of its experts. */
  readonly energy: readonly TradeOffPoint[];
  /** Over the mean delay of every class, with half of all experts' energy. */
  readonly delay: readonly TradeOffPoint[];
}

export interface NamedComparison extends BaselineComparison {
  readonly name: string;
}

/** Ours and the baselines over budgets; undefined when fewer than three experts have a known size. */
export function tradeOffFigures(
  name: string,
  outcomes: readonly Outcome[],
  bytes: Readonly<Record<string, number>>,
  seed: number,
  now: () => number,
): TradeOffFigures | undefined {
  const sizes = Object.fromEntries(
    sharedExperts(outcomes).flatMap((expert) => {
      const size = bytes[expert] ?? bytesByName(expert);
      return size === undefined ? [] : [[expert, size] as const];
    }),
  );
  const experts = Object.keys(sizes).sort();
  if (experts.length < 3) return undefined;
  const gate = outcomeGate(name, outcomes, experts, sizes);
  const compare = (problem: GateProblem) => comparison(problem, seed, now);
  const slowest = Math.max(...gate.latencyS.flat());
  return {
    experts: experts.length,
    classes: gate.classes.length,
    energy: SHARES.map((share) => {
      const problem = withEnergyShare(gate.problem, share);
      return { share, bound: problem.budget[0] ?? NaN, ...compare(problem) };
    }),
    delay: SHARES.map((share) => {
      const bound = share * slowest;
      return { share, bound, ...compare(withEnergyShare(withinLatency(gate, bound), ENERGY_SHARE)) };
    }),
  };
}

export function comparison(problem: GateProblem, seed: number, now: () => number): NamedComparison {
  const until = now() + SOLVE_MS;
  return { name: problem.name, ...compareWithBaselines(problem, seed, () => now() > until) };
}

/** Those that every outcome has, by name. */
export function sharedExperts(outcomes: readonly Outcome[]): readonly string[] {
  return Object.keys(outcomes[0]?.y ?? {})
    .filter((expert) => outcomes.every(({ y }) => expert in y))
    .sort();
}
