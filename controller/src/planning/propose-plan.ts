/**
 * Makes one plan: problem from the facts, answer from the optimiser, checked, compared with the plan in force.
 */
import type { Random } from '@fleetgate/shared/random';
import { deviceId, planId, variantId } from '@fleetgate/shared/ids';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import { partsOf } from '../optimiser/certificate.js';
import type { OptimiseLimits } from '../optimiser/optimise.js';
import type { PlacementPlan } from '../optimiser/plan.js';
import type { PlacementProblem } from '../optimiser/problem.js';
import { verify } from '../optimiser/verify.js';
import { buildProblem, type ProblemFacts } from './build-problem.js';
import { circumstancesOf } from './circumstances.js';
import { costlessCopies } from './costless-copy.js';
import { fillSpare } from './fill-spare.js';
import { isWorthMoving, transfer } from './hysteresis.js';
import type { PlacementOptimiser } from './placement-optimiser.js';
import { type PlanRecord, spareCopies } from './plan-record.js';
import { type IsCostless, secondCopies } from './second-copies.js';

/** Small fleets solve in well under a second; what takes longer is used as far as it got. The gap is the fleet's size's. */
const LIMITS: OptimiseLimits = { timeLimitS: 20, method: 'auto', tieBreak: 'least-power' };
/** Arcs times parts of a certificate that are recomputed here, beside the prompts: some ten milliseconds. */
const MOST_RECOMPUTED = 2_000_000;
/** Copies that a sentence for a person names. */
const MOST_NAMED = 5;
/** Parts of a certificate that are worth keeping with every plan. */
const MOST_KEPT_PARTS = 200;

export interface ProposeParts {
  readonly optimiser: PlacementOptimiser;
  readonly random: Random;
}

/**
 * A `proposed` plan: a new placement where it is worth moving for, else the old one, newly routed for what is asked and what
 * it costs now; or a `rejected` one that says why. Throws `solver.failed` or `solver.timeout`.
 */
export async function proposePlan(
  parts: ProposeParts,
  facts: ProblemFacts,
  old: PlanRecord | undefined,
  trigger: string,
  at: UnixMs,
): Promise<PlanRecord> {
  const problem = buildProblem(facts);
  const circumstances = circumstancesOf(facts);
  const isCostless = costlessCopies(facts, problem);
  const record = (planned: PlacementPlan, why = trigger): PlanRecord => {
    const solved = planned.objective === null ? planned : withSecondCopies(problem, planned, isCostless);
    // The optimiser's process has recomputed every certificate already; a small one is recomputed again here.
    const check = verify(problem, solved, workOf(problem, solved) <= MOST_RECOMPUTED ? 'recompute' : 'believe');
    const isUsable = solved.objective !== null && check.ok;
    return Object.freeze({
      id: planId(`plan-${parts.random.token(10)}`),
      state: isUsable ? 'proposed' : 'rejected',
      createdAt: at,
      activatedAt: undefined,
      trigger: why,
      budgets: facts.budgets,
      problem,
      solution: withoutLargeCertificate(solved),
      verified: isUsable,
      circumstances,
    });
  };
  const solved = await parts.optimiser.ask({ kind: 'optimise', problem, limits: LIMITS });
  const filled = solved.objective === null ? solved : { ...solved, ...fillSpare(problem, solved) };
  const fresh = record(filled);
  if (fresh.state === 'rejected' || old === undefined) return fresh;
  // What may be there and need not never keeps the rest from staying: it is put back where it still fits.
  const kept = transfer({ problem: old.problem, solution: withoutSpare(old) }, problem);
  if (!kept.isComplete) return fresh;
  const rerouted = await parts.optimiser.ask({ kind: 'route', problem, placement: kept, limits: LIMITS });
  if (rerouted.objective === null || isWorthMoving(problem, rerouted, filled)) return fresh;
  // The bound is the fresh solve's: it holds for every placement.
  const bound = Math.max(solved.bound ?? rerouted.objective, rerouted.objective);
  const gap = (bound - rerouted.objective) / Math.max(1, Math.abs(rerouted.objective));
  return record({ ...rerouted, bound, gap }, `${trigger}; same placement, newly routed`);
}

/** A second copy counts neither as a gain nor as a move: it may be there, and need not. */
function withSecondCopies(problem: PlacementProblem, plan: PlacementPlan, isCostless: IsCostless): PlacementPlan {
  const solution = { ...plan, ...secondCopies(problem, plan, isCostless) };
  const copies = [...spareCopies({ problem, solution })].flatMap(([device, variants]) =>
    [...variants].map((variant) => `${variant} on ${device}`),
  );
  if (copies.length === 0) return solution;
  const named = copies.slice(0, MOST_NAMED).join(', ');
  const more = copies.length > MOST_NAMED ? ` and ${copies.length - MOST_NAMED} more` : '';
  const sentence = `Memory that is free holds second copies, so that answers outlive their device: ${named}${more}.`;
  return { ...solution, explanation: [...plan.explanation, sentence] };
}

function withoutSpare(record: PlanRecord): PlacementPlan {
  const { problem, solution } = record;
  const spare = spareCopies(record);
  const isSpare = (d: number, v: number): boolean =>
    spare.get(deviceId(problem.devices[d]?.id ?? ''))?.has(variantId(problem.variants[v]?.id ?? '')) === true;
  return { ...solution, placement: solution.placement.filter(([d, v]) => !isSpare(d, v)) };
}

const workOf = (problem: PlacementProblem, { certificate }: PlacementPlan): number =>
  certificate === undefined ? 0 : problem.arcs.length * partsOf(certificate.tree);

function withoutLargeCertificate(plan: PlacementPlan): PlacementPlan {
  const { certificate, ...rest } = plan;
  return certificate === undefined || partsOf(certificate.tree) <= MOST_KEPT_PARTS ? plan : rest;
}

/**
 * The budgets with the floors dropped: serve what can be served. For a fleet that has lost a device and can no longer
 * keep its promises, and for the first plan of a fleet that is still too small for them.
 */
export function withoutFloors(facts: ProblemFacts): ProblemFacts {
  const { defaultClass, classes } = facts.budgets;
  const none = { minServed: 0, minReplicas: 0 };
  return {
    ...facts,
    budgets: {
      ...facts.budgets,
      defaultClass: { ...defaultClass, ...none },
      classes: Object.fromEntries(Object.entries(classes).map(([id, budget]) => [id, { ...budget, ...none }])),
    },
  };
}

/** Whether a problem has anything to place at all. */
export const hasWork = (problem: PlacementProblem): boolean => problem.arcs.length > 0;
