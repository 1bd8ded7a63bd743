/**
 * Rows of the exact model on routing and power: one function per constraint group, as docs/formulation.md lists them.
 */
import {
  addSlack,
  type ModelParts,
  putClass,
  putPowered,
  putShares,
  putSlack,
  rangeOf,
  rateOf,
} from './exact-parts.js';
import { batteryW, countOf, devicesBySite, modesOf } from './placement.js';
import type { ProblemArc } from './problem.js';

/** Copies and busy time of a device's modes: sum service * rate * f <= maxUtil * a. Physics: never left out. */
export function addUtilisation(parts: ModelParts): void {
  const { problem, builder } = parts;
  problem.devices.forEach((device, d) => {
    const range = rangeOf(parts, d);
    if (range.start === range.end) return;
    parts.powered[d]?.forEach((column, m) => {
      putShares(parts, range, (arc) => arc.service_s * rateOf(parts, arc), m);
      builder.put(column, -device.maxUtil);
      builder.closeRow(-Infinity, 0, `util:${d},${m}`);
    });
  });
}

/** sum_m a <= n for a device that has modes: each is in one of them at most. Physics: never left out. */
export function addModes(parts: ModelParts): void {
  parts.problem.devices.forEach(({ modes }, d) => {
    if (modes === undefined) return;
    putPowered(parts, d, 1);
    parts.builder.closeRow(-Infinity, countOf(parts.problem, d), `modes:${d}`);
  });
}

/** sum f <= 1: no more than the demand is served, whatever the floors. */
export function addServed(parts: ModelParts): void {
  parts.problem.classes.forEach((each, k) => {
    if (each.rate === 0) return;
    putClass(parts, k, () => 1);
    parts.builder.closeRow(-Infinity, 1, `served:${k}`);
  });
}

/** sum f >= minServed. */
export function addDemand(parts: ModelParts): void {
  parts.problem.classes.forEach((each, k) => {
    if (each.rate === 0 || each.minServed === 0) return;
    const slack = addSlack(parts, { group: 'demand', index: k }, { upper: each.minServed });
    putClass(parts, k, () => 1);
    putSlack(parts, slack, 1);
    parts.builder.closeRow(each.minServed, Infinity, `floor:${k}`);
  });
}

/** sum (value - limit) * f <= 0: the mean of `value` over the served requests of a class is at most `limit`. */
function addMean(
  parts: ModelParts,
  group: 'latency' | 'energy',
  k: number,
  limit: number,
  value: (arc: ProblemArc) => number,
): void {
  const { starts, order } = parts.byClass;
  let most = 0;
  for (let p = starts[k] ?? 0; p < (starts[k + 1] ?? 0); p++) {
    const arc = parts.arcs[order[p] ?? -1];
    if (arc !== undefined) most = Math.max(most, value(arc) - limit);
  }
  // No arc is above the limit, so no mean can be.
  if (most === 0) return;
  const slack = addSlack(parts, { group, index: k }, { upper: most });
  putClass(parts, k, (arc) => value(arc) - limit);
  putSlack(parts, slack, -1);
  parts.builder.closeRow(-Infinity, 0, `${group}:${k}`);
}

export function addLatency(parts: ModelParts): void {
  parts.problem.classes.forEach((each, k) => {
    if (each.rate > 0) addMean(parts, 'latency', k, each.sloMean_s, (arc) => arc.latency_s);
  });
}

export function addEnergy(parts: ModelParts): void {
  parts.problem.classes.forEach((each, k) => {
    const limit = each.maxEnergy_J;
    if (each.rate > 0 && limit !== null && limit !== undefined) {
      addMean(parts, 'energy', k, limit, (arc) => arc.energy_J);
    }
  });
}

/** Puts idle * a + energy * rate * f of a device. */
function putDraw(parts: ModelParts, d: number): void {
  const device = parts.problem.devices[d];
  if (device === undefined) return;
  modesOf(device).forEach(({ idleW }, m) => parts.builder.put(parts.powered[d]?.[m] ?? -1, idleW));
  putShares(parts, rangeOf(parts, d), (arc) => arc.energy_J * rateOf(parts, arc));
}

