/** Entry of the process that plans are solved in; the solvers stay warm between questions. */
import { messageOf } from '@fleetgate/shared/errors';

import type { PlanExplanation } from '../optimiser/explain-plan.js';
import { HighsSolver } from '../optimiser/highs-solver.js';
import { JavascriptLpSolver } from '../optimiser/javascript-lp-solver.js';
import type { PlacementPlan } from '../optimiser/plan.js';
import {
  answerExplanation,
  QuestionAnswers,
  type ExplanationQuestion,
  type OptimiserQuestion,
} from './placement-optimiser.js';

export interface OptimiserRequest {
  readonly id: number;
  readonly question: OptimiserQuestion | ExplanationQuestion;
}
export type OptimiserReply =
  | { readonly id: number; readonly plan: PlacementPlan }
  | { readonly id: number; readonly explanation: PlanExplanation }
  | { readonly id: number; readonly error: string };

const solvers = { exact: new HighsSolver(), tiny: new JavascriptLpSolver() };
const answers = new QuestionAnswers(solvers);

process.on('message', ({ id, question }: OptimiserRequest) => {
  const answer: Promise<OptimiserReply> =
    question.kind === 'explain'
      ? answerExplanation(question, solvers).then((explanation) => ({ id, explanation }))
      : answers.answer(question).then((plan) => ({ id, plan }));
  void answer.catch((error: unknown) => ({ id, error: messageOf(error) })).then(reply);
});
process.on('disconnect', () => process.exit());
// Ctrl-C goes to the whole process group; the controller decides when its optimiser ends.
process.on('SIGINT', () => {});

function reply(message: OptimiserReply): void {
  if (process.connected) process.send?.(message);
}
