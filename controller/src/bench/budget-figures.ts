/** Which budgets show the trade-off, and what a plan means in watts. Pure. */
import type { Budgets, PlanView } from '@fleetgate/shared/api/operations';

import { meanOf } from './distribution.js';

/** One point of the trade-off curve. */
export interface BudgetPoint {
  readonly name: string;
  /** Planned energy of a request above idle, mean over the planned demand. */
  readonly planJ: number;
  readonly objective: number | null;
  readonly joulesPerRequest: number;
  readonly tokensPerRequest: number;
  readonly bitsPerByte: number;
  /** Sum of what the devices report, mean over the run. */
  readonly reportedW: number;
  readonly placements: number;
  readonly experts: readonly string[];
}

/** Energy above idle of a request by class, as planned: mean over the class's routes. */
export function classEnergies(plan: PlanView): ReadonlyMap<string, number> {
  const energies = new Map<string, number>();
  for (const classId of new Set(plan.routing.map((route) => route.classId))) {
    energies.set(classId, meanEnergy(plan.routing.filter((route) => route.classId === classId)));
  }
  return energies;
}

/** Planned energy of a request, mean over `classes`, each counting the same. */
export function planEnergyJ(plan: PlanView, classes: readonly string[]): number {
  const energies = classEnergies(plan);
  return meanOf(classes.map((classId) => energies.get(classId) ?? NaN));
}

function meanEnergy(routes: PlanView['routing']): number {
  const rate = routes.reduce((sum, route) => sum + route.ratePerS, 0);
  return rate > 0 ? routes.reduce((sum, route) => sum + route.ratePerS * route.energyJ, 0) / rate : NaN;
}

/** `budgets` with the energy of a request bounded class by class. */
export function withClassEnergies(budgets: Budgets, energies: ReadonlyMap<string, number>): Budgets {
  const bounded = [...energies].map(
    ([classId, energyJ]) => [classId, { ...budgets.classes[classId], energyJ }] as const,
  );
  return { ...budgets, classes: { ...budgets.classes, ...Object.fromEntries(bounded) } };
}

/** `budgets` with each class's bound on the energy of a request, where it has one of its own, times `factor`. */
export function withRoom(budgets: Budgets, factor: number): Budgets {
  const classes = Object.entries(budgets.classes).map(([classId, own]) => {
    const { energyJ } = own;
    return [classId, energyJ === undefined || energyJ === null ? own : { ...own, energyJ: energyJ * factor }] as const;
  });
  return { ...budgets, classes: Object.fromEntries(classes) };
}

/** Energies `share` of the way from `low` to `high`, class by class. */
export function between(
  low: ReadonlyMap<string, number>,
  high: ReadonlyMap<string, number>,
  share: number,
): ReadonlyMap<string, number> {
  return new Map([...low].map(([classId, value]) => [classId, value + share * ((high.get(classId) ?? value) - value)]));
}

/** Equal whatever the order of keys; numbers as JSON gives them. */
export function sameBudgets(a: Budgets, b: Budgets): boolean {
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}:${canonical(entry)}`).join(',')}}`;
}
