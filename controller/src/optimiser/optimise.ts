/**
 * Entry of the optimiser: problem in, verified plan out. Never throws for a hard or infeasible problem.
 */
import { type Clock, systemClock } from '@fleetgate/shared/clock';
import { elapsed } from '@fleetgate/shared/units/quantity';

import { buildExactModel, type ExactModel } from './exact-model.js';
import { explain } from './explain.js';
import { explainInfeasible } from './explain-infeasible.js';
import { fitsTiny } from './javascript-lp-model.js';
import { powerProgram } from './least-power.js';
import type { LinearProgram } from './linear-program.js';
import { qualityCeiling } from './objective.js';
import type { Placement } from './placement.js';
import type { PlacementPlan } from './plan.js';
import { NO_PRICES, readPrices } from './prices.js';
import type { PlacementProblem } from './problem.js';
import { buildRoutingModel, readRouting } from './routing-lp.js';
import type { LinearAnswer, Solvers } from './solver.js';
import { verify, VERIFY_TOLERANCE, verifyPlacement } from './verify.js';

export interface OptimiseLimits {
  readonly timeLimitS: number;
  /** Relative gap at which to stop. */
  readonly gap: number;
  /** `auto` picks; `milp` is the exact model given to a mixed-integer solver. */
  readonly method: 'auto' | 'milp';
  /** Of equally good placements take the one that draws the least power. Costs a second solve. */
  readonly tieBreak?: 'least-power';
}

type Claims = Pick<PlacementPlan, 'status' | 'objective' | 'bound' | 'gap'>;
type Answered = Extract<LinearAnswer, { point: Float64Array }>;

/** Solves, verifies, prices and explains. The answer's bound is never below its objective. */
export async function optimise(
  problem: PlacementProblem,
  limits: OptimiseLimits,
  solvers: Solvers,
  clock: Clock = systemClock,
): Promise<PlacementPlan> {
  const started = clock.now();
  const left = () => Math.max(0.05, limits.timeLimitS - elapsed(started, clock.now()) / 1000);
  const run: Run = { problem, limits, solvers, left };
  const model = buildExactModel(problem);
  const answer = await solvers.exact.solve(model.program, { timeLimitS: left(), gap: limits.gap });
  const plan = await conclude(run, model, answer);
  return { ...plan, seconds: elapsed(started, clock.now()) / 1000 };
}

interface Run {
  readonly problem: PlacementProblem;
  readonly limits: OptimiseLimits;
  readonly solvers: Solvers;
  /** Seconds left, never 0: a solver asked for no time at all answers nothing. */
  readonly left: () => number;
}

async function conclude(run: Run, model: ExactModel, answer: LinearAnswer): Promise<PlacementPlan> {
  const ceiling = qualityCeiling(run.problem);
  switch (answer.status) {
    case 'infeasible':
      return infeasible(run);
    case 'timeout':
      return withoutPlan(run, Math.min(ceiling, answer.bound), [
        `No placement was found within ${run.limits.timeLimitS} s. Give more time, or fewer devices, variants or classes.`,
      ]);
    case 'failed': {
      const second = await askTiny(run, model.program);
      const notes = [`The exact solver gave no answer (${answer.reason}).`];
      if (second === undefined) return withoutPlan(run, ceiling, notes);
      return finish(run, model, { ...second, bound: ceiling, timedOut: true }, 'milp/javascript-lp-solver', notes);
    }
    case 'optimal':
    case 'feasible': {
      const { best, notes, doubted } = await compareWithTiny(run, model.program, answer);
      const bounded = {
        ...best,
        bound: Math.min(Math.max(best.bound, best.objective), Math.max(ceiling, best.objective)),
      };
      return finish(run, model, bounded, `milp/${run.solvers.exact.name}`, notes, doubted);
    }
  }
}

/** The tiny solver's checked point on the same program; undefined when it does not fit or gave none. */
async function askTiny(run: Run, program: LinearProgram): Promise<Answered | undefined> {
  const { tiny } = run.solvers;
  if (tiny === undefined || !fitsTiny(program)) return undefined;
  const answer = await tiny.solve(program, { timeLimitS: run.left(), gap: run.limits.gap });
  return answer.status === 'feasible' || answer.status === 'optimal' ? answer : undefined;
}

/** A feasible point above what was claimed to be the bound refutes the claim: the better point is kept, the proof is not. */
async function compareWithTiny(run: Run, program: LinearProgram, answer: Answered) {
  const second = await askTiny(run, program);
  const margin = VERIFY_TOLERANCE * Math.max(1, Math.abs(answer.bound));
  if (second === undefined || second.objective <= answer.bound + margin) {
    return { best: answer, notes: [], doubted: false };
  }
  const notes = [
    `javascript-lp-solver found ${second.objective}, above the bound ${answer.bound} of ${run.solvers.exact.name}.`,
  ];
  return { best: { ...second, bound: qualityCeiling(run.problem) }, notes, doubted: true };
}

