/** The problem of choosing experts that measured outcomes pose: classes are tasks, costs are modelled from sizes. Pure. */
import type { Outcome } from '../gating/outcomes.js';
import type { GateProblem } from '../optimiser/gate-problem.js';

import { meanOf } from './distribution.js';

/** Jetson Orin Nano, llama.cpp, 25 W mode: what decoding moves per second, and draws above idle (its board profile). */
const BYTES_PER_S = 33e9;
const WATTS = 13.4 - 5.5;
/** Answer length where the outcomes have none, tokens. */
const UNKNOWN_TOKENS = 128;
const GIB = 1024 ** 3;
const NO_TASK = 'general';

export interface OutcomeGate {
  readonly problem: Extract<GateProblem, { kind: 'gate' }>;
  readonly experts: readonly string[];
  readonly classes: readonly string[];
  /** By expert, then class: mean time of an answer on one board, s; modelled. */
  readonly latencyS: readonly (readonly number[])[];
}

/**
 * A `gate` problem of the experts that every outcome has: weight = share of the class, quality = mean outcome of expert
 * and class, resources = energy of one request asked of the expert (J, mean over prompts) and memory (GiB). Budgets are
 * what all experts together use. Modelled: every token moves all of `bytes` once; energy counts prompt and answer.
 */
export function outcomeGate(
  name: string,
  outcomes: readonly Outcome[],
  experts: readonly string[],
  bytes: Readonly<Record<string, number>>,
): OutcomeGate {
  const classOf = (outcome: Outcome) => outcome.task ?? NO_TASK;
  const classes = [...new Set(outcomes.map(classOf))].sort();
  const members = classes.map((task) => outcomes.filter((outcome) => classOf(outcome) === task));
  const answer = (expert: string) => (outcome: Outcome) => outcome.out_tok?.[expert] ?? UNKNOWN_TOKENS;
  const secondsPerToken = (expert: string) => (bytes[expert] ?? 0) / BYTES_PER_S;
  const energy = experts.map((expert) => {
    const tokens = meanOf(outcomes.map((outcome) => (outcome.prompt_tok ?? 0) + answer(expert)(outcome)));
    return WATTS * secondsPerToken(expert) * tokens;
  });
  const memory = experts.map((expert) => (bytes[expert] ?? 0) / GIB);
  return {
    experts,
    classes,
    latencyS: experts.map((expert) => members.map((own) => secondsPerToken(expert) * meanOf(own.map(answer(expert))))),
    problem: {
      schema: 'fleet-opt/1',
      kind: 'gate',
      name,
      experts: experts.length,
      classes: classes.length,
      weight: members.map((own) => own.length / outcomes.length),
      quality: experts.map((expert) => members.map((own) => meanOf(own.map(({ y }) => y[expert] ?? 0)))),
      resources: [energy, memory],
      budget: [energy, memory].map((use) => use.reduce((sum, each) => sum + each, 0)),
      maxExperts: null,
    },
  };
}

/** With `share` of the energy that all experts together use. */
export function withEnergyShare(problem: GateProblem, share: number): GateProblem {
  return { ...problem, budget: problem.budget.map((budget, j) => (j === 0 ? share * budget : budget)) };
}

/** Experts that answer a class in more than `latencyS` on average do not serve it: the delay bound of MoE^2, class by class. */
export function withinLatency(gate: OutcomeGate, latencyS: number): GateProblem {
  const quality = gate.problem.quality.map((row, i) =>
    row.map((each, k) => ((gate.latencyS[i]?.[k] ?? Infinity) <= latencyS ? each : 0)),
  );
  return { ...gate.problem, quality };
}

/** Bytes of weights at one byte a parameter, by the size in a model's name (`gemma-2-9b-it`); undefined for none or a product (`8x7b`). */
export function bytesByName(name: string): number | undefined {
  const found = /(?:^|[-_ ])(\d+(?:\.\d+)?)b(?![a-z0-9])/i.exec(name);
  return found?.[1] === undefined ? undefined : Number(found[1]) * 1e9;
}
