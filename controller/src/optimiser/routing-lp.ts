/**
 * The routing of requests for a fixed placement: a linear program whose duals are the prices of the budgets.
 */
import { type LinearProgram, LinearProgramBuilder } from './linear-program.js';
import { pairKey, type Placement, weightedRate } from './placement.js';
import type { PlacementProblem, ProblemArc } from './problem.js';

export interface RoutingModel {
  readonly program: LinearProgram;
  /** Arcs in the order of the columns; a column is the share of the class's demand. */
  readonly arcs: readonly ProblemArc[];
  readonly rows: {
    readonly power: number;
    /** By class. */
    readonly demand: ReadonlyMap<number, number>;
    readonly latency: ReadonlyMap<number, number>;
    readonly energy: ReadonlyMap<number, number>;
    /** Rows of a device's busy time with how many maxUtil the bound holds; by device. */
    readonly util: ReadonlyMap<number, readonly { readonly row: number; readonly copies: number }[]>;
    readonly devpower: ReadonlyMap<number, number>;
  };
}

/** Shares only on arcs whose copy is placed. Its objective leaves out the move penalty, which is a constant here. */
export function buildRoutingModel(
  problem: PlacementProblem,
  fixed: Pick<Placement, 'placement' | 'poweredOn'>,
): RoutingModel {
  const copies = new Map(fixed.placement.map(([d, v, count]) => [pairKey(problem, d, v), count]));
  const powered = new Map(fixed.poweredOn);
  const builder = new LinearProgramBuilder();
  const total = weightedRate(problem);
  const arcs = problem.arcs.filter(
    (arc) => (copies.get(pairKey(problem, arc.d, arc.v)) ?? 0) > 0 && (problem.classes[arc.k]?.rate ?? 0) > 0,
  );
  const rate = (arc: ProblemArc) => problem.classes[arc.k]?.rate ?? 0;
  arcs.forEach((arc) => {
    const weight = problem.classes[arc.k]?.weight ?? 0;
    builder.addColumn({ cost: total === 0 ? 0 : (1000 * weight * rate(arc) * arc.quality) / total, upper: 1 });
  });
  const row = (
    lower: number,
    upper: number,
    includes: (arc: ProblemArc) => boolean,
    value: (arc: ProblemArc) => number,
  ) =>
    builder.addRow(
      lower,
      upper,
      arcs.flatMap((arc, j) => (includes(arc) ? [[j, value(arc)] as const] : [])),
    );
  const demand = new Map<number, number>();
  const latency = new Map<number, number>();
  const energy = new Map<number, number>();
  problem.classes.forEach((each, k) => {
    if (each.rate === 0) return;
    const isOfClass = (arc: ProblemArc) => arc.k === k;
    demand.set(
      k,
      row(each.minServed, 1, isOfClass, () => 1),
    );
    latency.set(
      k,
      row(-Infinity, 0, isOfClass, (arc) => arc.latency_s - each.sloMean_s),
    );
    const most = each.maxEnergy_J;
    if (most !== null && most !== undefined)
      energy.set(
        k,
        row(-Infinity, 0, isOfClass, (arc) => arc.energy_J - most),
      );
  });
  const util = new Map<number, { row: number; copies: number }[]>();
  const devpower = new Map<number, number>();
  for (const [d, on] of powered) {
    const device = problem.devices[d];
    if (device === undefined) continue;
    const busy = (arc: ProblemArc) => arc.service_s * rate(arc);
    const hosted = fixed.placement.filter(([of]) => of === d);
    util.set(d, [
      ...hosted.map(([, v, count]) => ({
        row: row(-Infinity, device.maxUtil * count, (arc) => arc.d === d && arc.v === v, busy),
        copies: count,
      })),
      { row: row(-Infinity, device.maxUtil * on, (arc) => arc.d === d, busy), copies: on },
    ]);
    if (device.powerCapW === null) continue;
    const room = (device.powerCapW - device.idleW) * on;
    devpower.set(
      d,
      row(
        -Infinity,
        room,
        (arc) => arc.d === d,
        (arc) => arc.energy_J * rate(arc),
      ),
    );
  }
  const idleW = fixed.poweredOn.reduce((sum, [d, on]) => sum + (problem.devices[d]?.idleW ?? 0) * on, 0);
  const power = row(
    -Infinity,
    problem.budgets.powerW - idleW,
    () => true,
    (arc) => arc.energy_J * rate(arc),
  );
  return { program: builder.build('max'), arcs, rows: { power, demand, latency, energy, util, devpower } };
}

/** Requests/s of each arc at a point of the routing model; what is below 1e-12 of the demand is solver noise. */
export function readRouting(model: RoutingModel, problem: PlacementProblem, point: Float64Array): Placement['routing'] {
  return model.arcs.flatMap((arc, j) => {
    const share = point[j] ?? 0;
    return share > 1e-12 ? [{ k: arc.k, d: arc.d, v: arc.v, rate: share * (problem.classes[arc.k]?.rate ?? 0) }] : [];
  });
}
