import { optimise, type OptimiseLimits, route } from '../optimiser/optimise.js';
import type { Placement } from '../optimiser/placement.js';
import type { PlacementPlan } from '../optimiser/plan.js';
import type { PlacementProblem } from '../optimiser/problem.js';
import type { Solvers } from '../optimiser/solver.js';

/** What is asked of an optimiser: plain data, so that it can be asked in another thread. */
export type OptimiserQuestion =
  | { readonly kind: 'optimise'; readonly problem: PlacementProblem; readonly limits: OptimiseLimits }
  | {
      readonly kind: 'route';
      readonly problem: PlacementProblem;
      readonly placement: Pick<Placement, 'placement' | 'poweredOn'>;
      readonly limits: OptimiseLimits;
    };

/**
 * Where plans come from. Rejects with `solver.timeout` when the answer takes far longer than the question's limit, and
 * with `solver.failed` when the solver broke down; the next question finds a fresh one.
 */
export interface PlacementOptimiser {
  ask(question: OptimiserQuestion): Promise<PlacementPlan>;
  close(): Promise<void>;
}

/** Answers one question with the solvers at hand. */
export function answerQuestion(question: OptimiserQuestion, solvers: Solvers): Promise<PlacementPlan> {
  switch (question.kind) {
    case 'optimise':
      return optimise(question.problem, question.limits, solvers);
    case 'route':
      return route(question.problem, question.placement, question.limits, solvers);
  }
}

/** Solves on the calling thread: for tests and small programs. */
export class InlineOptimiser implements PlacementOptimiser {
  readonly #solvers: Solvers;

  constructor(solvers: Solvers) {
    this.#solvers = solvers;
  }

  ask(question: OptimiserQuestion): Promise<PlacementPlan> {
    return answerQuestion(question, this.#solvers);
  }

  async close(): Promise<void> {
    await this.#solvers.exact.close();
    await this.#solvers.tiny?.close();
  }
}
