/** Entry of the process that plans are solved in; the solvers stay warm between questions. */
import { messageOf } from '@fleetgate/shared/errors';

import { HighsSolver } from '../optimiser/highs-solver.js';
import { JavascriptLpSolver } from '../optimiser/javascript-lp-solver.js';
import type { PlacementPlan } from '../optimiser/plan.js';
import { answerQuestion, type OptimiserQuestion } from './placement-optimiser.js';

export interface OptimiserRequest {
  readonly id: number;
  readonly question: OptimiserQuestion;
}
export type OptimiserReply =
  { readonly id: number; readonly plan: PlacementPlan } | { readonly id: number; readonly error: string };

const solvers = { exact: new HighsSolver(), tiny: new JavascriptLpSolver() };

process.on('message', ({ id, question }: OptimiserRequest) => {
  void answerQuestion(question, solvers).then(
    (plan) => reply({ id, plan }),
    (error: unknown) => reply({ id, error: messageOf(error) }),
  );
});
process.on('disconnect', () => process.exit());
// Ctrl-C goes to the whole process group; the controller decides when its optimiser ends.
process.on('SIGINT', () => {});

function reply(message: OptimiserReply): void {
  if (process.connected) process.send?.(message);
}
