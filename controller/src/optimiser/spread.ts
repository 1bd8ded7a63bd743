/**
 * From pools back to devices: which of a pool's devices are on, in which mode, and which copies each of them holds.
 *
 * A pool's work is packed, not its copies: device after device is filled, work may be split over two (McNaughton 1959,
 * with a number of slots).
 * Copies that are held without work (replicas) go where there is room. What fits nowhere is left out: the routing that
 * follows makes do without it, and the objective counts what is really there.
 */
import { arcIndexOf } from './arc-index.js';
import { countOf, modesOf, type Placement } from './placement.js';
import type { Pooling } from './pools.js';
import type { PlacementProblem } from './problem.js';

/** Work below this share of a device is rounding. */
const WHOLE = 1e-7;

/** Placement without routing. */
export type Hosting = Pick<Placement, 'placement' | 'poweredOn' | 'modes'>;

/** One device of an entry. */
interface Unit {
  readonly d: number;
  readonly m: number;
  readonly variants: number[];
  /** Share of its time that is not spoken for. */
  freeTime: number;
  freeGiB: number;
}

/** `pooled`: a placement of the pools with its routing. */
export function spread(problem: PlacementProblem, pooling: Pooling, pooled: Placement): Hosting {
  const loads = loadsOf(pooling.problem, pooled);
  const copies = byPool(pooled.placement);
  const modes = byPool(pooled.modes ?? []);
  const placement: [number, number, number][] = [];
  const poweredOn: [number, number][] = [];
  const inMode: [number, number, number][] = [];
  for (const [u, on] of pooled.poweredOn) {
    const members = pooling.members[u] ?? [];
    const only = members[0];
    if (members.length === 1 && only !== undefined) {
      poweredOn.push([only, on]);
      for (const [v, count] of copies.get(u) ?? []) placement.push([only, v, count]);
      for (const [m, count] of modes.get(u) ?? []) inMode.push([only, m, count]);
      continue;
    }
    const modeOfUnits = modes.get(u)?.flatMap(([m, count]) => repeated(m, count));
    const units = unitsOn(problem, members, modeOfUnits ?? repeated(0, on));
    for (const [m, ofMode] of loads.get(u) ?? [])
      pack(
        problem,
        units.filter((unit) => unit.m === m),
        ofMode,
      );
    topUp(problem, units, copies.get(u) ?? []);
    collect(problem, units, { placement, poweredOn, inMode });
  }
  const hosting = { placement, poweredOn };
  return problem.devices.some((device) => device.modes !== undefined) ? { ...hosting, modes: inMode } : hosting;
}

function byPool(entries: readonly (readonly [number, number, number])[]): Map<number, [number, number][]> {
  const pools = new Map<number, [number, number][]>();
  for (const [u, i, count] of entries) {
    const known = pools.get(u);
    if (known === undefined) pools.set(u, [[i, count]]);
    else known.push([i, count]);
  }
  return pools;
}

/** Work by pool, mode and variant, in devices kept busy all the time that they may be. */
export function loadsOf(
  problem: PlacementProblem,
  { routing }: Pick<Placement, 'routing'>,
): Map<number, Map<number, Map<number, number>>> {
  const index = arcIndexOf(problem);
  const loads = new Map<number, Map<number, Map<number, number>>>();
  for (const { k, d, v, m = 0, rate } of routing) {
    const busy = (index.find(d, v, k, m)?.service_s ?? 0) * rate;
    const ofPool = loads.get(d) ?? new Map<number, Map<number, number>>();
    const ofMode = ofPool.get(m) ?? new Map<number, number>();
    ofMode.set(v, (ofMode.get(v) ?? 0) + busy / (problem.devices[d]?.maxUtil ?? 1));
    loads.set(d, ofPool.set(m, ofMode));
  }
  return loads;
}

