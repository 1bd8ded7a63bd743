/**
 * What a plan uses of the bounds of prompt classes: one named function per constraint.
 */
import { arcIndexOf } from './arc-index.js';
import { bucketed, positions } from './buckets.js';
import { countOf, pairKey } from './placement.js';
import type { ConstraintUse } from './plan.js';
import type { PlanUse } from './plan-use.js';
import type { PlacementProblem, ProblemArc } from './problem.js';

/** Sum of a figure over the flows of each class. */
function sums({ problem, flows }: PlanUse, value: (arc: ProblemArc) => number): Float64Array {
  const totals = new Float64Array(problem.classes.length);
  for (const { arc, rate } of flows) totals[arc.k] = (totals[arc.k] ?? 0) + value(arc) * rate;
  return totals;
}

/** Served share of each class against its floor. Classes without demand have nothing to serve. */
export function demandUses(use: PlanUse): ConstraintUse[] {
  const served = sums(use, () => 1);
  return use.problem.classes.flatMap((each, k) => {
    if (each.rate === 0) return [];
    const used = (served[k] ?? 0) / each.rate;
    return [{ group: 'demand', subject: each.id, used, limit: each.minServed, unit: 'served share' } as const];
  });
}

/** Mean of a figure over the served requests of each class; undefined when none is served. */
function means(use: PlanUse, value: (arc: ProblemArc) => number): (number | undefined)[] {
  const [served, totals] = [sums(use, () => 1), sums(use, value)];
  return [...served].map((rate, k) => (rate > 0 ? (totals[k] ?? 0) / rate : undefined));
}

/** Mean latency of the served requests of each class. */
export function latencyUses(use: PlanUse): ConstraintUse[] {
  const latencies = means(use, (arc) => arc.latency_s);
  return use.problem.classes.flatMap((each, k) => {
    const used = latencies[k];
    if (used === undefined) return [];
    return [{ group: 'latency', subject: each.id, used, limit: each.sloMean_s, unit: 's' } as const];
  });
}

/** The worst 95th percentile of the latency on any arc that a class uses. */
export function tailUses({ problem, flows }: PlanUse): ConstraintUse[] {
  const worst = new Float64Array(problem.classes.length).fill(-1);
  for (const { arc, rate } of flows) {
    if (rate > 0 && arc.p95_s !== undefined) worst[arc.k] = Math.max(worst[arc.k] ?? -1, arc.p95_s);
  }
  return problem.classes.flatMap((each, k) => {
    const [used, limit] = [worst[k] ?? -1, each.sloP95_s];
    if (used < 0 || limit === undefined || limit === null) return [];
    return [{ group: 'tail', subject: each.id, used, limit, unit: 's' } as const];
  });
}

/** Mean energy above idle of the served requests of each class that has such a bound. */
export function energyUses(use: PlanUse): ConstraintUse[] {
  const energies = means(use, (arc) => arc.energy_J);
  return use.problem.classes.flatMap((each, k) => {
    const [used, limit] = [energies[k], each.maxEnergy_J];
    if (used === undefined || limit === undefined || limit === null) return [];
    return [{ group: 'energy', subject: each.id, used, limit, unit: 'J' } as const];
  });
}

/** Distinct devices, and distinct sites, that host a variant fit for each class. */
export function replicaUses(use: PlanUse): ConstraintUse[] {
  const { classes } = use.problem;
  if (classes.every(({ minReplicas, minSites = 0 }) => minReplicas === 0 && minSites === 0)) return [];
  const { devices, sites } = hosting(use);
  return classes.flatMap((each, k) => {
    const [subject, minSites] = [each.id, each.minSites ?? 0];
    const uses: ConstraintUse[] = [];
    if (each.minReplicas > 0) {
      uses.push({ group: 'replicas', subject, used: devices[k] ?? 0, limit: each.minReplicas, unit: 'replicas' });
    }
    if (minSites > 0) uses.push({ group: 'replicas', subject, used: sites[k] ?? 0, limit: minSites, unit: 'sites' });
    return uses;
  });
}

/**
 * Devices and sites that host for each class. A site counts once, however many of its devices host; every device
 * without a site is a site of its own. O(copies * classes).
 */
function hosting({ problem, plan: { placement }, powered }: PlanUse): { devices: Float64Array; sites: Float64Array } {
  const size = problem.classes.length;
  const devices = new Float64Array(size);
  const sites = new Float64Array(size);
  const seen = new Uint8Array((problem.sites?.length ?? 0) * size);
  const tailOf = leastTails(problem);
  const bounds = Float64Array.from(problem.classes, ({ sloP95_s }) => sloP95_s ?? Number.MAX_VALUE);
  const fitting = new Float64Array(size);
  const { starts, order } = bucketed(
    positions(placement.length),
    problem.devices.length,
    (i) => placement[i]?.[0] ?? 0,
  );
  for (const [d, { site, like }] of problem.devices.entries()) {
    if (starts[d] === starts[d + 1]) continue;
    fitting.fill(0);
    for (const i of order.subarray(starts[d], starts[d + 1])) {
      const [, v, count] = placement[i] ?? [d, -1, 0];
      tailOf(d, v).forEach((tail, k) => {
        if (tail * (like?.slowness ?? 1) <= (bounds[k] ?? 0)) fitting[k] = (fitting[k] ?? 0) + count;
      });
    }
    for (let k = 0; k < size; k++) {
      const hosts = Math.min(fitting[k] ?? 0, powered[d] ?? 0, countOf(problem, d));
      if (hosts === 0) continue;
      devices[k] = (devices[k] ?? 0) + hosts;
      if (site === undefined) sites[k] = (sites[k] ?? 0) + hosts;
      else if (seen[site * size + k] === 0) {
        seen[site * size + k] = 1;
        sites[k] = (sites[k] ?? 0) + 1;
      }
    }
  }
  return { devices, sites };
}

/**
 * Least 95th percentile in any mode, s by class, of the arcs of a device and variant before likeness is applied: 0 where
 * unknown, Infinity without an arc. Devices that are alike share the answer.
 */
function leastTails(problem: PlacementProblem): (d: number, v: number) => Float64Array {
  const arcs = arcIndexOf(problem);
  const byPair = new Map<number, Float64Array>();
  return (d, v) => {
    const key = pairKey(problem, arcs.template(d), v);
    const known = byPair.get(key);
    if (known !== undefined) return known;
    const least = new Float64Array(problem.classes.length).fill(Infinity);
    for (const { k, p95_s = 0 } of arcs.ofPair(arcs.template(d), v)) least[k] = Math.min(least[k] ?? 0, p95_s);
    byPair.set(key, least);
    return least;
  };
}
