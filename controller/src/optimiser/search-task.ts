/** What a search of a tree is asked, and what it answers (`branching.ts`). */
import type { LinearProgram } from './linear-program.js';
import type { Decision, SearchNode, SearchTree } from './search-tree.js';
import type { ColumnRange, LinearSession, SessionColumn } from './solver.js';

export interface SearchLimits {
  /** Linear programs that may be solved. */
  readonly mostNodes: number;
  /** Objective of the best placement known beforehand; -Infinity: none. */
  readonly incumbent: number;
  /** Seconds that may still be spent. */
  readonly left: () => number;
}

export interface SearchTask {
  readonly program: LinearProgram;
  readonly session: LinearSession;
  readonly decisions: readonly Decision[];
  /** Parts that cannot beat the best known objective by more than this share are closed. */
  readonly gap: number;
  /**
   * Told of every point whose decisions up to `wholeRank` are whole numbers; returns the objective of the best placement
   * that it made of it, if any.
   */
  readonly onPoint: (point: Float64Array, bound: number, wholeRank: number) => number | undefined;
  /**
   * Where the program only approximates the devices: the true bound at some duals within a part, and columns that would
   * bring the program closer to it.
   */
  readonly price?: (
    duals: Float64Array,
    ranges: ReadonlyMap<number, ColumnRange>,
  ) => { readonly bound: number; readonly columns: readonly SessionColumn[] };
  /** Told of the root's duals before anything is branched on; returns the objective of the best placement made of them. */
  readonly onRoot?: (duals: Float64Array, point: Float64Array) => number | undefined;
  /**
   * Searches on where this program has no more to decide: called for a part in which every decision is fixed, or as many
   * as `fullAt` are fixed at 1. Such parts are made only where this is given. `others`: bound of all other parts.
   */
  readonly refine?: (point: Float64Array, others: number) => SearchTree | undefined;
  readonly fullAt?: number;
  readonly onProgress?: (progress: SearchProgress) => void;
}

export interface SearchProgress {
  readonly objective: number;
  readonly bound: number;
  readonly nodes: number;
}

export interface SearchResult {
  readonly root: SearchNode;
  /** Objective of the best placement known. */
  readonly objective: number;
  /** Largest bound of any leaf: no placement is above it. */
  readonly bound: number;
  readonly nodes: number;
  /** Whether every part was closed; else time or nodes ran out, or a program had no answer. */
  readonly isClosed: boolean;
  /** Whether time or nodes ran out: another run goes on. */
  readonly isCut: boolean;
}