/** baseW + sum idle * a + sum energy * rate * f <= powerW. */
export function addPower(parts: ModelParts): void {
  const { budgets, devices } = parts.problem;
  const base = budgets.baseW ?? 0;
  const slack = addSlack(parts, { group: 'power', index: undefined }, { upper: base + fullPowerW(parts) });
  for (let d = 0; d < devices.length; d++) putDraw(parts, d);
  putSlack(parts, slack, -1);
  parts.builder.closeRow(-Infinity, budgets.powerW - base, 'power');
}

/** The same over the devices of each site that has a cap. */
export function addSitePower(parts: ModelParts): void {
  const members = devicesBySite(parts.problem);
  parts.problem.sites?.forEach(({ powerW }, s) => {
    if (powerW === undefined || powerW === null) return;
    const slack = addSlack(parts, { group: 'sitepower', index: s }, { upper: fullPowerW(parts) });
    for (const d of members[s] ?? []) putDraw(parts, d);
    putSlack(parts, slack, -1);
    parts.builder.closeRow(-Infinity, powerW, `sitepower:${s}`);
  });
}

/** idle * a + sum energy * rate * f <= cap * a for each mode that has a cap. */
export function addDevicePower(parts: ModelParts): void {
  const { problem } = parts;
  const isElastic = parts.change.elastic?.has('devpower') === true;
  problem.devices.forEach((device, d) => {
    modesOf(device).forEach(({ idleW, powerCapW }, m) => {
      if (powerCapW === null) return;
      const bound = { group: 'devpower', index: d, ...(device.modes === undefined ? {} : { m }) } as const;
      const slack = isElastic ? addSlack(parts, bound, { upper: fullPowerW(parts) }) : undefined;
      putModeDraw(parts, { d, m }, idleW - powerCapW);
      putSlack(parts, slack, -1);
      parts.builder.closeRow(-Infinity, 0, `devpower:${d},${m}`);
    });
  });
}

/** idle * a + sum energy * rate * f <= battery / horizon * a, in W, for each mode of a device on a battery. */
export function addBattery(parts: ModelParts): void {
  const { problem } = parts;
  const isElastic = parts.change.elastic?.has('battery') === true;
  problem.devices.forEach((device, d) => {
    const cap = batteryW(problem, device);
    if (cap === undefined) return;
    const scale = problem.budgets.horizon_s ?? 1;
    const bound = { group: 'battery', index: d } as const;
    const slack = isElastic ? addSlack(parts, bound, { upper: fullPowerW(parts), scale }) : undefined;
    modesOf(device).forEach(({ idleW }, m) => {
      putModeDraw(parts, { d, m }, idleW - cap);
      putSlack(parts, slack, -1);
      parts.builder.closeRow(-Infinity, 0, `battery:${d},${m}`);
    });
  });
}

function putModeDraw(parts: ModelParts, { d, m }: { d: number; m: number }, perDevice: number): void {
  parts.builder.put(parts.powered[d]?.[m] ?? -1, perDevice);
  putShares(parts, rangeOf(parts, d), (arc) => arc.energy_J * rateOf(parts, arc), m);
}

/** sum requestBits * rate * f <= networkBps for each site whose uplink has a capacity. */
export function addNetwork(parts: ModelParts): void {
  const { problem } = parts;
  const members = devicesBySite(problem);
  const traffic = (arc: ProblemArc) => (problem.classes[arc.k]?.requestBits ?? 0) * rateOf(parts, arc);
  const most = problem.classes.reduce((total, each) => total + (each.requestBits ?? 0) * each.rate, 0);
  problem.sites?.forEach(({ networkBps }, s) => {
    if (networkBps === undefined || networkBps === null) return;
    const slack = addSlack(parts, { group: 'network', index: s }, { upper: most });
    for (const d of members[s] ?? []) putShares(parts, rangeOf(parts, d), traffic);
    putSlack(parts, slack, -1);
    parts.builder.closeRow(-Infinity, networkBps, `network:${s}`);
  });
}

/** No plan can draw more: everything on, all demand on the costliest arcs. O(arcs). */
function fullPowerW({ problem, arcs }: ModelParts): number {
  const worst = new Float64Array(problem.classes.length);
  for (const arc of arcs) worst[arc.k] = Math.max(worst[arc.k] ?? 0, arc.energy_J);
  const idle = problem.devices.reduce((total, device, d) => {
    return total + Math.max(...modesOf(device).map(({ idleW }) => idleW)) * countOf(problem, d);
  }, 0);
  return idle + problem.classes.reduce((total, each, k) => total + each.rate * (worst[k] ?? 0), 0);
}
