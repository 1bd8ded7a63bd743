import { FleetError } from '@fleetgate/shared/errors';
import type { ExpertId } from '@fleetgate/shared/ids';

import type { DispatchFacts } from './candidates.js';
import { chosenBy, type Decision } from './decide.js';
import type { DispatchPolicy } from './dispatch-policy.js';
import { isOnlyRead } from './prompt.js';
import type { Request } from './request.js';
import type { Steering } from './steering.js';

/** What keeps a request from the highest predicted value: experts on trial and, in `auto`, the plan's shares. */
export function leaningOf(
  steering: Steering | undefined,
  { score, target }: Pick<Request, 'score' | 'target'>,
): Pick<DispatchFacts, 'onTrial' | 'biasOf'> {
  if (steering === undefined || score === undefined || target?.kind !== 'any') return {};
  const biasOf = (expert: ExpertId): number => steering.biasOf(score.classId, expert);
  return { onTrial: steering.onTrial(), ...(target.mode === 'auto' ? { biasOf } : {}) };
}

/** The first attempt of an `auto` request may be made with another expert, to learn how good that one is. */
export function steered(
  steering: Steering | undefined,
  { prompt, record, score, target }: Pick<Request, 'prompt' | 'record' | 'score' | 'target'>,
  decision: Decision | FleetError,
  policy: DispatchPolicy | undefined,
): Decision | FleetError {
  if (steering === undefined || policy === undefined || score === undefined) return decision;
  if (decision instanceof FleetError || decision.kind !== 'chosen') return decision;
  const isAuto = target?.kind === 'any' && target.mode === 'auto' && !isOnlyRead(prompt.input);
  // A prompt that nothing is predicted for is no place to try a new expert, nor does it teach how one does.
  if (!isAuto || record.attempts.length > 0 || score.abstained !== undefined) return decision;
  return chosenBy(steering.settle(decision.selection, score.classId, policy.shares), policy.planId) ?? decision;
}
