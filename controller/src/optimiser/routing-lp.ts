/**
 * The routing of requests for a fixed placement: a linear program whose duals are the prices of the budgets. Its rows
 * have the names of `certificate.ts`, with what the placement uses taken off their bounds.
 */
import { arcIndexOf } from './arc-index.js';
import { type Buckets, bucketed, positions } from './buckets.js';
import { type LinearProgram, LinearProgramBuilder } from './linear-program.js';
import { batteryW, devicesBySite, keepsTail, modesOf, type Placement, weightedRate } from './placement.js';
import { devicesInMode, sumOf } from './plan-use.js';
import type { PlacementProblem, ProblemArc } from './problem.js';

/** A row of busy time whose bound holds so many maxUtil. */
export interface UtilRow {
  readonly row: number;
  readonly copies: number;
}

export interface RoutingModel {
  readonly program: LinearProgram;
  /** Arcs in the order of the columns; a column is the share of the class's demand. */
  readonly arcs: readonly ProblemArc[];
  readonly rows: {
    readonly power: number;
    /** By class. */
    readonly latency: ReadonlyMap<number, number>;
    readonly energy: ReadonlyMap<number, number>;
    /** By device: a row for each of its variants and modes. */
    readonly util: ReadonlyMap<number, readonly UtilRow[]>;
  };
}

type Fixed = Pick<Placement, 'placement' | 'poweredOn' | 'modes'>;
type Coefficient = (arc: ProblemArc) => number;

/** A device with something on it, and the range of its arcs. */
interface Host {
  readonly d: number;
  /** Devices on, by mode. */
  readonly inMode: readonly number[];
  readonly start: number;
  readonly end: number;
  readonly variants: readonly {
    readonly v: number;
    readonly copies: number;
    readonly start: number;
    readonly end: number;
  }[];
}

interface Parts {
  readonly problem: PlacementProblem;
  readonly builder: LinearProgramBuilder;
  readonly arcs: readonly ProblemArc[];
  readonly hosts: readonly Host[];
  readonly byClass: Buckets;
  /** Requests/s at a share of 1. */
  readonly rate: Coefficient;
}

/**
 * Shares only on arcs whose copy is placed and whose mode is on. Its objective leaves out the move penalty, which is a
 * constant here. O(arcs of the placement), once the problem's arcs are indexed.
 */
export function buildRoutingModel(problem: PlacementProblem, fixed: Fixed): RoutingModel {
  const builder = new LinearProgramBuilder();
  const { arcs, hosts } = placedArcs(problem, fixed);
  const rate: Coefficient = (arc) => problem.classes[arc.k]?.rate ?? 0;
  const total = weightedRate(problem);
  for (const arc of arcs) {
    const weight = problem.classes[arc.k]?.weight ?? 0;
    builder.addColumn({ cost: total === 0 ? 0 : (1000 * weight * rate(arc) * arc.quality) / total, upper: 1 });
  }
  const byClass = bucketed(positions(arcs.length), problem.classes.length, (i) => arcs[i]?.k ?? 0);
  const parts: Parts = { problem, builder, arcs, hosts, byClass, rate };
  const rows = { ...addClassRows(parts), util: addDeviceRows(parts), power: addPowerRows(parts) };
  addNetworkRows(parts);
  return { program: builder.build('max'), arcs, rows };
}

function placedArcs(problem: PlacementProblem, fixed: Fixed): { arcs: ProblemArc[]; hosts: Host[] } {
  const index = arcIndexOf(problem);
  const hosted = new Map<number, (readonly [number, number])[]>();
  for (const [d, v, copies] of fixed.placement) {
    const ofDevice = hosted.get(d);
    if (ofDevice === undefined) hosted.set(d, [[v, copies]]);
    else ofDevice.push([v, copies]);
  }
  const arcs: ProblemArc[] = [];
  const hosts: Host[] = [];
  for (const [d, inMode] of devicesInMode(problem, fixed)) {
    const start = arcs.length;
    const variants = (hosted.get(d) ?? []).map(([v, copies]) => {
      const first = arcs.length;
      for (const arc of copies > 0 ? index.ofPair(d, v) : []) {
        const isOn = (inMode[arc.m ?? 0] ?? 0) > 0;
        if (isOn && (problem.classes[arc.k]?.rate ?? 0) > 0 && keepsTail(problem, arc)) arcs.push(arc);
      }
      return { v, copies, start: first, end: arcs.length };
    });
    hosts.push({ d, inMode, start, end: arcs.length, variants });
  }
  return { arcs, hosts };
}

/** Puts coefficient * share of a range of arcs; only those of mode `m` where one is given. */
function put(parts: Parts, range: { start: number; end: number }, coefficient: Coefficient, m?: number): void {
  for (let i = range.start; i < range.end; i++) {
    const arc = parts.arcs[i];
    if (arc !== undefined && (m === undefined || (arc.m ?? 0) === m)) parts.builder.put(i, coefficient(arc));
  }
}

