/**
 * The rows of the exact model: one function per constraint group, as docs/formulation.md lists them.
 */
import type { LinearProgramBuilder, RowEntry } from './linear-program.js';
import { arcKey, countOf, pairKey } from './placement.js';
import type { ConstraintGroup } from './plan.js';
import type { PlacementProblem, ProblemArc } from './problem.js';

/** A slack column: by how much one bound is moved. */
export interface Slack {
  readonly group: ConstraintGroup;
  /** Index of the class or device; undefined for fleet-wide bounds. */
  readonly index: number | undefined;
  readonly column: number;
}

export interface ModelChange {
  readonly without?: ReadonlySet<ConstraintGroup>;
  readonly elastic?: ReadonlySet<ConstraintGroup>;
}

/** The model while it is built: its columns, and the arcs in the orders that rows need. */
export interface ModelParts {
  readonly problem: PlacementProblem;
  readonly builder: LinearProgramBuilder;
  readonly change: ModelChange;
  /** By pairKey. */
  readonly copies: Map<number, number>;
  readonly pairs: readonly { readonly d: number; readonly v: number; readonly key: number }[];
  readonly powered: readonly number[];
  readonly shares: Map<number, number>;
  readonly arcs: readonly ProblemArc[];
  readonly arcsByDevice: ReadonlyMap<number, readonly ProblemArc[]>;
  readonly arcsByClass: ReadonlyMap<number, readonly ProblemArc[]>;
  readonly slacks: Slack[];
}

export const isElastic = ({ change }: ModelParts): boolean => change.elastic !== undefined;

const rateOf = ({ problem }: ModelParts, arc: ProblemArc): number => problem.classes[arc.k]?.rate ?? 0;
export const shareOf = ({ problem, shares }: ModelParts, arc: ProblemArc): number | undefined =>
  shares.get(arcKey(problem, arc.d, arc.v, arc.k));

/** coefficient(arc) * share(arc), for the arcs that have a share. */
function shareEntries(
  parts: ModelParts,
  arcs: readonly ProblemArc[],
  coefficient: (arc: ProblemArc) => number,
): RowEntry[] {
  return arcs.flatMap((arc) => {
    const column = shareOf(parts, arc);
    return column === undefined ? [] : [[column, coefficient(arc)] as const];
  });
}

/** The slack entry of an elastic bound: added to what the row allows. */
function slackEntries(
  parts: ModelParts,
  group: ConstraintGroup,
  index: number | undefined,
  slack: SlackShape,
): RowEntry[] {
  if (parts.change.elastic?.has(group) !== true) return [];
  const column = parts.builder.addColumn({ cost: 1, upper: slack.upper, integer: slack.integer === true });
  parts.slacks.push({ group, index, column });
  return [[column, slack.sign]];
}
interface SlackShape {
  /** -1 widens an upper bound, 1 lowers a floor. */
  readonly sign: 1 | -1;
  readonly upper: number;
  readonly integer?: boolean;
}

const pairsOf = ({ pairs }: ModelParts, device: number) => pairs.filter(({ d }) => d === device);

/** sum_k service * rate * f <= maxUtil * x for each (d, v); the same over all v against a. Physics: never left out. */
export function addUtilisation(parts: ModelParts): void {
  const { problem, builder } = parts;
  for (const [d, arcs] of parts.arcsByDevice) {
    const maxUtil = problem.devices[d]?.maxUtil ?? 0;
    const busy = (arc: ProblemArc) => arc.service_s * rateOf(parts, arc);
    const byVariant = new Map<number, ProblemArc[]>();
    for (const arc of arcs) byVariant.set(arc.v, [...(byVariant.get(arc.v) ?? []), arc]);
    for (const [v, ofVariant] of byVariant) {
      const copies = parts.copies.get(pairKey(problem, d, v)) ?? 0;
      builder.addRow(-Infinity, 0, [...shareEntries(parts, ofVariant, busy), [copies, -maxUtil]]);
    }
    builder.addRow(-Infinity, 0, [...shareEntries(parts, arcs, busy), [parts.powered[d] ?? 0, -maxUtil]]);
  }
}

/** minServed <= sum f <= 1. */
export function addDemand(parts: ModelParts): void {
  parts.problem.classes.forEach((each, k) => {
    if (each.rate === 0) return;
    const served = shareEntries(parts, parts.arcsByClass.get(k) ?? [], () => 1);
    const slack = slackEntries(parts, 'demand', k, { sign: 1, upper: each.minServed });
    if (slack.length === 0) {
      parts.builder.addRow(each.minServed, 1, served);
    } else {
      parts.builder.addRow(each.minServed, Infinity, [...served, ...slack]);
      parts.builder.addRow(-Infinity, 1, served);
    }
  });
}

