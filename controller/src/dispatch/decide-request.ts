import type { FleetError } from '@fleetgate/shared/errors';

import type { DispatchFacts } from './candidates.js';
import { forEvaluation, withoutAdmission } from './control/request-control.js';
import { decide, type Decision, fetchProgress } from './decide.js';
import type { DispatcherParts } from './dispatcher-parts.js';
import type { JobRuns } from './job-runs.js';
import type { DispatchPolicy } from './dispatch-policy.js';
import { isOnlyRead, neededAbilities } from './prompt.js';
import { noPlanError } from './refusal.js';
import type { Request } from './request.js';
import { leaningOf } from './steer-request.js';
import { turnOf } from './turn.js';

type Runs = Pick<JobRuns, 'loadOf' | 'unresponsive'>;

/** Who answers a request now, or goes on with its answer. An error where there is no plan to decide by. */
export function decideRequest(parts: DispatcherParts, runs: Runs, request: Request): Decision | FleetError {
  const { prompt, said, target } = request;
  const policy = parts.policy();
  if (policy === undefined || target === undefined) return noPlanError(prompt.model, fetchProgress(parts.fleet.view));
  const facts = factsOf(parts, runs, request, policy);
  const { variantId } = said;
  if (variantId === undefined) return decide({ ...facts, target }, prompt.model);
  // An answer goes on as it began where somebody else serves the same.
  const same = decide({ ...facts, target: { kind: 'variant', variantId, mode: target.mode } }, prompt.model);
  return same.kind === 'chosen' ? same : decide({ ...facts, target }, prompt.model);
}

function factsOf(
  parts: DispatcherParts,
  runs: Runs,
  request: Request,
  policy: DispatchPolicy,
): Omit<DispatchFacts, 'target'> {
  const { catalogue, config, costs, fleet, workloads } = parts;
  const { prompt, said, score } = request;
  const turn = turnOf(parts, request);
  const own = request.run?.phase === 'held' ? request.run.jobId : undefined;
  const priced = parts.control?.forRequest(score?.classId, prompt.tenant);
  const control = prompt.input.kind === 'score' ? forEvaluation(priced) : priced;
  return {
    limits: prompt.limits,
    score,
    promptTokens: request.promptTokens + said.tokens,
    maxOutputTokens: isOnlyRead(prompt.input) ? 0 : Math.max(1, prompt.sampling.maxTokens - said.tokens),
    abilities: [...neededAbilities(prompt), ...(said.isEmpty ? [] : (['resume'] as const))],
    answerFactor: score === undefined ? 1 : workloads.answerFactor(score.classId),
    catalogue: catalogue(),
    fleet: fleet.view,
    policy,
    costs,
    loadOf: (device) => runs.loadOf(device, turn, own),
    // What was taken up goes before what is new, and there is no more of it than `maxInFlight`.
    maxQueuedPerDevice: request.counted ? Infinity : config.maxQueuedPerDevice,
    tried: request.tried,
    unresponsive: runs.unresponsive(),
    control: request.counted ? withoutAdmission(control) : control,
    worth: parts.worth,
    ...leaningOf(parts.steering, request),
  };
}
