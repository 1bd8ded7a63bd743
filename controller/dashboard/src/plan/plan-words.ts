/** What a plan says, in words. Pure. */
import type { PlanConstraint, PlanView } from '@fleetgate/shared/api/operations';

import { number, percent, quantity } from '../format.js';

const GROUPS: Readonly<Record<string, string>> = {
  power: 'Fleet power',
  devpower: 'Device power',
  latency: 'Mean latency',
  energy: 'Energy per request',
  demand: 'Demand served',
  util: 'Busy time',
  slots: 'Slots',
  memory: 'Memory',
  replicas: 'Replicas',
  variants: 'Variants served',
  move: 'Bytes moved',
};

export function groupTitle(group: string): string {
  return GROUPS[group] ?? group;
}

export function constraintTitle(constraint: PlanConstraint): string {
  const title = groupTitle(constraint.group);
  return constraint.subject === '' ? title : `${title}, ${constraint.subject}`;
}

/** Bounds from below: the plan must reach the limit, not stay under it. */
export function isFloor(group: string): boolean {
  return group === 'demand' || group === 'replicas';
}

/** Share of the gauge that is filled, and where its mark stands, both 0..1. */
export function gauge(constraint: PlanConstraint): { readonly fill: number; readonly mark: number } {
  const { used, limit } = constraint;
  const full = isFloor(constraint.group) ? Math.max(used, limit) : limit;
  const share = (value: number): number => (full > 0 ? Math.min(1, Math.max(0, value / full)) : value > 0 ? 1 : 0);
  return { fill: share(used), mark: share(limit) };
}

/** Binding bounds first, then by how much of the bound is used. */
export function byTightness(constraints: readonly PlanConstraint[]): readonly PlanConstraint[] {
  const used = (constraint: PlanConstraint): number =>
    isFloor(constraint.group)
      ? // A floor that is passed matters less than a ceiling as near.
        constraint.limit / Math.max(constraint.used, 1e-9) - 0.5
      : constraint.used / Math.max(constraint.limit, 1e-9);
  return [...constraints].sort(
    (a, b) => Number(b.binding) - Number(a.binding) || (b.price ?? 0) - (a.price ?? 0) || used(b) - used(a),
  );
}

/** A step of a bound that a person would try, by its unit. */
const STEPS: Readonly<Record<string, number>> = {
  W: 1,
  J: 1,
  ms: 100,
  s: 0.1,
  GiB: 0.25,
  ratio: 0.01,
  'served share': 0.01,
  'busy share': 0.01,
  '': 1,
};

/**
 * What loosening a bound would buy: `+1 W would buy 0.6 points`. Null when the price is unknown or next to nothing.
 * Prices hold for small changes only, so the step grows at most a hundredfold to reach a figure worth reading.
 */
export function priceSentence(constraint: PlanConstraint): string | null {
  if (constraint.price === null) return null;
  const price = Math.abs(constraint.price);
  let step = STEPS[constraint.unit] ?? Math.max(constraint.limit * 0.01, 1e-9);
  for (let tries = 0; price * step < 0.05 && tries < 2; tries += 1) step *= 10;
  const points = price * step;
  if (points < 0.005) return null;
  const sign = isFloor(constraint.group) ? '−' : '+';
  const shown = number(points)
    .replace(/(\.\d*?)0+$/, '$1')
    .replace(/\.$/, '');
  return `${sign}${trim(quantity(step, constraint.unit))} would buy ${shown} ${shown === '1' ? 'point' : 'points'}`;
}

/** `1.00 W` -> `1 W`. */
function trim(text: string): string {
  return text.replace(/(\.\d*?)0+(?=\s)/, '$1').replace(/\.(?=\s)/, '');
}

export function usedOfLimit(constraint: PlanConstraint): string {
  const used = quantity(constraint.used, constraint.unit);
  const limit = quantity(constraint.limit, constraint.unit);
  return isFloor(constraint.group) ? `${used}, at least ${limit}` : `${used} of ${limit}`;
}

/** How close the plan is to the best there can be. */
export function proofSentence(plan: PlanView): string {
  if (plan.objective === null) return 'No placement was found.';
  if (plan.status === 'optimal' && (plan.gap === null || plan.gap < 5e-5)) return 'Proven best.';
  if (plan.gap === null || plan.bound === null) return 'Best found; no bound is known.';
  return `At most ${percent(plan.gap)} below the best there can be (${number(plan.bound)}).`;
}
