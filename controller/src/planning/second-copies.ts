import { countOf, type Placement } from '../optimiser/placement.js';
import { movedGiB } from '../optimiser/objective.js';
import type { PlacementProblem } from '../optimiser/problem.js';
import { verifyPlacement } from '../optimiser/verify.js';

/** Whether a copy costs a device nothing beside what it hosts (`hosted`); all by their indices in the problem. */
export type IsCostless = (d: number, v: number, hosted: readonly number[]) => boolean;

interface Candidate {
  readonly d: number;
  readonly v: number;
  readonly isHeld: boolean;
  /** Requests/s that the plan sends to the variant. */
  readonly rate: number;
  /** Of those requests here, the mean, s. */
  readonly service: number;
}

/**
 * Puts a second copy of variants that one device alone answers planned demand with into memory and slots that are left on
 * other devices that are on, so that an answer whose device is lost goes on token for token.
 *
 * The objective and routing stay what they are, and so does the plan where the whole would not verify. Copies that are
 * there come first, so that the same plan asked for twice moves nothing; then variants with most demand, each on the
 * device that answers it fastest. O(arcs + candidates log candidates).
 */
export function secondCopies(problem: PlacementProblem, plan: Placement, isCostless: IsCostless): Placement {
  const on = new Set(plan.poweredOn.map(([d]) => d).filter((d) => countOf(problem, d) === 1));
  const hosted = new Map<number, number[]>();
  for (const [d, v] of plan.placement) hosted.set(d, [...(hosted.get(d) ?? []), v]);
  const hasRoom = (d: number, v: number): boolean => {
    const there = hosted.get(d) ?? [];
    const device = problem.devices[d];
    if (device === undefined || there.includes(v) || there.length >= device.slots) return false;
    const memGiB = [...there, v].reduce((sum, one) => sum + (problem.variants[one]?.memGiB ?? 0), 0);
    return memGiB <= device.memGiB && isCostless(d, v, there);
  };
  let left = (problem.budgets.moveGiB ?? Infinity) - movedGiB(problem, plan.placement);
  const doubled = new Set<number>();
  const added: Placement['placement'][number][] = [];
  for (const { d, v, isHeld } of candidatesOf(problem, plan)) {
    const moved = isHeld ? 0 : (problem.variants[v]?.memGiB ?? 0);
    if (doubled.has(v) || moved > left || !on.has(d) || !hasRoom(d, v)) continue;
    added.push([d, v, 1]);
    hosted.set(d, [...(hosted.get(d) ?? []), v]);
    doubled.add(v);
    left -= moved;
  }
  if (added.length === 0) return plan;
  const placement = [...plan.placement, ...added].sort(([d1, v1], [d2, v2]) => d1 - d2 || v1 - v2);
  const filled = { ...plan, placement };
  return verifyPlacement(problem, filled).ok ? filled : plan;
}

/** Every device that could answer, as well, what is asked of a variant that has one copy; in the order of choice. */
function candidatesOf(problem: PlacementProblem, plan: Placement): readonly Candidate[] {
  const copies = new Map<number, number>();
  for (const [, v, count] of plan.placement) copies.set(v, (copies.get(v) ?? 0) + count);
  const rates = new Map<string, number>();
  const total = new Map<number, number>();
  for (const { k, v, rate } of plan.routing) {
    if (copies.get(v) !== 1 || rate <= 0) continue;
    rates.set(`${v},${k}`, (rates.get(`${v},${k}`) ?? 0) + rate);
    total.set(v, (total.get(v) ?? 0) + rate);
  }
  const held = new Set(problem.current.map(([d, v]) => `${d},${v}`));
  const found = new Map<string, Candidate>();
  for (const { d, v, k, service_s } of problem.arcs) {
    const rate = total.get(v);
    const share = (rates.get(`${v},${k}`) ?? 0) / (rate ?? 1);
    if (rate === undefined || share === 0) continue;
    const pair = `${d},${v}`;
    const service = (found.get(pair)?.service ?? 0) + share * service_s;
    found.set(pair, { d, v, isHeld: held.has(pair), rate, service });
  }
  return [...found.values()].sort(
    (a, b) => Number(b.isHeld) - Number(a.isHeld) || b.rate - a.rate || a.v - b.v || a.service - b.service || a.d - b.d,
  );
}
