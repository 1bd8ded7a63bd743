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

/** Anything that solves linear and mixed-integer programs. Never rejects for a hard or broken problem: it says `failed`. */
export interface LinearSolver {
  readonly name: string;
  solve(program: LinearProgram, limits: SolverLimits): Promise<LinearAnswer>;
  close(): Promise<void>;
}

/** The solvers an optimisation may use. */
export interface Solvers {
  readonly exact: LinearSolver;
  /** Second opinion and small repairs; only asked for programs that `fitsTiny`. */
  readonly tiny?: LinearSolver;
}
