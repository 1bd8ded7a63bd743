/**
 * The exact model: placement problem -> sparse mixed-integer program (docs/formulation.md).
 *
 * Columns: x_dv copies, a_d devices on, f_dvk share of class k's demand served by (d, v), t_v variant in the catalogue,
 * z_dv newly loaded copies, h_dk distinct hosts. Shares instead of rates keep all routing columns within 0..1, whatever
 * the demand. Every column has finite bounds.
 *
 * A group can be left out (`without`, for the conflict search) or made elastic (`elastic`, for repairs): then it gets
 * slack columns, and the objective becomes the smallest sum of slacks.
 */
import {
  addDemand,
  addDemandCeiling,
  addDevicePower,
  addEnergy,
  addLatency,
  addMemory,
  addMove,
  addPower,
  addReplicas,
  addSlots,
  addUtilisation,
  addVariants,
  isElastic,
  type ModelChange,
  type ModelParts,
  shareOf,
  type Slack,
} from './exact-rows.js';
import { type LinearProgram, LinearProgramBuilder } from './linear-program.js';
import { arcKey, countOf, pairKey, type Placement, weightedRate } from './placement.js';
import type { ConstraintGroup } from './plan.js';
import type { PlacementProblem, ProblemArc } from './problem.js';

export interface ExactModel {
  readonly program: LinearProgram;
  readonly slacks: readonly Slack[];
  /** Column of the share of an arc, by `arcKey`; arcs of classes without demand have none. */
  readonly shares: ReadonlyMap<number, number>;
  shareOf(arc: ProblemArc): number | undefined;
  /** Columns of the devices that are on, by device. */
  readonly powered: readonly number[];
  /** Copies and power of a point, and its routing in requests/s. */
  read(point: Float64Array): Placement;
}

/** Builds the model. Assumes a problem that passed `problemFaults`. O(arcs). */
export function buildExactModel(problem: PlacementProblem, change: ModelChange = {}): ExactModel {
  const parts = addColumns(problem, change);
  addUtilisation(parts);
  const groups: readonly (readonly [ConstraintGroup, (parts: ModelParts) => void])[] = [
    ['demand', addDemand],
    ['slots', addSlots],
    ['memory', addMemory],
    ['latency', addLatency],
    ['energy', addEnergy],
    ['power', addPower],
    ['devpower', addDevicePower],
    ['replicas', addReplicas],
    ['variants', addVariants],
    ['move', addMove],
  ];
  for (const [group, add] of groups) if (change.without?.has(group) !== true) add(parts);
  if (change.without?.has('demand') === true) addDemandCeiling(parts);
  const program = parts.builder.build(change.elastic === undefined ? 'max' : 'min');
  return {
    program,
    slacks: parts.slacks,
    shares: parts.shares,
    shareOf: (arc) => shareOf(parts, arc),
    powered: parts.powered,
    read: (point) => readPlacement(parts, point),
  };
}

function addColumns(problem: PlacementProblem, change: ModelChange): ModelParts {
  const builder = new LinearProgramBuilder();
  const arcsByDevice = new Map<number, ProblemArc[]>();
  const arcsByClass = new Map<number, ProblemArc[]>();
  const pairs = new Map<number, { d: number; v: number; key: number }>();
  const push = (map: Map<number, ProblemArc[]>, key: number, arc: ProblemArc) => {
    const list = map.get(key);
    if (list === undefined) map.set(key, [arc]);
    else list.push(arc);
  };
  for (const arc of problem.arcs) {
    const key = pairKey(problem, arc.d, arc.v);
    pairs.set(key, { d: arc.d, v: arc.v, key });
    push(arcsByDevice, arc.d, arc);
    push(arcsByClass, arc.k, arc);
  }
  const parts: ModelParts = {
    problem,
    builder,
    change,
    copies: new Map(),
    pairs: [...pairs.values()],
    powered: problem.devices.map((_, d) => builder.addColumn({ upper: countOf(problem, d), integer: true })),
    shares: new Map(),
    arcs: problem.arcs.filter((arc) => (problem.classes[arc.k]?.rate ?? 0) > 0),
    arcsByDevice,
    arcsByClass,
    slacks: [],
  };
  for (const { d, key } of parts.pairs) {
    const column = builder.addColumn({ upper: countOf(problem, d), integer: true });
    parts.copies.set(key, column);
    builder.addRow(-Infinity, 0, [
      [column, 1],
      [parts.powered[d] ?? 0, -1],
    ]);
  }
  const total = weightedRate(problem);
  for (const arc of parts.arcs) {
    const of = problem.classes[arc.k];
    const points = of === undefined || total === 0 ? 0 : (1000 * of.weight * of.rate * arc.quality) / total;
    const cost = isElastic(parts) ? 0 : points;
    parts.shares.set(arcKey(problem, arc.d, arc.v, arc.k), builder.addColumn({ cost, upper: 1 }));
  }
  return parts;
}

function readPlacement(parts: ModelParts, point: Float64Array): Placement {
  const { problem } = parts;
  const whole = (column: number | undefined) => Math.round(point[column ?? -1] ?? 0);
  return {
    placement: parts.pairs
      .map(({ d, v, key }) => [d, v, whole(parts.copies.get(key))] as const)
      .filter(([, , copies]) => copies > 0)
      .sort(([d1, v1], [d2, v2]) => d1 - d2 || v1 - v2),
    poweredOn: parts.powered.map((column, d) => [d, whole(column)] as const).filter(([, on]) => on > 0),
    routing: parts.arcs.flatMap((arc) => {
      const rate = (point[shareOf(parts, arc) ?? -1] ?? 0) * (problem.classes[arc.k]?.rate ?? 0);
      return rate > 0 ? [{ k: arc.k, d: arc.d, v: arc.v, rate }] : [];
    }),
  };
}
