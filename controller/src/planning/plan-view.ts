import type { PlanConstraint, PlanView } from '@fleetgate/shared/api/operations';

import { arcIndexOf } from '../optimiser/arc-index.js';
import { isBinding } from '../optimiser/explain.js';
import type { ConstraintUse } from '../optimiser/plan.js';
import { verifyPlacement } from '../optimiser/verify.js';
import { placementsOf, type PlanRecord, poweredOn } from './plan-record.js';

/** A plan as the operations API shows it. O(arcs). */
export function planView(record: PlanRecord): PlanView {
  const { problem, solution } = record;
  const arcs = arcIndexOf(problem);
  const hasPlacement = solution.objective !== null;
  const uses = hasPlacement ? verifyPlacement(problem, solution).uses : [];
  return {
    id: record.id,
    state: record.state,
    createdAtMs: record.createdAt,
    activatedAtMs: record.activatedAt ?? null,
    trigger: record.trigger,
    status: solution.status,
    objective: solution.objective,
    bound: solution.bound,
    gap: solution.gap,
    solveMs: Math.round(solution.seconds * 1000),
    method: solution.method,
    verified: record.verified,
    budgets: record.budgets,
    placements: [...placementsOf(record)].flatMap(([deviceId, variants]) =>
      variants.map((variantId) => ({ deviceId, variantId })),
    ),
    poweredOn: [...poweredOn(record)],
    routing: solution.routing.flatMap(({ k, d, v, m, rate }) => {
      const arc = arcs.find(d, v, k, m);
      const [each, device, variant] = [problem.classes[k], problem.devices[d], problem.variants[v]];
      if (arc === undefined || each === undefined || device === undefined || variant === undefined) return [];
      return [
        {
          classId: each.id,
          deviceId: device.id,
          variantId: variant.id,
          ratePerS: rate,
          quality: arc.quality,
          energyJ: arc.energy_J,
          latencyMs: arc.latency_s * 1000,
        },
      ];
    }),
    demand: problem.classes.map((each) => ({ classId: each.id, ratePerS: each.rate })),
    constraints: uses
      .filter((use) => use.group !== 'power' || record.budgets.fleetPowerW !== null)
      .map((use) => constraintView(record, use)),
    conflict: solution.conflict,
    relaxations: solution.relaxations,
    ...(solution.repairs === undefined ? {} : { repairs: solution.repairs }),
    explanation: solution.explanation,
  };
}

function constraintView(record: PlanRecord, use: ConstraintUse): PlanConstraint {
  return { ...use, binding: isBinding(use), price: priceOf(record, use) };
}

function priceOf({ problem, solution }: PlanRecord, use: ConstraintUse): number | null {
  const { prices } = solution;
  const k = String(problem.classes.findIndex(({ id }) => id === use.subject));
  const d = String(problem.devices.findIndex(({ id }) => id === use.subject));
  switch (use.group) {
    case 'power':
      return prices.power?.value ?? null;
    case 'latency':
      return prices.latency[k] ?? null;
    case 'energy':
      return prices.energy[k] ?? null;
    case 'util':
      return prices.util[d] ?? null;
    case 'demand':
    case 'slots':
    case 'memory':
    case 'devpower':
    case 'replicas':
    case 'variants':
    case 'move':
    case 'tail':
    case 'sitepower':
    case 'battery':
    case 'network':
      return null;
  }
}