/** Without the floors, no more than the demand can be served all the same. */
export function addDemandCeiling(parts: ModelParts): void {
  parts.problem.classes.forEach((_, k) => {
    parts.builder.addRow(
      -Infinity,
      1,
      shareEntries(parts, parts.arcsByClass.get(k) ?? [], () => 1),
    );
  });
}

/** sum_v x <= slots * a. */
export function addSlots(parts: ModelParts): void {
  parts.problem.devices.forEach((device, d) => {
    const hosted = pairsOf(parts, d).map(({ key }) => [parts.copies.get(key) ?? 0, 1] as const);
    if (hosted.length === 0) return;
    const most = hosted.length * countOf(parts.problem, d);
    const slack = slackEntries(parts, 'slots', d, { sign: -1, upper: most, integer: true });
    parts.builder.addRow(-Infinity, 0, [...hosted, [parts.powered[d] ?? 0, -device.slots], ...slack]);
  });
}

/** sum_v mem * x <= memGiB * a. */
export function addMemory(parts: ModelParts): void {
  parts.problem.devices.forEach((device, d) => {
    const memory = (v: number) => parts.problem.variants[v]?.memGiB ?? 0;
    const pairs = pairsOf(parts, d);
    if (pairs.length === 0) return;
    const most = countOf(parts.problem, d) * pairs.reduce((total, { v }) => total + memory(v), 0);
    const slack = slackEntries(parts, 'memory', d, { sign: -1, upper: most });
    const hosted = pairs.map(({ v, key }) => [parts.copies.get(key) ?? 0, memory(v)] as const);
    parts.builder.addRow(-Infinity, 0, [...hosted, [parts.powered[d] ?? 0, -device.memGiB], ...slack]);
  });
}

/** sum (value - limit) * f <= 0: the mean of `value` over the served requests of a class is at most `limit`. */
function addMean(
  parts: ModelParts,
  group: 'latency' | 'energy',
  k: number,
  limit: number,
  value: (arc: ProblemArc) => number,
) {
  const arcs = (parts.arcsByClass.get(k) ?? []).filter((arc) => shareOf(parts, arc) !== undefined);
  const most = arcs.reduce((worst, arc) => Math.max(worst, value(arc) - limit), 0);
  const slack = most === 0 ? [] : slackEntries(parts, group, k, { sign: -1, upper: most });
  parts.builder.addRow(-Infinity, 0, [...shareEntries(parts, arcs, (arc) => value(arc) - limit), ...slack]);
}

export function addLatency(parts: ModelParts): void {
  parts.problem.classes.forEach((each, k) => addMean(parts, 'latency', k, each.sloMean_s, (arc) => arc.latency_s));
}

export function addEnergy(parts: ModelParts): void {
  parts.problem.classes.forEach((each, k) => {
    const limit = each.maxEnergy_J;
    if (limit !== null && limit !== undefined) addMean(parts, 'energy', k, limit, (arc) => arc.energy_J);
  });
}

const dynamicW = (parts: ModelParts, arcs: readonly ProblemArc[]): RowEntry[] =>
  shareEntries(parts, arcs, (arc) => arc.energy_J * rateOf(parts, arc));

/** baseW + sum idle * a + sum energy * rate * f <= powerW. */
export function addPower(parts: ModelParts): void {
  const { problem } = parts;
  const idle = problem.devices.map((device, d) => [parts.powered[d] ?? 0, device.idleW] as const);
  const base = problem.budgets.baseW ?? 0;
  const slack = slackEntries(parts, 'power', undefined, { sign: -1, upper: base + fullPowerW(parts) });
  parts.builder.addRow(-Infinity, problem.budgets.powerW - base, [...idle, ...dynamicW(parts, parts.arcs), ...slack]);
}

/** idle * a + sum energy * rate * f <= cap * a for each device that has a cap. */
export function addDevicePower(parts: ModelParts): void {
  parts.problem.devices.forEach((device, d) => {
    if (device.powerCapW === null) return;
    const slack = slackEntries(parts, 'devpower', d, { sign: -1, upper: fullPowerW(parts) });
    parts.builder.addRow(-Infinity, 0, [
      [parts.powered[d] ?? 0, device.idleW - device.powerCapW],
      ...dynamicW(parts, parts.arcsByDevice.get(d) ?? []),
      ...slack,
    ]);
  });
}

