import type { LinearProgram } from './linear-program.js';
import type { LinearAnswer, LinearSolver, SolverLimits } from './solver.js';

/** A solver whose questions share one deadline: each gets no more time than is left, and `timeout` once none is. */
export class DeadlineSolver implements LinearSolver {
  readonly name: string;
  readonly #solver: LinearSolver;
  readonly #left: () => number;
  #isCut = false;

  /** `left`: seconds. */
  constructor(solver: LinearSolver, left: () => number) {
    this.name = solver.name;
    this.#solver = solver;
    this.#left = left;
  }

  /** Whether a question went unanswered. */
  get isCut(): boolean {
    return this.#isCut;
  }

  async solve(program: LinearProgram, limits: SolverLimits): Promise<LinearAnswer> {
    const left = this.#left();
    const bound = program.sense === 'max' ? Infinity : -Infinity;
    const answer: LinearAnswer =
      left <= 0
        ? { status: 'timeout', bound }
        : await this.#solver.solve(program, { ...limits, timeLimitS: Math.min(limits.timeLimitS, left) });
    this.#isCut ||= answer.status === 'timeout';
    return answer;
  }

  /** The solver stays open: it is another's. */
  async close(): Promise<void> {}
}