function addClassRows(parts: Parts) {
  const { problem, builder, byClass } = parts;
  const [latency, energy] = [new Map<number, number>(), new Map<number, number>()];
  problem.classes.forEach((each, k) => {
    if (each.rate === 0) return;
    const row = (name: string, [lower, upper]: readonly [number, number], value: Coefficient) => {
      for (let p = byClass.starts[k] ?? 0; p < (byClass.starts[k + 1] ?? 0); p++) {
        const start = byClass.order[p] ?? 0;
        put(parts, { start, end: start + 1 }, value);
      }
      return builder.closeRow(lower, upper, `${name}:${k}`);
    };
    row('served', [-Infinity, 1], () => 1);
    if (each.minServed > 0) row('floor', [each.minServed, Infinity], () => 1);
    latency.set(
      k,
      row('latency', [-Infinity, 0], (arc) => arc.latency_s - each.sloMean_s),
    );
    const most = each.maxEnergy_J;
    if (most === undefined || most === null) return;
    energy.set(
      k,
      row('energy', [-Infinity, 0], (arc) => arc.energy_J - most),
    );
  });
  return { latency, energy };
}

function addDeviceRows(parts: Parts): Map<number, UtilRow[]> {
  const { problem, builder, rate } = parts;
  const util = new Map<number, UtilRow[]>();
  for (const host of parts.hosts) {
    const device = problem.devices[host.d];
    if (device === undefined) continue;
    const busy: Coefficient = (arc) => arc.service_s * rate(arc);
    const draw: Coefficient = (arc) => arc.energy_J * rate(arc);
    const rows = host.variants.map((variant) => {
      put(parts, variant, busy);
      const row = builder.closeRow(-Infinity, device.maxUtil * variant.copies, `host:${host.d},${variant.v}`);
      return { row, copies: variant.copies };
    });
    const battery = batteryW(problem, device);
    modesOf(device).forEach(({ idleW, powerCapW }, m) => {
      const on = host.inMode[m] ?? 0;
      if (on === 0) return;
      put(parts, host, busy, m);
      rows.push({ row: builder.closeRow(-Infinity, device.maxUtil * on, `util:${host.d},${m}`), copies: on });
      const caps = [
        ['devpower', powerCapW],
        ['battery', battery],
      ] as const;
      for (const [name, cap] of caps) {
        if (cap === undefined || cap === null) continue;
        put(parts, host, draw, m);
        builder.closeRow(-Infinity, (cap - idleW) * on, `${name}:${host.d},${m}`);
      }
    });
    util.set(host.d, rows);
  }
  return util;
}

function idleOf({ problem }: Parts, { d, inMode }: Host): number {
  const device = problem.devices[d];
  return device === undefined ? 0 : sumOf(modesOf(device).entries(), ([m, { idleW }]) => idleW * (inMode[m] ?? 0));
}

/** Rows of the fleet's power and of the sites that have a cap; returns the fleet's. */
function addPowerRows(parts: Parts): number {
  const { problem, builder, hosts, rate } = parts;
  const draw: Coefficient = (arc) => arc.energy_J * rate(arc);
  const row = (members: readonly Host[], limit: number, name: string) => {
    for (const host of members) put(parts, host, draw);
    return builder.closeRow(-Infinity, limit - sumOf(members, (host) => idleOf(parts, host)), name);
  };
  const members = hostsBySite(parts);
  problem.sites?.forEach(({ powerW }, s) => {
    if (powerW !== undefined && powerW !== null) row(members[s] ?? [], powerW, `sitepower:${s}`);
  });
  return row(hosts, problem.budgets.powerW - (problem.budgets.baseW ?? 0), 'power');
}

function addNetworkRows(parts: Parts): void {
  const { problem, builder, rate } = parts;
  const members = hostsBySite(parts);
  problem.sites?.forEach(({ networkBps }, s) => {
    if (networkBps === undefined || networkBps === null) return;
    for (const host of members[s] ?? []) {
      put(parts, host, (arc) => (problem.classes[arc.k]?.requestBits ?? 0) * rate(arc));
    }
    builder.closeRow(-Infinity, networkBps, `network:${s}`);
  });
}

function hostsBySite({ problem, hosts }: Parts): Host[][] {
  const byDevice = new Map(hosts.map((host) => [host.d, host]));
  return devicesBySite(problem).map((members) => members.flatMap((d) => byDevice.get(d) ?? []));
}

/** Requests/s of each arc at a point of the routing model; what is below 1e-12 of the demand is solver noise. */
export function readRouting(model: RoutingModel, problem: PlacementProblem, point: Float64Array): Placement['routing'] {
  return model.arcs.flatMap(({ k, d, v, m }, j) => {
    const share = point[j] ?? 0;
    if (!(share > 1e-12)) return [];
    const rate = share * (problem.classes[k]?.rate ?? 0);
    return [m === undefined ? { k, d, v, rate } : { k, d, v, m, rate }];
  });
}
