/**
 * Devices that no plan can tell apart, as one entry with a count: the size of a linear program then depends on how many
 * kinds of devices there are, not on how many devices. Slots and memory become bounds on a pool's total, so that a bound
 * proven for pools holds for the devices; `spread.ts` goes back.
 */
import { arcIndexOf } from './arc-index.js';
import type { PlacementProblem, ProblemArc, ProblemDevice } from './problem.js';

export interface Pooling {
  /** The same fleet with one entry per pool. */
  readonly problem: PlacementProblem;
  /** Pool of each device entry of the original. */
  readonly poolOf: readonly number[];
  /** Device entries of each pool. */
  readonly members: readonly (readonly number[])[];
  /** Whether the devices of each pool are identical: then the pools' bound is the fleet's. */
  readonly isExact: boolean;
}

/** Pools of identical devices. O(arcs). */
export function exactPools(problem: PlacementProblem): Pooling {
  const { poolOf, members } = identicalDevices(problem);
  if (members.length === problem.devices.length && !problem.devices.some(({ like }) => like !== undefined)) {
    return { problem, poolOf, members, isExact: true };
  }
  return { problem: pooledProblem(problem, poolOf, members), poolOf, members, isExact: true };
}

/**
 * Pools of identical devices, numbered as in another pooling of nearly the same fleet, so that what is known by pool can
 * be used again. Undefined when a device is of no kind that the other has; kinds that have died out keep an empty place.
 */
export function poolsLike(problem: PlacementProblem, other: Pooling, original: PlacementProblem): Pooling | undefined {
  const kindOf = kindKey(problem);
  const known = kindKey(original);
  const [index, originals] = [arcIndexOf(problem), arcIndexOf(original)];
  const first = (u: number | undefined) => other.members[u ?? -1]?.[0] ?? -1;
  const byKey = new Map(other.members.map((_, u) => [known(first(u)), u]));
  const members: number[][] = other.members.map(() => []);
  const poolOf: number[] = [];
  for (let d = 0; d < problem.devices.length; d++) {
    const u = byKey.get(kindOf(d));
    // A hash may collide here too.
    const isKnown = problem.devices[d]?.like !== undefined || haveSameArcs(originals.of(first(u)), index.of(d));
    if (u === undefined || !isKnown) return undefined;
    poolOf.push(u);
    members[u]?.push(d);
  }
  if (members.some((devices) => devices.length === 0)) return undefined;
  return { problem: pooledProblem(problem, poolOf, members), poolOf, members, isExact: true };
}

function kindKey(problem: PlacementProblem): (d: number) => string {
  const index = arcIndexOf(problem);
  const keyOf = deviceKey(problem);
  return (d) => {
    const device = problem.devices[d];
    if (device === undefined) return '';
    return device.like === undefined ? `${keyOf(d)};${arcsHash(index.of(d))}` : `${keyOf(d)};${likeKey(device)}`;
  };
}

/** Which devices are identical, without the pooled problem. */
export function identicalDevices(problem: PlacementProblem): Pick<Pooling, 'poolOf' | 'members'> {
  const index = arcIndexOf(problem);
  const kindOf = kindKey(problem);
  const byKey = new Map<string, number[]>();
  const poolOf: number[] = [];
  const members: number[][] = [];
  problem.devices.forEach((device, d) => {
    const key = kindOf(d);
    const candidates = byKey.get(key) ?? [];
    // A hash may collide: only equal arcs make a pool.
    const pool = candidates.find(
      (u) => device.like !== undefined || haveSameArcs(index.of(members[u]?.[0] ?? -1), index.of(d)),
    );
    if (pool !== undefined) {
      members[pool]?.push(d);
      poolOf.push(pool);
      return;
    }
    byKey.set(key, [...candidates, members.length]);
    poolOf.push(members.length);
    members.push([d]);
  });
  return { poolOf, members };
}

/** Every entry as a pool of its own. */
export function noPools(problem: PlacementProblem): Pooling {
  const poolOf = problem.devices.map((_, d) => d);
  return { problem, poolOf, members: poolOf.map((d) => [d]), isExact: true };
}

