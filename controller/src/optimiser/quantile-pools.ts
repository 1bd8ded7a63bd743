/**
 * Pools of devices that differ a little: of one kind (same memory, slots, site) and of like speed, energy and
 * idle power. A pool stands for its mean device, so its bound is not the fleet's: the certificate's prices are applied
 * to every device as it is.
 */
import { arcIndexOf } from './arc-index.js';
import { meanArcs } from './mean-arcs.js';
import { countOf } from './placement.js';
import { deviceKey, movesMatter, pooledDevice, type Pooling } from './pools.js';
import type { PlacementProblem, ProblemArc } from './problem.js';

/** A device as a point: logarithms of its service times, its energies and its idle power. */
type Traits = readonly [number, number, number];

/** At most about `most` pools; no more than a pool per kind when there are more kinds. O(arcs + devices log devices). */
export function quantilePools(problem: PlacementProblem, most: number): Pooling {
  const { kinds, traits } = kindsOf(problem);
  const members = split(kinds, traits, most);
  const poolOf: number[] = problem.devices.map(() => 0);
  members.forEach((devices, u) => {
    for (const d of devices) poolOf[d] = u;
  });
  const devices = members.map((pool) => {
    const total = pool.reduce((sum, d) => sum + countOf(problem, d), 0);
    const idleW = pool.reduce((sum, d) => sum + countOf(problem, d) * (problem.devices[d]?.idleW ?? 0), 0) / total;
    return { ...pooledDevice(problem, pool[0] ?? 0, pool), idleW };
  });
  return {
    problem: {
      ...problem,
      devices,
      arcs: members.flatMap((pool, u) => meanArcs(problem, pool).map((arc) => ({ ...arc, d: u }))),
      current: movesMatter(problem) ? problem.current.map(([d, v]) => [poolOf[d] ?? 0, v]) : [],
    },
    poolOf,
    members,
    isExact: false,
  };
}

function kindsOf(problem: PlacementProblem): { kinds: number[][]; traits: Traits[] } {
  const index = arcIndexOf(problem);
  const keyOf = deviceKey(problem);
  const reference = new Reference(problem);
  const kinds = new Map<string, number[]>();
  const traits = problem.devices.map((device, d): Traits => {
    // A device with a cap of its own is pooled only with its equals: a mean of caps is nobody's cap.
    const isCapped = device.powerCapW !== null || (device.battery_J ?? null) !== null || device.modes !== undefined;
    const { slowness, hunger } = device.like ?? { slowness: 1, hunger: 1 };
    const kind = isCapped ? `${keyOf(d)}|${index.template(d)},${slowness},${hunger}` : keyOf(d, 'room');
    const ofKind = kinds.get(kind);
    if (ofKind === undefined) kinds.set(kind, [d]);
    else ofKind.push(d);
    const [service, energy] = reference.traitsOf(index.template(d));
    return [service + Math.log(slowness), energy + Math.log(hunger), Math.log(device.idleW + 1e-3)];
  });
  return { kinds: [...kinds.values()], traits };
}

/** Mean service time and energy of every (variant, class, mode) over all devices: what a device is compared with. */
class Reference {
  readonly #problem: PlacementProblem;
  readonly #sums = new Map<number, { service: number; energy: number; count: number }>();
  readonly #known = new Map<number, readonly [number, number]>();

  constructor(problem: PlacementProblem) {
    this.#problem = problem;
    for (const arc of problem.arcs) {
      const key = this.#key(arc);
      const sum = this.#sums.get(key) ?? { service: 0, energy: 0, count: 0 };
      sum.service += Math.log(arc.service_s);
      sum.energy += Math.log(arc.energy_J + 1e-9);
      sum.count++;
      this.#sums.set(key, sum);
    }
  }

  /** Mean logarithm of how much longer and costlier requests are on a device than on the mean one. */
  traitsOf(d: number): readonly [number, number] {
    const known = this.#known.get(d);
    if (known !== undefined) return known;
    let [service, energy] = [0, 0];
    const arcs = arcIndexOf(this.#problem).of(d);
    for (const arc of arcs) {
      const sum = this.#sums.get(this.#key(arc));
      if (sum === undefined) continue;
      service += Math.log(arc.service_s) - sum.service / sum.count;
      energy += Math.log(arc.energy_J + 1e-9) - sum.energy / sum.count;
    }
    const traits = [service / Math.max(1, arcs.length), energy / Math.max(1, arcs.length)] as const;
    this.#known.set(d, traits);
    return traits;
  }

  #key({ v, k, m = 0 }: ProblemArc): number {
    return (m * this.#problem.variants.length + v) * this.#problem.classes.length + k;
  }
}

/** Halves at the median of its widest trait the pool that spreads most, until there are enough. */
function split(kinds: readonly (readonly number[])[], traits: readonly Traits[], most: number): number[][] {
  const pools = kinds.map((devices) => spreadOf([...devices], traits));
  while (pools.length < most) {
    let widest = 0;
    pools.forEach((pool, i) => {
      if (pool.weight > (pools[widest]?.weight ?? 0)) widest = i;
    });
    const pool = pools[widest];
    if (pool === undefined || pool.weight <= 0) break;
    const sorted = pool.devices.toSorted(
      (a, b) => (traits[a]?.[pool.trait] ?? 0) - (traits[b]?.[pool.trait] ?? 0) || a - b,
    );
    const middle = sorted.length >> 1;
    pools[widest] = spreadOf(sorted.slice(0, middle), traits);
    pools.push(spreadOf(sorted.slice(middle), traits));
  }
  return pools.map(({ devices }) => devices);
}

interface Spread {
  readonly devices: number[];
  /** Index of the trait with the largest variance. */
  readonly trait: 0 | 1 | 2;
  /** Sum of squares around the mean of that trait; 0 for devices that are alike. */
  readonly weight: number;
}

function spreadOf(devices: number[], traits: readonly Traits[]): Spread {
  const squares = ([0, 1, 2] as const).map((trait) => {
    const values = devices.map((d) => traits[d]?.[trait] ?? 0);
    const mean = values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
    return values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  });
  const [service = 0, energy = 0, idle = 0] = squares;
  const trait = service >= energy && service >= idle ? 0 : energy >= idle ? 1 : 2;
  const weight = Math.max(service, energy, idle);
  return { devices, trait, weight: weight > 1e-12 ? weight : 0 };
}