/** No plan can draw more: everything on, all demand on the costliest arcs. */
function fullPowerW({ problem }: ModelParts): number {
  const idle = problem.devices.reduce((total, device, d) => total + device.idleW * countOf(problem, d), 0);
  const worst = new Float64Array(problem.classes.length);
  for (const arc of problem.arcs) worst[arc.k] = Math.max(worst[arc.k] ?? 0, arc.energy_J);
  return idle + problem.classes.reduce((total, each, k) => total + each.rate * (worst[k] ?? 0), 0);
}

/** h <= a and h <= sum of fitting x, sum_d h >= minReplicas. */
export function addReplicas(parts: ModelParts): void {
  const { problem, builder } = parts;
  problem.classes.forEach((each, k) => {
    if (each.minReplicas === 0) return;
    const fitting = new Map<number, number[]>();
    for (const arc of parts.arcsByClass.get(k) ?? []) {
      const copies = parts.copies.get(pairKey(problem, arc.d, arc.v)) ?? 0;
      fitting.set(arc.d, [...(fitting.get(arc.d) ?? []), copies]);
    }
    const hosts: RowEntry[] = [];
    for (const [d, copies] of fitting) {
      // One fitting variant on one device: x itself says whether it hosts.
      if (copies.length === 1) {
        hosts.push([copies[0] ?? 0, 1]);
        continue;
      }
      const host = builder.addColumn({ upper: countOf(problem, d) });
      hosts.push([host, 1]);
      builder.addRow(-Infinity, 0, [[host, 1], ...copies.map((column) => [column, -1] as const)]);
      builder.addRow(-Infinity, 0, [
        [host, 1],
        [parts.powered[d] ?? 0, -1],
      ]);
    }
    const slack = slackEntries(parts, 'replicas', k, { sign: 1, upper: each.minReplicas, integer: true });
    builder.addRow(each.minReplicas, Infinity, [...hosts, ...slack]);
  });
}

/** x <= count * t, sum t <= maxVariants, and the strong row sum_d f <= t, which decides how fast this is solved. */
export function addVariants(parts: ModelParts): void {
  const { problem, builder } = parts;
  const most = problem.budgets.maxVariants;
  if (most === null) return;
  const listed = new Map<number, number>();
  for (const { d, v, key } of parts.pairs) {
    const column = listed.get(v) ?? builder.addColumn({ upper: 1, integer: true });
    listed.set(v, column);
    builder.addRow(-Infinity, 0, [
      [parts.copies.get(key) ?? 0, 1],
      [column, -countOf(problem, d)],
    ]);
  }
  const strong = new Map<string, RowEntry[]>();
  for (const arc of parts.arcs) {
    const share = shareOf(parts, arc);
    if (share === undefined) continue;
    const key = `${arc.v},${arc.k}`;
    const row = strong.get(key) ?? [[listed.get(arc.v) ?? 0, -1]];
    row.push([share, 1]);
    strong.set(key, row);
  }
  for (const row of strong.values()) builder.addRow(-Infinity, 0, row);
  const slack = slackEntries(parts, 'variants', undefined, { sign: -1, upper: listed.size, integer: true });
  builder.addRow(-Infinity, most, [...[...listed.values()].map((column) => [column, 1] as const), ...slack]);
}

/** z >= x - x0, sum mem * z <= moveGiB; every newly loaded GiB costs movePenaltyPerGiB points. */
export function addMove(parts: ModelParts): void {
  const { problem, builder } = parts;
  const budget = problem.budgets.moveGiB;
  const penalty = isElastic(parts) ? 0 : problem.movePenaltyPerGiB;
  if (budget === null && penalty === 0) return;
  const held = new Map<number, number>();
  for (const [d, v] of problem.current) {
    const key = pairKey(problem, d, v);
    held.set(key, (held.get(key) ?? 0) + 1);
  }
  const loads: RowEntry[] = [];
  let most = 0;
  for (const { d, v, key } of parts.pairs) {
    const memory = problem.variants[v]?.memGiB ?? 0;
    const fresh = builder.addColumn({ cost: -penalty * memory, upper: countOf(problem, d) });
    builder.addRow(-Infinity, held.get(key) ?? 0, [
      [parts.copies.get(key) ?? 0, 1],
      [fresh, -1],
    ]);
    loads.push([fresh, memory]);
    most += memory * countOf(problem, d);
  }
  if (budget === null) return;
  const slack = slackEntries(parts, 'move', undefined, { sign: -1, upper: most });
  builder.addRow(-Infinity, budget, [...loads, ...slack]);
}
