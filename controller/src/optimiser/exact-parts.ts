/**
 * The exact model while it is built: its columns, and the arcs in the orders that rows need.
 */
import { arcIndexOf } from './arc-index.js';
import { type Buckets, bucketed, positions } from './buckets.js';
import { LinearProgramBuilder } from './linear-program.js';
import { countOf, keepsTail, modesOf, pairKey, weightedRate } from './placement.js';
import type { ConstraintGroup } from './plan.js';
import type { PlacementProblem, ProblemArc } from './problem.js';

/** One bound of the problem. */
export interface BoundOf {
  readonly group: ConstraintGroup;
  /** Index of the class, device or site; undefined for fleet-wide bounds. */
  readonly index: number | undefined;
  /** Power mode, for the cap of a device that has modes. */
  readonly m?: number;
  /** `replicas` counts sites here, not devices. */
  readonly ofSites?: true;
}

/** A slack column: by how much one bound is moved. */
export interface Slack extends BoundOf {
  readonly column: number;
  /** Units of the bound per unit of the column: a battery's column is in W and its bound in J, the rest have 1. */
  readonly scale: number;
}

export interface ModelChange {
  /** Groups that are left out. */
  readonly without?: ReadonlySet<ConstraintGroup>;
  /**
   * Groups whose bounds get slack columns; the objective becomes the smallest sum of slacks. A tail bound has no slack:
   * arcs above it are allowed.
   */
  readonly elastic?: ReadonlySet<ConstraintGroup>;
  /** Without copies and all that needs them: a relaxation, for fleets too large for a column per (device, variant). */
  readonly projected?: boolean;
}

/** (device, variant) that has arcs: those at `start` to `end` of the model's arcs. */
export interface ModelPair {
  readonly d: number;
  readonly v: number;
  /** Column of the copies; -1 in a projected model. */
  readonly column: number;
  readonly start: number;
  readonly end: number;
}

export interface ModelParts {
  readonly problem: PlacementProblem;
  readonly builder: LinearProgramBuilder;
  readonly change: ModelChange;
  /** Arcs that may be used, likeness expanded, by device, variant, class and mode. */
  readonly arcs: readonly ProblemArc[];
  /** Column of the share of `arcs[i]`; -1 for classes without demand. */
  readonly shares: Int32Array;
  /** Arcs of device d are `deviceStarts[d]` to `deviceStarts[d + 1]`. */
  readonly deviceStarts: Int32Array;
  readonly byClass: Buckets;
  /** Column of the devices that are on, by device, then mode. */
  readonly powered: readonly (readonly number[])[];
  readonly pairs: readonly ModelPair[];
  /** Pairs of device d are `pairStarts[d]` to `pairStarts[d + 1]`. */
  readonly pairStarts: Int32Array;
  /** Column of the copies by `pairKey`, -1 where there is none. */
  readonly copies: Int32Array;
  /** Column that says whether a variant is in the catalogue, by variant; -1 where there is none. */
  readonly catalogue: Int32Array;
  readonly slacks: Slack[];
}

export const isElastic = ({ change }: ModelParts): boolean => change.elastic !== undefined;

export const rateOf = ({ problem }: ModelParts, arc: ProblemArc): number => problem.classes[arc.k]?.rate ?? 0;

/** The columns of the model: devices on, copies, shares. Rows that need more add their own. O(arcs). */
export function modelParts(problem: PlacementProblem, change: ModelChange): ModelParts {
  const builder = new LinearProgramBuilder();
  const { arcs, deviceStarts } = allowedArcs(problem, change);
  const powered = problem.devices.map((device, d) =>
    modesOf(device).map(() => builder.addColumn({ upper: countOf(problem, d), integer: true })),
  );
  const pairs: ModelPair[] = [];
  const pairStarts = new Int32Array(problem.devices.length + 1);
  const copies = new Int32Array(problem.devices.length * problem.variants.length).fill(-1);
  for (let d = 0; d < problem.devices.length; d++) {
    const end = deviceStarts[d + 1] ?? 0;
    for (let start = deviceStarts[d] ?? 0; start < end;) {
      const v = arcs[start]?.v ?? 0;
      let next = start + 1;
      while (next < end && arcs[next]?.v === v) next++;
      const column = change.projected === true ? -1 : builder.addColumn({ upper: countOf(problem, d), integer: true });
      copies[pairKey(problem, d, v)] = column;
      pairs.push({ d, v, column, start, end: next });
      start = next;
    }
    pairStarts[d + 1] = pairs.length;
  }
  const catalogue = new Int32Array(problem.variants.length).fill(-1);
  const shares = shareColumns(problem, builder, arcs, change.elastic !== undefined);
  const byClass = bucketed(positions(arcs.length), problem.classes.length, (i) => arcs[i]?.k ?? 0);
  return {
    ...{ problem, builder, change, arcs, shares, deviceStarts, byClass },
    ...{ powered, pairs, pairStarts, copies, catalogue, slacks: [] },
  };
}

