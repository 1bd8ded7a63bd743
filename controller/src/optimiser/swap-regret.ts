/**
 * Why this variant here and not that one: what the best plan loses that has them swapped.
 */
import { arcIndexOf } from './arc-index.js';
import { shown } from './bound-change.js';
import { hosting, notHosting } from './forced-copy.js';
import { countOf, keepsTail, pairKey } from './placement.js';
import type { ConstraintGroup, PlacementPlan } from './plan.js';
import type { PlacementProblem } from './problem.js';
import type { WhatIf } from './what-if.js';

/** On entry `d` variant `to` instead of `from`; of a pool one more copy of `to`, whatever makes room for it. */
export interface Swap {
  readonly d: number;
  readonly from: number;
  readonly to: number;
}

export interface SwapRegret {
  readonly device: string;
  readonly from: string;
  readonly to: string;
  /** Points below the plan of the best plan found with the swap; null where none fits, absent where none was found in time. */
  readonly regret?: number | null;
  /** No plan with the swap loses less: the proven side of `regret`. */
  readonly regretAtLeast?: number | null;
  /** What stands against it, where no plan with the swap fits. */
  readonly forbiddenBy: readonly ConstraintGroup[];
  /** For a person. */
  readonly text: string;
}

/** Solves with the swap made and all else free. `plan` has a placement. */
export async function swapRegret(
  problem: PlacementProblem,
  plan: PlacementPlan,
  swap: Swap,
  whatIf: WhatIf,
): Promise<SwapRegret> {
  const { d, from, to } = swap;
  const [device, old, fresh] = [problem.devices[d], problem.variants[from], problem.variants[to]];
  const names = { device: device?.id ?? '', from: old?.id ?? '', to: fresh?.id ?? '' };
  const misfit = misfitOf(problem, swap);
  if (misfit !== undefined) {
    return { ...names, regret: null, forbiddenBy: [misfit.group], text: `${clause(names)}: ${misfit.text}.` };
  }
  const swapped = swappedProblem(problem, plan, swap);
  const outcome = await whatIf.best(swapped, { mayFail: true });
  if (outcome?.status === 'infeasible') {
    const forbiddenBy = await whatIf.conflict(swapped);
    // The swap itself is asked for as a replica: that is not what stands against it.
    const against = forbiddenBy.filter((group) => group !== 'replicas');
    const bounds = against.length === 0 ? 'all bounds' : `the bounds on ${against.join(', ')}`;
    return { ...names, regret: null, forbiddenBy: against, text: `${clause(names)}: no plan keeps ${bounds} then.` };
  }
  if (outcome === undefined || outcome.objective === null) {
    return { ...names, forbiddenBy: [], text: `${clause(names)}: not solved for lack of time.` };
  }
  const objective = plan.objective ?? 0;
  const regret = objective - outcome.objective;
  const regretAtLeast = outcome.bound === null ? null : objective - outcome.bound;
  return {
    ...names,
    regret,
    regretAtLeast,
    forbiddenBy: [],
    text: `${clause(names)}: ${lossText(regret, objective)}.`,
  };
}

function swappedProblem(problem: PlacementProblem, plan: PlacementPlan, { d, from, to }: Swap): PlacementProblem {
  const copies = new Map(plan.placement.map(([d, v, count]) => [pairKey(problem, d, v), count]));
  const held = copies.get(pairKey(problem, d, to)) ?? 0;
  if (countOf(problem, d) > 1) return hosting(problem, d, [to], Math.min(countOf(problem, d), held + 1));
  return hosting(notHosting(problem, d, from), d, [to], 1);
}

/** Reasons that need no solver. */
function misfitOf(
  problem: PlacementProblem,
  { d, to }: Swap,
): { readonly group: ConstraintGroup; readonly text: string } | undefined {
  const [needs, has] = [problem.variants[to]?.memGiB ?? 0, problem.devices[d]?.memGiB ?? 0];
  if (needs > has) return { group: 'memory', text: `does not fit: ${shown(needs)} GiB of ${shown(has)} GiB` };
  const arcs = arcIndexOf(problem).ofPair(d, to);
  if (arcs.length === 0) return { group: 'util', text: 'it may not run there: the instance has no figures for it' };
  if (arcs.some((arc) => keepsTail(problem, arc))) return undefined;
  return { group: 'tail', text: 'too slow there: above the 95th percentile that every class allows' };
}

const clause = ({ device, from, to }: { device: string; from: string; to: string }): string =>
  `${to} instead of ${from} on ${device}`;

function lossText(regret: number, objective: number): string {
  if (Math.abs(regret) <= 4e-6 * Math.max(1, Math.abs(objective))) return 'as good';
  return regret > 0 ? `costs ${shown(regret)} points` : `gains ${shown(-regret)} points: the plan was not the best`;
}

/**
 * The nearest calls of a plan: for every variant that serves something somewhere, the one whose taking its place loses
 * least with all else kept, nearest first. One routing program for each pair; what time does not allow is left out.
 */
export async function nearestSwaps(problem: PlacementProblem, plan: PlacementPlan, whatIf: WhatIf): Promise<Swap[]> {
  const isHosted = new Set(plan.placement.map(([d, v]) => pairKey(problem, d, v)));
  const isBusy = new Set(plan.routing.map(({ d, v }) => pairKey(problem, d, v)));
  const found: { readonly swap: Swap; readonly objective: number }[] = [];
  for (const [d, from] of plan.placement) {
    if (!isBusy.has(pairKey(problem, d, from))) continue;
    let best: (typeof found)[number] | undefined;
    for (const to of variantsOf(problem, d)) {
      const swap = { d, from, to };
      if (isHosted.has(pairKey(problem, d, to)) || misfitOf(problem, swap) !== undefined) continue;
      const placement = plan.placement.map(([d2, v, n]) => [d2, d2 === d && v === from ? to : v, n] as const);
      const objective = await whatIf.kept(problem, { ...plan, placement });
      // A swap that does not fit as the rest stands may still do, with the rest changed.
      if (objective !== undefined && (objective ?? -1e9) > (best?.objective ?? -Infinity)) {
        best = { swap, objective: objective ?? -1e9 };
      }
    }
    if (best !== undefined) found.push(best);
  }
  return found.toSorted((a, b) => b.objective - a.objective).map(({ swap }) => swap);
}

function variantsOf(problem: PlacementProblem, d: number): number[] {
  return [
    ...new Set(
      arcIndexOf(problem)
        .of(d)
        .map(({ v }) => v),
    ),
  ];
}
