/** What branching leaves behind: parts of all placements, each with its decisions and its proof. */
import type { BranchDecision } from './certificate.js';
import type { LinearProgram } from './linear-program.js';
import type { ColumnRange } from './solver.js';

export interface Decision {
  readonly column: number;
  readonly branch: BranchDecision;
  /** Lower ranks are branched on first. */
  readonly rank: number;
  readonly lower: number;
  readonly upper: number;
}

/** Row duals that bound the part, or the ray that proves there is nothing in it, beside the duals of the part above. */
export type Proof =
  | { readonly duals: Float64Array; readonly ray?: undefined }
  | { readonly duals: Float64Array | undefined; readonly ray: Float64Array };

/** Part of all placements: what was decided on the way to it, and what its linear program says. */
export interface SearchNode {
  readonly ranges: ReadonlyMap<number, ColumnRange>;
  /** No placement of this part is better, by the linear program's word; -Infinity: there is none. */
  bound: number;
  /** Undefined once split, or when nothing is known. */
  proof: Proof | undefined;
  split:
    | { readonly decision: Decision; readonly at: number; readonly low: SearchNode; readonly high: SearchNode }
    | undefined;
  /** The tree of another program that searched this part further. */
  graft: SearchTree | undefined;
}

/** A tree and the program whose rows and columns it speaks of. */
export interface SearchTree {
  readonly root: SearchNode;
  readonly program: LinearProgram;
}

/** Ranges of the part of a node in which a decision is from `from` to `to`. */
export function narrowed(
  { ranges }: SearchNode,
  { column, lower, upper }: Decision,
  from: number,
  to: number,
): ReadonlyMap<number, ColumnRange> {
  const range = ranges.get(column);
  return new Map(ranges).set(column, {
    column,
    lower: Math.max(from, range?.lower ?? lower),
    upper: Math.min(to, range?.upper ?? upper),
  });
}

/** Largest bound of any leaf below, but those of one graft. */
export function leafBound(node: SearchNode, except?: SearchTree): number {
  if (node.graft !== undefined) {
    return node.graft === except ? -Infinity : Math.min(node.bound, leafBound(node.graft.root));
  }
  if (node.split === undefined) return node.bound;
  return Math.max(leafBound(node.split.low, except), leafBound(node.split.high, except));
}

/** The ray of a row that no point within the columns' bounds can meet; solvers give none for what they see at once. */
export function brokenRow(program: LinearProgram, ranges: ReadonlyMap<number, ColumnRange>): Float64Array | undefined {
  for (let i = 0; i < program.rowLower.length; i++) {
    let [least, most] = [0, 0];
    for (let e = program.rowStarts[i] ?? 0; e < (program.rowStarts[i + 1] ?? 0); e++) {
      const j = program.indices[e] ?? 0;
      const value = program.values[e] ?? 0;
      const lower = value * (ranges.get(j)?.lower ?? program.lower[j] ?? 0);
      const upper = value * (ranges.get(j)?.upper ?? program.upper[j] ?? 0);
      least += Math.min(lower, upper);
      most += Math.max(lower, upper);
    }
    if (most >= (program.rowLower[i] ?? -Infinity) && least <= (program.rowUpper[i] ?? Infinity)) continue;
    const ray = new Float64Array(program.rowLower.length);
    ray[i] = 1;
    return ray;
  }
  return undefined;
}
