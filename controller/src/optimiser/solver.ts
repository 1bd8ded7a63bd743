import type { LinearProgram } from './linear-program.js';

export interface SolverLimits {
  readonly timeLimitS: number;
  /** Stop when (bound - objective) / |objective| is at most this. */
  readonly gap: number;
}

/** What a solver says. Points are checked against the program before they get here; the bound is the solver's word. */
export type LinearAnswer =
  | {
      readonly status: 'optimal' | 'feasible';
      readonly point: Float64Array;
      /** Recomputed from the program, never the solver's own figure. */
      readonly objective: number;
      /** No feasible point is better than this. */
      readonly bound: number;
      /** Change of the objective per unit of each row's binding bound; only for programs without integer columns. */
      readonly rowDuals: Float64Array | undefined;
      readonly timedOut: boolean;
    }
  | { readonly status: 'infeasible' }
  | { readonly status: 'timeout'; readonly bound: number }
  | { readonly status: 'failed'; readonly reason: string };

/** Where a simplex solve ended: lets the next one, after small changes, start there. */
export interface WarmBasis {
  readonly columns: Int32Array;
  readonly rows: Int32Array;
}

export interface ColumnRange {
  readonly column: number;
  readonly lower: number;
  readonly upper: number;
}

export interface OptimalAnswer {
  readonly status: 'optimal';
  readonly objective: number;
  readonly point: Float64Array;
  /** Change of the objective per unit of each row's binding bound. */
  readonly rowDuals: Float64Array;
  readonly basis: WarmBasis;
}

export type SessionAnswer =
  | OptimalAnswer
  /** `ray`: row multipliers that prove it (Farkas), where the solver has them; their sign may be turned. */
  | { readonly status: 'infeasible'; readonly ray: Float64Array | undefined }
  /** Time was over, or the solver broke down: nothing is known. */
  | { readonly status: 'stopped' };

/** A column that joins a program while it is open; `entries`: (row, coefficient). */
export interface SessionColumn {
  readonly cost: number;
  readonly upper: number;
  readonly entries: readonly (readonly [number, number])[];
}

/** One linear program kept in the solver's memory while its bounds change; integer marks are ignored. */
export interface LinearSession {
  /** Solves with the column bounds as they are now, from `basis` or from where it last was. Blocks for `timeLimitS` at most. */
  solve(timeLimitS: number, basis?: WarmBasis): SessionAnswer;
  /** Changes the bounds of columns until they are changed again. */
  restrict(ranges: Iterable<ColumnRange>): void;
  /** Appends columns from 0 to their upper bound. */
  addColumns(columns: readonly SessionColumn[]): void;
  /** Changes the bounds of a row. */
  restrictRow(row: number, lower: number, upper: number): void;
  close(): void;
}

/** A loaded solver. The caller closes every session. */
export interface LinearEngine {
  open(program: LinearProgram): LinearSession;
}

/** Anything that solves linear and mixed-integer programs. Never rejects for a hard or broken problem: it says `failed`. */
export interface LinearSolver {
  readonly name: string;
  solve(program: LinearProgram, limits: SolverLimits): Promise<LinearAnswer>;
  /** Loads what keeps programs warm; missing when this solver cannot. Rejects when it does not load. */
  engine?(): Promise<LinearEngine>;
  close(): Promise<void>;
}

/** The solvers an optimisation may use. */
export interface Solvers {
  readonly exact: LinearSolver;
  /** Second opinion and small repairs; only asked for programs that `fitsTiny`. */
  readonly tiny?: LinearSolver;
}