async function finish(
  run: Run,
  model: ExactModel,
  answer: Answered,
  method: string,
  notes: readonly string[],
  doubted = false,
): Promise<PlacementPlan> {
  const { problem } = run;
  const chosen = run.limits.tieBreak === undefined ? answer.point : await leastPower(run, model, answer);
  const { plan: placed, prices } = await routed(run, model.read(chosen));
  const placement = tidied(problem, placed);
  const check = verifyPlacement(problem, placement);
  if (!check.ok)
    return withoutPlan(run, answer.bound, [...notes, `The answer failed verification: ${check.faults.join('; ')}.`]);
  const bound = Math.max(answer.bound, check.objective);
  const gap = (bound - check.objective) / Math.max(1, Math.abs(check.objective));
  const isProven = !doubted && gap <= VERIFY_TOLERANCE * 1.5;
  const claims: Claims = {
    status: isProven ? 'optimal' : answer.timedOut ? 'timeout' : 'feasible',
    objective: check.objective,
    bound,
    gap,
  };
  const plan: PlacementPlan = {
    schema: 'fleet-plan/1',
    ...claims,
    seconds: 0,
    method,
    ...placement,
    prices,
    conflict: null,
    relaxations: null,
    explanation: [...notes, ...explain(problem, { ...claims, prices, poweredOn: placement.poweredOn }, check.uses)],
  };
  const verified = verify(problem, plan);
  if (verified.ok) return plan;
  return {
    ...plan,
    status: 'feasible',
    explanation: [...plan.explanation, `Not proven: ${verified.faults.join('; ')}.`],
  };
}

/** Routing and prices for a fixed placement; the model's own routing when the linear program gives none. */
async function routed(run: Run, placement: Placement) {
  const model = buildRoutingModel(run.problem, placement);
  const answer = await run.solvers.exact.solve(model.program, { timeLimitS: Math.max(5, run.left()), gap: 0 });
  if (answer.status !== 'optimal') return { plan: placement, prices: NO_PRICES };
  const routing = readRouting(model, run.problem, answer.point);
  const duals = answer.rowDuals;
  return {
    plan: { ...placement, routing },
    prices: duals === undefined ? NO_PRICES : readPrices(run.problem, model, answer.point, duals),
  };
}

/** Among points as good as `answer` (to a millionth), one that draws the least power; `answer`'s own when time is short. */
async function leastPower(run: Run, model: ExactModel, answer: Answered): Promise<Float64Array> {
  const program = powerProgram(run.problem, model, answer.objective);
  const second = await run.solvers.exact.solve(program, { timeLimitS: run.left(), gap: 1e-3 });
  return second.status === 'optimal' || second.status === 'feasible' ? second.point : answer.point;
}

/** Without copies that serve nobody and devices that host nothing, as far as every bound still holds. */
function tidied(problem: PlacementProblem, plan: Placement): Placement {
  const busy = new Set(plan.routing.map(({ d, v }) => `${d},${v}`));
  let current = plan;
  for (const [d, v] of plan.placement) {
    if (busy.has(`${d},${v}`)) continue;
    const placement = current.placement.filter(([d2, v2]) => d2 !== d || v2 !== v);
    const candidate = { ...current, placement };
    if (verifyPlacement(problem, candidate).ok) current = candidate;
  }
  const hosting = new Set(current.placement.map(([d]) => d));
  const poweredOn = current.poweredOn.filter(([d]) => hosting.has(d));
  if (current.modes === undefined) return { ...current, poweredOn };
  return { ...current, poweredOn, modes: current.modes.filter(([d]) => hosting.has(d)) };
}

async function infeasible(run: Run): Promise<PlacementPlan> {
  const limits = { timeLimitS: Math.max(1, run.left() / 4), gap: 1e-4 };
  const why = await explainInfeasible(run.problem, run.solvers, limits);
  return { ...withoutPlan(run, NaN, []), status: 'infeasible', ...why };
}

function withoutPlan(run: Run, bound: number, explanation: readonly string[]): PlacementPlan {
  return {
    schema: 'fleet-plan/1',
    status: 'timeout',
    objective: null,
    bound: Number.isFinite(bound) ? bound : null,
    gap: null,
    seconds: 0,
    method: `milp/${run.solvers.exact.name}`,
    placement: [],
    poweredOn: [],
    routing: [],
    prices: NO_PRICES,
    conflict: null,
    relaxations: null,
    explanation,
  };
}

/**
 * The best routing for a placement that is kept as it is: `feasible` with its objective and prices (its bound is the
 * ceiling, nothing is claimed of other placements), or `infeasible`, then without conflict or repairs.
 */
export async function route(
  problem: PlacementProblem,
  placement: Pick<Placement, 'placement' | 'poweredOn' | 'modes'>,
  limits: OptimiseLimits,
  solvers: Solvers,
  clock: Clock = systemClock,
): Promise<PlacementPlan> {
  const started = clock.now();
  const run: Run = { problem, limits, solvers, left: () => limits.timeLimitS };
  const { plan, prices } = await routed(run, {
    placement: placement.placement,
    poweredOn: placement.poweredOn,
    ...(placement.modes === undefined ? {} : { modes: placement.modes }),
    routing: [],
  });
  const check = verifyPlacement(problem, plan);
  const seconds = elapsed(started, clock.now()) / 1000;
  if (!check.ok) return { ...withoutPlan(run, NaN, check.faults), status: 'infeasible', seconds };
  const bound = Math.max(qualityCeiling(problem), check.objective);
  const gap = (bound - check.objective) / Math.max(1, Math.abs(check.objective));
  const claims: Claims = { status: 'feasible', objective: check.objective, bound, gap };
  const explanation = explain(problem, { ...claims, bound: null, prices, poweredOn: plan.poweredOn }, check.uses);
  return {
    ...withoutPlan(run, bound, explanation),
    ...claims,
    ...plan,
    method: `routing/${run.solvers.exact.name}`,
    prices,
    seconds,
  };
}