function allowedArcs(problem: PlacementProblem, change: ModelChange) {
  const isTailFree = change.without?.has('tail') === true || change.elastic?.has('tail') === true;
  const index = arcIndexOf(problem);
  const arcs: ProblemArc[] = [];
  const deviceStarts = new Int32Array(problem.devices.length + 1);
  for (let d = 0; d < problem.devices.length; d++) {
    for (const arc of index.of(d)) if (isTailFree || keepsTail(problem, arc)) arcs.push(arc);
    deviceStarts[d + 1] = arcs.length;
  }
  return { arcs, deviceStarts };
}

function shareColumns(
  problem: PlacementProblem,
  builder: LinearProgramBuilder,
  arcs: readonly ProblemArc[],
  isElastic: boolean,
): Int32Array {
  const shares = new Int32Array(arcs.length).fill(-1);
  const total = weightedRate(problem);
  arcs.forEach((arc, i) => {
    const of = problem.classes[arc.k];
    if (of === undefined || of.rate === 0) return;
    const points = total === 0 ? 0 : (1000 * of.weight * of.rate * arc.quality) / total;
    // Above what the class's `served` row allows, so that what a full share is worth is that row's price.
    shares[i] = builder.addColumn({ cost: isElastic ? 0 : points, upper: 2 });
  });
  return shares;
}

/** Puts coefficient * share of the arcs from `start` to `end` into the open row; only those of mode `m` where one is given. */
export function putShares(
  parts: ModelParts,
  { start, end }: { readonly start: number; readonly end: number },
  coefficient: (arc: ProblemArc) => number,
  m?: number,
): void {
  for (let i = start; i < end; i++) {
    const arc = parts.arcs[i];
    const column = parts.shares[i] ?? -1;
    if (arc === undefined || column < 0 || (m !== undefined && (arc.m ?? 0) !== m)) continue;
    parts.builder.put(column, coefficient(arc));
  }
}

/** The arcs of one device. */
export const rangeOf = ({ deviceStarts }: ModelParts, d: number) => ({
  start: deviceStarts[d] ?? 0,
  end: deviceStarts[d + 1] ?? 0,
});

/** Puts coefficient * share of all arcs of a class into the open row. */
export function putClass(parts: ModelParts, k: number, coefficient: (arc: ProblemArc) => number): void {
  const { starts, order } = parts.byClass;
  for (let p = starts[k] ?? 0; p < (starts[k + 1] ?? 0); p++) {
    const start = order[p] ?? 0;
    putShares(parts, { start, end: start + 1 }, coefficient);
  }
}

/** Puts coefficient * devices that are on, in whatever mode. */
export function putPowered(parts: ModelParts, d: number, coefficient: number): void {
  for (const column of parts.powered[d] ?? []) parts.builder.put(column, coefficient);
}

interface SlackShape {
  readonly upper: number;
  readonly integer?: boolean;
  readonly scale?: number;
}

/** The slack column of a bound where its group is elastic, else undefined. */
export function addSlack(parts: ModelParts, bound: BoundOf, shape: SlackShape): number | undefined {
  if (parts.change.elastic?.has(bound.group) !== true) return undefined;
  const column = parts.builder.addColumn({ cost: 1, upper: shape.upper, integer: shape.integer === true });
  parts.slacks.push({ ...bound, column, scale: shape.scale ?? 1 });
  return column;
}

/** -1 widens an upper bound, 1 lowers a floor. */
export function putSlack(parts: ModelParts, column: number | undefined, sign: 1 | -1): void {
  if (column !== undefined) parts.builder.put(column, sign);
}
