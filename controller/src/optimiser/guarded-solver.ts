import { fitsTiny } from './javascript-lp-model.js';
import type { LinearProgram } from './linear-program.js';
import type { LinearAnswer, LinearSolver, SolverLimits, Solvers } from './solver.js';

/** Relative; the tiny solver's figures carry 8 decimals. */
const AGREEMENT = 1e-6;

/**
 * Asks the tiny solver first where it fits, and takes its (already checked) point only when the exact solver's linear
 * relaxation proves it best; in every other case the exact solver answers.
 */
export class GuardedSolver implements LinearSolver {
  readonly name: string;
  readonly #solvers: Solvers;

  constructor(solvers: Solvers) {
    this.#solvers = solvers;
    this.name = solvers.tiny === undefined ? solvers.exact.name : `${solvers.tiny.name}, else ${solvers.exact.name}`;
  }

  async solve(program: LinearProgram, limits: SolverLimits): Promise<LinearAnswer> {
    const { exact, tiny } = this.#solvers;
    if (tiny === undefined || !fitsTiny(program)) return exact.solve(program, limits);
    const relaxation = await exact.solve({ ...program, integer: new Uint8Array(program.integer.length) }, limits);
    if (relaxation.status !== 'optimal') return exact.solve(program, limits);
    const claim = await tiny.solve(program, limits);
    if (claim.status !== 'feasible') return exact.solve(program, limits);
    const distance = Math.abs(relaxation.bound - claim.objective);
    if (distance > AGREEMENT * Math.max(1, Math.abs(relaxation.bound))) return exact.solve(program, limits);
    return { ...claim, status: 'optimal', bound: relaxation.bound };
  }

  async close(): Promise<void> {}
}
