import { systemClock } from '@fleetgate/shared/clock';
import { elapsed } from '@fleetgate/shared/units/quantity';

import { explainPlan, type ExplainQuestion, type PlanExplanation } from '../optimiser/explain-plan.js';
import { optimise, type OptimiseLimits } from '../optimiser/optimise.js';
import { route } from '../optimiser/route.js';
import type { Placement } from '../optimiser/placement.js';
import type { PlacementPlan } from '../optimiser/plan.js';
import type { PlacementProblem } from '../optimiser/problem.js';
import type { Solvers } from '../optimiser/solver.js';
import { WarmPlan } from '../optimiser/warm-plan.js';

/** What is asked of an optimiser: plain data, so that it can be asked in another thread. */
export type OptimiserQuestion =
  | { readonly kind: 'optimise'; readonly problem: PlacementProblem; readonly limits: OptimiseLimits }
  | {
      readonly kind: 'route';
      readonly problem: PlacementProblem;
      readonly placement: Pick<Placement, 'placement' | 'poweredOn'>;
      readonly limits: OptimiseLimits;
    };

/** What is to be explained of a plan, and for how long at most. */
export interface ExplanationQuestion {
  readonly kind: 'explain';
  readonly problem: PlacementProblem;
  readonly plan: PlacementPlan;
  readonly asked: ExplainQuestion;
  readonly limits: { readonly timeLimitS: number };
}

/**
 * Where plans come from. Rejects with `solver.timeout` when the answer takes far longer than the question's limit, and
 * with `solver.failed` when the solver broke down; the next question finds a fresh one.
 */
export interface PlacementOptimiser {
  ask(question: OptimiserQuestion): Promise<PlacementPlan>;
  /** Why a plan is as it is, as far as solving again within the limit can tell. Rejects as `ask` does. */
  explain(question: ExplanationQuestion): Promise<PlanExplanation>;
  close(): Promise<void>;
}

/** Answers questions with the solvers at hand, one at a time; keeps the last plan of a large fleet warm. */
export class QuestionAnswers {
  readonly #solvers: Solvers;
  #warm: WarmPlan | undefined;

  constructor(solvers: Solvers) {
    this.#solvers = solvers;
  }

  async answer(question: OptimiserQuestion): Promise<PlacementPlan> {
    switch (question.kind) {
      case 'optimise':
        return this.#optimise(question.problem, question.limits);
      case 'route':
        return route(question.problem, question.placement, question.limits, this.#solvers);
    }
  }

  async #optimise(problem: PlacementProblem, limits: OptimiseLimits): Promise<PlacementPlan> {
    if (problem.devices.length < WARM_FLEET) return optimise(problem, limits, this.#solvers);
    const started = systemClock.now();
    const quick = this.#warm?.replan(problem, WARM_GAP);
    if (quick !== undefined && (quick.gap ?? Infinity) <= WARM_GAP) {
      return { ...quick, seconds: elapsed(started, systemClock.now()) / 1000 };
    }
    const plan = await optimise(problem, limits, this.#solvers);
    const engine = await this.#solvers.exact.engine?.();
    this.#warm = engine === undefined ? undefined : WarmPlan.of(problem, plan, engine);
    return plan;
  }
}

/** Smaller fleets are searched from nothing in well under a second. */
const WARM_FLEET = 60;
/** A plan with the old catalogue is good enough when nothing can be this much better: a tenth of what is measured wrong. */
const WARM_GAP = 1e-3;

/** Answers one question about a plan with the solvers at hand. */
export function answerExplanation(
  { problem, plan, asked, limits }: ExplanationQuestion,
  solvers: Solvers,
): Promise<PlanExplanation> {
  return explainPlan(problem, plan, asked, { solvers, clock: systemClock, timeLimitS: limits.timeLimitS });
}

/** Solves on the calling thread: for tests and small programs. */
export class InlineOptimiser implements PlacementOptimiser {
  readonly #solvers: Solvers;
  readonly #answers: QuestionAnswers;

  constructor(solvers: Solvers) {
    this.#solvers = solvers;
    this.#answers = new QuestionAnswers(solvers);
  }

  ask(question: OptimiserQuestion): Promise<PlacementPlan> {
    return this.#answers.answer(question);
  }

  explain(question: ExplanationQuestion): Promise<PlanExplanation> {
    return answerExplanation(question, this.#solvers);
  }

  async close(): Promise<void> {
    await this.#solvers.exact.close();
    await this.#solvers.tiny?.close();
  }
}
