/**
 * The routing of requests for a placement on many devices: devices of one pool that hold the same variants in the same
 * mode share their work in proportion to what each can do, so that one entry of the linear program stands for all.
 *
 * With equal devices nothing is lost by that (the program is convex). With different ones it is a restriction, exact in
 * its sums: all are equally busy, so a group's service time is the harmonic mean, its energy and latency the means
 * weighted by rate.
 */
import { arcIndexOf } from './arc-index.js';
import { meanArcs } from './mean-arcs.js';
import { countOf, pairKey, type Placement } from './placement.js';
import { type Prices, readPrices } from './prices.js';
import type { PlacementProblem } from './problem.js';
import { buildRoutingModel, readRouting, type RoutingModel } from './routing-lp.js';
import type { Hosting } from './spread.js';

interface Group {
  readonly members: number[];
  readonly variants: readonly (readonly [number, number])[];
  readonly modes: readonly (readonly [number, number])[];
  on: number;
}

export interface GroupRouting {
  readonly model: RoutingModel;
  /** One entry per group of devices. */
  readonly problem: PlacementProblem;
  /** Requests/s by device at a point of the model. */
  read(point: Float64Array): Placement['routing'];
  /** Prices by the original's indices. */
  prices(point: Float64Array, duals: Float64Array): Prices;
}

/** `poolOf`: devices of different pools are never grouped; without it every device is a group of its own. */
export function groupRouting(problem: PlacementProblem, hosting: Hosting, poolOf?: readonly number[]): GroupRouting {
  const groups = groupsOf(problem, hosting, poolOf);
  const grouped = groupedProblem(problem, groups);
  const model = buildRoutingModel(grouped, {
    placement: groups.flatMap(({ variants, members }, g) =>
      variants.map(([v, copies]) => [g, v, copies * members.length] as const),
    ),
    poweredOn: groups.map(({ on }, g) => [g, on] as const),
    modes: groups.flatMap(({ modes, members }, g) => modes.map(([m, on]) => [g, m, on * members.length] as const)),
  });
  return {
    model,
    problem: grouped,
    read: (point) => readRouting(model, grouped, point).flatMap((flow) => shared(problem, groups[flow.d], flow)),
    prices: (point, duals) => {
      const prices = readPrices(grouped, model, point, duals);
      const util = groups.flatMap(({ members, on }, g) =>
        members.map((d) => [String(d), ((prices.util[String(g)] ?? 0) * (on / members.length)) / on] as const),
      );
      return { ...prices, util: Object.fromEntries(util) };
    },
  };
}

function groupsOf(problem: PlacementProblem, hosting: Hosting, poolOf: readonly number[] | undefined): Group[] {
  const variants = new Map<number, [number, number][]>();
  for (const [d, v, copies] of hosting.placement) {
    const own = variants.get(d);
    if (own === undefined) variants.set(d, [[v, copies]]);
    else own.push([v, copies]);
  }
  const workOf = workSignature(problem);
  const modes = new Map<number, [number, number][]>();
  for (const [d, m, on] of hosting.modes ?? []) modes.set(d, [...(modes.get(d) ?? []), [m, on]]);
  const groups = new Map<string, Group>();
  for (const [d, on] of hosting.poweredOn) {
    const own = (variants.get(d) ?? []).sort(([v1], [v2]) => v1 - v2);
    const isSingle = countOf(problem, d) === 1 && poolOf !== undefined;
    const key = isSingle
      ? `${poolOf[d]}|${own.map(([v, copies]) => `${copies}x${workOf(d, v)}`).join(';')}|${(modes.get(d) ?? []).join(';')}`
      : `device ${d}`;
    const known = groups.get(key);
    if (known === undefined) groups.set(key, { members: [d], variants: own, modes: modes.get(d) ?? [], on });
    else {
      known.members.push(d);
      known.on += on;
    }
  }
  return [...groups.values()];
}

/** What a copy may do on a device: equal for devices that may serve the same classes with it, in the same modes. */
function workSignature(problem: PlacementProblem): (d: number, v: number) => string {
  const index = arcIndexOf(problem);
  const known = new Map<number, string>();
  return (d, v) => {
    const template = index.template(d);
    const pair = pairKey(problem, template, v);
    const found = known.get(pair);
    if (found !== undefined) return found;
    const classes = index.ofPair(template, v).map(({ k, m = 0 }) => `${k}.${m}`);
    const signature = `${v}:${classes.join(',')}`;
    known.set(pair, signature);
    return signature;
  };
}

function groupedProblem(problem: PlacementProblem, groups: readonly Group[]): PlacementProblem {
  const devices = groups.flatMap(({ members, on }) => {
    const device = problem.devices[members[0] ?? -1];
    if (device === undefined) return [];
    const { like: _like, ...rest } = device;
    const count = members.length === 1 ? countOf(problem, members[0] ?? -1) : on;
    const idleW = members.reduce((sum, d) => sum + (problem.devices[d]?.idleW ?? 0), 0) / members.length;
    return [{ ...rest, count, idleW }];
  });
  const arcs = groups.flatMap(({ members, variants }, g) =>
    variants.flatMap(([v]) => meanArcs(problem, members, v).map((arc) => ({ ...arc, d: g }))),
  );
  return { ...problem, devices, arcs, current: [] };
}

/** A group's requests over its devices: to each in proportion to how many it can serve in the same time. */
function shared(
  problem: PlacementProblem,
  group: Group | undefined,
  flow: Placement['routing'][number],
): Placement['routing'][number][] {
  if (group === undefined) return [];
  const { members } = group;
  if (members.length === 1) return [{ ...flow, d: members[0] ?? -1 }];
  const index = arcIndexOf(problem);
  const bases = new Map<number, number>();
  const speeds = members.map((d) => {
    const template = index.template(d);
    const base = bases.get(template) ?? index.find(template, flow.v, flow.k, flow.m)?.service_s ?? Infinity;
    bases.set(template, base);
    return 1 / (base * (problem.devices[d]?.like?.slowness ?? 1));
  });
  const total = speeds.reduce((sum, speed) => sum + speed, 0);
  return members.map((d, i) => ({ ...flow, d, rate: (flow.rate * (speeds[i] ?? 0)) / total }));
}
