import type { Placement } from './placement.js';
import type { PlacementProblem } from './problem.js';
import { verifyPlacement } from './verify.js';

/** More idle copies than this are dropped together or not at all: each try checks the whole plan. */
const MOST_SINGLE_TRIES = 40;

/** Without copies that serve nobody and devices that host nothing, as far as every bound still holds. */
export function tidied(problem: PlacementProblem, plan: Placement): Placement {
  const busy = new Set(plan.routing.map(({ d, v }) => `${d},${v}`));
  const idle = plan.placement.filter(([d, v]) => !busy.has(`${d},${v}`));
  if (idle.length === 0) return withoutEmpty(plan);
  const dropped = { ...plan, placement: plan.placement.filter(([d, v]) => busy.has(`${d},${v}`)) };
  if (verifyPlacement(problem, dropped).ok) return withoutEmpty(dropped);
  let current = plan;
  for (const [d, v] of idle.length <= MOST_SINGLE_TRIES ? idle : []) {
    const placement = current.placement.filter(([d2, v2]) => d2 !== d || v2 !== v);
    const candidate = { ...current, placement };
    if (verifyPlacement(problem, candidate).ok) current = candidate;
  }
  return withoutEmpty(current);
}

function withoutEmpty(plan: Placement): Placement {
  const hosting = new Set(plan.placement.map(([d]) => d));
  const poweredOn = plan.poweredOn.filter(([d]) => hosting.has(d));
  if (plan.modes === undefined) return { ...plan, poweredOn };
  return { ...plan, poweredOn, modes: plan.modes.filter(([d]) => hosting.has(d)) };
}
