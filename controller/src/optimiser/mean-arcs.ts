/**
 * The mean of several devices that share work so that all are equally busy: exact in its sums. Service time is the
 * harmonic mean; quality, energy and latency are weighted by the rate at which each device serves.
 */
import { arcIndexOf } from './arc-index.js';
import { countOf } from './placement.js';
import type { PlacementProblem, ProblemArc } from './problem.js';

/** Devices that have the arcs of one template, scaled: sums over them of what the mean needs. */
interface Share {
  readonly arcs: readonly ProblemArc[];
  count: number;
  /** Sum of 1 / slowness. */
  speed: number;
  /** Sum of hunger / slowness. */
  energy: number;
  slowest: number;
  /** Position in `arcs` while all lists are read side by side. */
  at: number;
}

/**
 * Arcs of the mean device, all of them or those of one variant; what one device may not do, the mean device does not.
 * O(devices + arcs of their templates).
 */
export function meanArcs(problem: PlacementProblem, devices: readonly number[], v?: number): ProblemArc[] {
  const index = arcIndexOf(problem);
  const own = (d: number) => (v === undefined ? index.of(d) : index.ofPair(d, v));
  if (devices.length === 1) return own(devices[0] ?? -1);
  const shares = new Map<number, Share>();
  for (const d of devices) {
    const template = index.template(d);
    const share = shares.get(template) ?? { arcs: own(template), count: 0, speed: 0, energy: 0, slowest: 0, at: 0 };
    shares.set(template, share);
    const { slowness, hunger } = problem.devices[d]?.like ?? { slowness: 1, hunger: 1 };
    const units = countOf(problem, d);
    share.count += units;
    share.speed += units / slowness;
    share.energy += (units * hunger) / slowness;
    share.slowest = Math.max(share.slowest, slowness);
  }
  const all = [...shares.values()];
  return (all[0]?.arcs ?? []).flatMap((arc) => meanArc(arc, all) ?? []);
}

/** The mean of one arc; undefined where a device has none. Has to be asked in the arcs' order. */
function meanArc(arc: ProblemArc, shares: readonly Share[]): ProblemArc | undefined {
  let [count, rate, quality, energy, latency] = [0, 0, 0, 0, 0];
  // Unknown only where it is unknown of all: one device that is known to break a bound breaks it for the mean.
  let p95: number | undefined;
  for (const share of shares) {
    while (share.at < share.arcs.length && compareArcs(share.arcs[share.at] ?? arc, arc) < 0) share.at++;
    const own = share.arcs[share.at];
    if (own === undefined || compareArcs(own, arc) !== 0) return undefined;
    const served = share.speed / own.service_s;
    count += share.count;
    rate += served;
    quality += served * own.quality;
    energy += (share.energy / own.service_s) * own.energy_J;
    latency += (share.count / own.service_s) * own.latency_s;
    if (own.p95_s !== undefined) p95 = Math.max(p95 ?? 0, own.p95_s * share.slowest);
  }
  const mean = {
    ...arc,
    quality: quality / rate,
    service_s: count / rate,
    energy_J: energy / rate,
    latency_s: latency / rate,
  };
  return p95 === undefined ? mean : { ...mean, p95_s: p95 };
}

const compareArcs = (a: ProblemArc, b: ProblemArc): number => a.v - b.v || a.k - b.k || (a.m ?? 0) - (b.m ?? 0);
