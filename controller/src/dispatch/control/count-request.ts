/** What budgets are told of a request on its way. */
import type { JobId } from '@fleetgate/shared/ids';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { Request } from '../request.js';
import type { Selection } from '../select.js';
import type { BudgetControl } from './budget-control.js';

/** A job is about to be sent: the first of a request also counts as the request taken up. */
export function countJob(
  control: BudgetControl | undefined,
  request: Request,
  { chosen }: Selection,
  job: JobId,
): void {
  const { prompt, score } = request;
  const isFirst = !request.counted;
  request.counted = true;
  const { cost, deviceId, wait } = chosen?.candidate ?? {};
  if (control === undefined || cost === undefined || deviceId === undefined) return;
  // Scoring is evaluation: it costs joules, and is no request of the class whose mean is bounded.
  const classId = prompt.input.kind === 'score' ? undefined : score?.classId;
  if (isFirst) control.taken(classId, milliseconds(cost.latency + (wait ?? 0)), cost.energy);
  control.book(job, { classId, tenant: prompt.tenant, deviceId, cost });
}

/** It has ended with an answer; `record` holds its actual cost. */
export function countAnswer(control: BudgetControl | undefined, { prompt, record, score }: Request): void {
  const { actual, predicted } = record;
  if (control === undefined || prompt.input.kind === 'score' || actual === null || predicted === null) return;
  control.answered(score?.classId, milliseconds(predicted.latencyMs), milliseconds(actual.latencyMs));
}

/** It was refused. Only what budgets turned away counts against the share that is to be served. */
export function countRefusal(control: BudgetControl | undefined, { score }: Request, { ranked }: Selection): void {
  const byBudget = ranked.some(
    ({ candidate: { excluded } }) => excluded === 'priced-out' || excluded === 'budget-spent',
  );
  if (byBudget) control?.turnedAway(score?.classId);
}