/** The devices of a pool that are switched on: those that serve a request fastest and with the least energy first. */
function unitsOn(problem: PlacementProblem, members: readonly number[], modes: readonly number[]): Unit[] {
  const cost = (d: number) => {
    const device = problem.devices[d];
    return (device?.like?.slowness ?? 1) * (device?.like?.hunger ?? 1) + 1e-3 * (device?.idleW ?? 0);
  };
  const ranked = members.flatMap((d) => repeated(d, countOf(problem, d)));
  if (members.length > 1) ranked.sort((a, b) => cost(a) - cost(b) || a - b);
  return modes.flatMap((m, i) => {
    const d = ranked[i];
    const device = problem.devices[d ?? -1];
    return d === undefined || device === undefined ? [] : [{ d, m, variants: [], freeTime: 1, freeGiB: device.memGiB }];
  });
}

const repeated = (value: number, count: number): number[] => Array.from({ length: count }, () => value);

const memoryOf = (problem: PlacementProblem, v: number): number => problem.variants[v]?.memGiB ?? 0;

function hasRoom(problem: PlacementProblem, unit: Unit, v: number): boolean {
  const slots = problem.devices[unit.d]?.slots ?? 0;
  return unit.variants.length < slots && unit.freeGiB >= memoryOf(problem, v) - 1e-9 && !unit.variants.includes(v);
}

/** Gives a unit a copy and as much of the work as it has time for; returns what is left of the work. */
function give(problem: PlacementProblem, unit: Unit, v: number, work: number): number {
  const taken = Math.min(unit.freeTime, work);
  unit.variants.push(v);
  unit.freeTime -= taken;
  unit.freeGiB -= memoryOf(problem, v);
  return work - taken;
}

function pack(problem: PlacementProblem, units: readonly Unit[], loads: ReadonlyMap<number, number>): void {
  const rest = [...loads].map(([v, work]) => ({ v, work }));
  for (const unit of units) {
    const slots = problem.devices[unit.d]?.slots ?? 0;
    while (unit.freeTime > WHOLE) {
      const fitting = rest.filter(({ v, work }) => work > WHOLE && hasRoom(problem, unit, v));
      fitting.sort((a, b) => a.work - b.work);
      // What is less than a device goes in whole, the smallest first; the largest fills the last slot and the time left.
      const isLast = unit.variants.length >= slots - 1;
      const smallest = fitting[0];
      const item = isLast || (smallest?.work ?? 0) > unit.freeTime ? fitting.at(-1) : smallest;
      if (item === undefined) break;
      item.work = give(problem, unit, item.v, item.work);
    }
  }
}

/** Copies beyond those that work put somewhere: the largest variants first, where time and room are left. */
function topUp(
  problem: PlacementProblem,
  units: readonly Unit[],
  copies: readonly (readonly [number, number])[],
): void {
  const held = new Map<number, number>();
  for (const { variants } of units) for (const v of variants) held.set(v, (held.get(v) ?? 0) + 1);
  for (const [v, count] of copies.toSorted(([a], [b]) => memoryOf(problem, b) - memoryOf(problem, a) || a - b)) {
    let missing = count - (held.get(v) ?? 0);
    for (const unit of missing > 0 ? units.toSorted((a, b) => b.freeTime - a.freeTime) : []) {
      if (missing <= 0) break;
      if (!hasRoom(problem, unit, v)) continue;
      give(problem, unit, v, 0);
      missing--;
    }
  }
}

function collect(
  problem: PlacementProblem,
  units: readonly Unit[],
  into: { placement: [number, number, number][]; poweredOn: [number, number][]; inMode: [number, number, number][] },
): void {
  const copies = new Map<string, [number, number, number]>();
  const on = new Map<number, [number, number]>();
  const modes = new Map<string, [number, number, number]>();
  const add = <K, T extends number[]>(map: Map<K, T>, key: K, fresh: T) => {
    const known = map.get(key);
    if (known === undefined) map.set(key, fresh);
    else known[known.length - 1] = (known.at(-1) ?? 0) + 1;
  };
  for (const { d, m, variants } of units) {
    add(on, d, [d, 1]);
    if (problem.devices[d]?.modes !== undefined && m < modesOf(problem.devices[d]).length) {
      add(modes, `${d},${m}`, [d, m, 1]);
    }
    for (const v of variants) add(copies, `${d},${v}`, [d, v, 1]);
  }
  into.placement.push(...copies.values());
  into.poweredOn.push(...on.values());
  into.inMode.push(...modes.values());
}
