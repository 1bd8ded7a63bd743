/**
 * The exact model: placement problem -> sparse mixed-integer program (docs/formulation.md).
 *
 * Columns: x_dv copies, a_dm devices on (in mode m), f_dvkm share of class k's demand served by (d, v), t_v variant in
 * the catalogue, z_dv newly loaded copies, h_dk distinct hosts. Shares instead of rates keep all routing columns within
 * 0..1, whatever the demand. Every column has finite bounds, every row the name that `certificate.ts` gives it.
 *
 * A group can be left out (`without`, for the conflict search) or made elastic (`elastic`, for repairs): then it gets
 * slack columns, and the objective becomes the smallest sum of slacks.
 */
import { type ModelChange, modelParts, type ModelParts, type Slack } from './exact-parts.js';
import { addHosts, addMemory, addMove, addReplicas, addSlots, addVariants } from './exact-placement-rows.js';
import {
  addBattery,
  addDemand,
  addDevicePower,
  addEnergy,
  addLatency,
  addModes,
  addNetwork,
  addPower,
  addServed,
  addSitePower,
  addUtilisation,
} from './exact-rows.js';
import type { LinearProgram } from './linear-program.js';
import type { Placement } from './placement.js';
import type { ConstraintGroup } from './plan.js';
import type { ProblemArc, PlacementProblem } from './problem.js';

/** Column indices are -1 where there is no such column. */
export interface ExactModel {
  readonly program: LinearProgram;
  readonly slacks: readonly Slack[];
  /** Arcs that may be used, likeness expanded, by device, variant, class and mode. */
  readonly arcs: readonly ProblemArc[];
  /** Column of the share of `arcs[i]`; classes without demand have none. */
  readonly shares: Int32Array;
  /** Column of the devices that are on, by device, then mode. */
  readonly powered: readonly (readonly number[])[];
  /** Column of the copies, by `pairKey`; a projected model has none. */
  readonly copies: Int32Array;
  /** Column of a variant's place in the catalogue, by variant; none without a bound on its size. */
  readonly catalogue: Int32Array;
  /** Copies and power of a point, and its routing in requests/s. */
  read(point: Float64Array): Placement;
}

type AddRows = (parts: ModelParts) => void;

const ROUTING_ROWS: readonly (readonly [ConstraintGroup, AddRows])[] = [
  ['demand', addDemand],
  ['latency', addLatency],
  ['energy', addEnergy],
  ['power', addPower],
  ['sitepower', addSitePower],
  ['devpower', addDevicePower],
  ['battery', addBattery],
  ['network', addNetwork],
  ['variants', addVariants],
];

const PLACEMENT_ROWS: readonly (readonly [ConstraintGroup, AddRows])[] = [
  ['slots', addSlots],
  ['memory', addMemory],
  ['replicas', addReplicas],
  ['move', addMove],
];

/** Builds the model. Assumes a problem that passed `problemFaults`. O(arcs). */
export function buildExactModel(problem: PlacementProblem, change: ModelChange = {}): ExactModel {
  const parts = modelParts(problem, change);
  addServed(parts);
  addUtilisation(parts);
  addModes(parts);
  if (change.projected !== true) addHosts(parts);
  const groups = change.projected === true ? ROUTING_ROWS : [...ROUTING_ROWS, ...PLACEMENT_ROWS];
  for (const [group, add] of groups) if (change.without?.has(group) !== true) add(parts);
  const { slacks, arcs, shares, powered, copies, catalogue } = parts;
  return {
    program: parts.builder.build(change.elastic === undefined ? 'max' : 'min'),
    ...{ slacks, arcs, shares, powered, copies, catalogue },
    read: (point) => readPlacement(parts, point),
  };
}

function readPlacement(parts: ModelParts, point: Float64Array): Placement {
  const { problem } = parts;
  const whole = (column: number | undefined) => Math.round(point[column ?? -1] ?? 0);
  const modes = parts.powered.flatMap((columns, d) =>
    columns.map((column, m) => [d, m, whole(column)] as const).filter(([, , on]) => on > 0),
  );
  const poweredOn = new Map<number, number>();
  for (const [d, , on] of modes) poweredOn.set(d, (poweredOn.get(d) ?? 0) + on);
  const placement = {
    placement: parts.pairs
      .map(({ d, v, column }) => [d, v, whole(column)] as const)
      .filter(([, , copies]) => copies > 0),
    poweredOn: [...poweredOn],
    routing: readShares(parts, point),
  };
  if (!problem.devices.some((device) => device.modes !== undefined)) return placement;
  return { ...placement, modes: modes.filter(([d]) => problem.devices[d]?.modes !== undefined) };
}

function readShares({ problem, arcs, shares }: ModelParts, point: Float64Array): Placement['routing'] {
  return arcs.flatMap(({ k, d, v, m }, i) => {
    const rate = (point[shares[i] ?? -1] ?? 0) * (problem.classes[k]?.rate ?? 0);
    if (!(rate > 0)) return [];
    return [m === undefined ? { k, d, v, rate } : { k, d, v, m, rate }];
  });
}