/** Whether it matters where copies are now. */
export const movesMatter = ({ budgets, movePenaltyPerGiB }: PlacementProblem): boolean =>
  budgets.moveGiB !== null || movePenaltyPerGiB > 0;

/** Whether it matters in which site a device is. */
export function siteMatters(problem: PlacementProblem, s: number | undefined): boolean {
  if (s === undefined) return false;
  const site = problem.sites?.[s];
  const isBounded = (site?.powerW ?? null) !== null || (site?.networkBps ?? null) !== null;
  return isBounded || problem.classes.some(({ minSites = 0 }) => minSites > 0);
}

/** Everything about a device but its arcs, by device; `room`: without its idle power. */
export function deviceKey(problem: PlacementProblem): (d: number, what?: 'all' | 'room') => string {
  const held = new Map<number, number[]>();
  if (movesMatter(problem)) {
    for (const [d, v] of problem.current) held.set(d, [...(held.get(d) ?? []), v]);
  }
  return (d, what = 'all') => {
    const device = problem.devices[d];
    if (device === undefined) return '';
    const { memGiB, slots, maxUtil, idleW, powerCapW, battery_J, modes, site } = device;
    const own = held.get(d)?.toSorted((a, b) => a - b) ?? [];
    // Entries that hold something are merged only one by one: copies held per device are not known of a count.
    const count = own.length > 0 ? (device.count ?? 1) : 1;
    return JSON.stringify([
      memGiB,
      slots,
      maxUtil,
      what === 'all' ? idleW : null,
      powerCapW,
      battery_J ?? null,
      modes ?? null,
      siteMatters(problem, site) ? site : null,
      own,
      count,
    ]);
  };
}

const likeKey = ({ like }: ProblemDevice): string => `like ${like?.d},${like?.slowness},${like?.hunger}`;

/** FNV-1a over the figures' bits. */
function arcsHash(arcs: readonly ProblemArc[]): string {
  const figures = new Float64Array(8);
  const words = new Uint32Array(figures.buffer);
  let hash = 0x811c9dc5;
  for (const arc of arcs) {
    figures.set([arc.v, arc.k, arc.m ?? 0, arc.quality, arc.service_s, arc.energy_J, arc.latency_s, arc.p95_s ?? -1]);
    for (const word of words) hash = Math.imul(hash ^ word, 0x01000193);
  }
  return `${arcs.length},${hash >>> 0}`;
}

function haveSameArcs(a: readonly ProblemArc[], b: readonly ProblemArc[]): boolean {
  return (
    a.length === b.length &&
    a.every((arc, i) => {
      const other = b[i];
      return (
        other !== undefined &&
        arc.v === other.v &&
        arc.k === other.k &&
        (arc.m ?? 0) === (other.m ?? 0) &&
        arc.quality === other.quality &&
        arc.service_s === other.service_s &&
        arc.energy_J === other.energy_J &&
        arc.latency_s === other.latency_s &&
        arc.p95_s === other.p95_s
      );
    })
  );
}

function pooledProblem(
  problem: PlacementProblem,
  poolOf: readonly number[],
  members: readonly (readonly number[])[],
): PlacementProblem {
  const index = arcIndexOf(problem);
  const first = (u: number) => members[u]?.[0] ?? 0;
  return {
    ...problem,
    devices: members.map((devices, u) => pooledDevice(problem, first(u), devices)),
    arcs: members.flatMap((_, u) => index.of(first(u)).map((arc) => ({ ...arc, d: u }))),
    current: movesMatter(problem) ? problem.current.map(([d, v]) => [poolOf[d] ?? 0, v]) : [],
  };
}

/** The entry of a pool: its first device's, with the count of all. */
export function pooledDevice(problem: PlacementProblem, first: number, devices: readonly number[]): ProblemDevice {
  const device = problem.devices[first];
  if (device === undefined) throw new RangeError(`no device ${first}`);
  const { like: _like, site, ...rest } = device;
  const count = devices.reduce((sum, d) => sum + (problem.devices[d]?.count ?? 1), 0);
  return siteMatters(problem, site) && site !== undefined ? { ...rest, site, count } : { ...rest, count };
}
