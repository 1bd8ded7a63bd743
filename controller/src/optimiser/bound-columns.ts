/** The instance in columns, as the recomputation of a bound reads it (`verify-bound.ts`). */
import type { PlacementProblem } from './problem.js';

/** Made once for all parts of a certificate. */
export interface BoundColumns {
  readonly problem: PlacementProblem;
  /** Pool of each device: devices of a pool share prices. */
  readonly pools: readonly number[];
  readonly poolCount: number;
  readonly modeCount: number;
  /** Device `d` uses the arcs `starts[d]` to `starts[d + 1] - 1` (those of `like.d` where it is like another). */
  readonly starts: Int32Array;
  readonly arcs: ArcColumns;
  /** Copies held now, by device * variants + variant. */
  readonly held: ReadonlyMap<number, number>;
}

/** Figures of a class served whole over each arc. */
interface ArcColumns {
  readonly v: Int32Array;
  readonly k: Int32Array;
  readonly m: Int32Array;
  /** 1000 / W * weight * rate * quality. */
  readonly points: Float64Array;
  /** Devices kept busy. */
  readonly busy: Float64Array;
  readonly watts: Float64Array;
  readonly latency: Float64Array;
  /** Slowness above which the arc breaks its class's bound on the 95th percentile. */
  readonly slowest: Float64Array;
}

export function boundColumns(problem: PlacementProblem, pools: readonly number[]): BoundColumns {
  const { devices, classes, arcs, variants } = problem;
  const weighted = classes.reduce((total, each) => total + each.weight * each.rate, 0);
  const starts = new Int32Array(devices.length + 1);
  for (const { d } of arcs) starts[d + 1] = (starts[d + 1] ?? 0) + 1;
  for (let d = 0; d < devices.length; d++) starts[d + 1] = (starts[d + 1] ?? 0) + (starts[d] ?? 0);
  const next = starts.slice();
  const whole = () => new Int32Array(arcs.length);
  const figure = () => new Float64Array(arcs.length);
  const columns = {
    ...{ v: whole(), k: whole(), m: whole(), points: figure() },
    ...{ busy: figure(), watts: figure(), latency: figure(), slowest: figure() },
  };
  for (const arc of arcs) {
    const i = next[arc.d] ?? 0;
    next[arc.d] = i + 1;
    const of = classes[arc.k];
    const rate = of?.rate ?? 0;
    columns.v[i] = arc.v;
    columns.k[i] = arc.k;
    columns.m[i] = arc.m ?? 0;
    columns.points[i] = weighted === 0 ? 0 : (1000 * (of?.weight ?? 0) * rate * arc.quality) / weighted;
    columns.busy[i] = arc.service_s * rate;
    columns.watts[i] = arc.energy_J * rate;
    columns.latency[i] = arc.latency_s;
    columns.slowest[i] = arc.p95_s === undefined ? Infinity : (of?.sloP95_s ?? Infinity) / arc.p95_s;
  }
  const held = new Map<number, number>();
  for (const [d, v] of problem.current) {
    const pair = d * variants.length + v;
    held.set(pair, (held.get(pair) ?? 0) + 1);
  }
  return {
    problem,
    pools,
    poolCount: pools.reduce((most, u) => Math.max(most, u), -1) + 1,
    modeCount: devices.reduce((most, { modes }) => Math.max(most, modes?.length ?? 1), 1),
    starts,
    arcs: columns,
    held,
  };
}
