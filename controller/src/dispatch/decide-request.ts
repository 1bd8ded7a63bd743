import type { FleetError } from '@fleetgate/shared/errors';

import type { Device } from '../fleet/device.js';
import type { DispatchFacts } from './candidates.js';
import { forEvaluation, type RequestControl, withoutAdmission } from './control/request-control.js';
import { decide, type Decision, fetchProgress } from './decide.js';
import type { DispatcherParts } from './dispatcher-parts.js';
import type { JobRuns } from './job-runs.js';
import type { DeviceLoad } from './device-load.js';
import type { DispatchPolicy } from './dispatch-policy.js';
import type { ModelTarget } from './model-target.js';
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
  const factsOf = factsFor(parts, runs, request, policy);
  const { variantId } = said;
  if (variantId === undefined) return decide(factsOf(target), prompt.model);
  // An answer goes on as it began where somebody else serves the same.
  const same = decide(factsOf({ kind: 'variant', variantId, mode: target.mode }), prompt.model);
  return same.kind === 'chosen' ? same : decide(factsOf(target), prompt.model);
}

/** What a request is decided by, whatever it is taken to ask for. Facts are read for every device: they are of one shape. */
function factsFor(
  parts: DispatcherParts,
  runs: Runs,
  request: Request,
  policy: DispatchPolicy,
): (target: ModelTarget) => DispatchFacts {
  const { config, costs, fleet, workloads, worth } = parts;
  const { counted, prompt, said, score, tried } = request;
  const turn = turnOf(parts, request);
  const own = request.run?.phase === 'held' ? request.run.jobId : undefined;
  const loadOf = (device: Device): DeviceLoad => runs.loadOf(device, turn, own);
  const control = controlOf(parts, request);
  const catalogue = parts.catalogue();
  const unresponsive = runs.unresponsive();
  const abilities = [...neededAbilities(prompt), ...(said.isEmpty ? [] : (['resume'] as const))];
  const promptTokens = request.promptTokens + said.tokens;
  const maxOutputTokens = isOnlyRead(prompt.input) ? 0 : Math.max(1, prompt.sampling.maxTokens - said.tokens);
  const answerFactor = score === undefined ? 1 : workloads.answerFactor(score.classId);
  // What was taken up goes before what is new, and there is no more of it than `maxInFlight`.
  const maxQueuedPerDevice = counted ? Infinity : config.maxQueuedPerDevice;
  const { biasOf, onTrial } = leaningOf(parts.steering, request);
  return (target) => ({
    target,
    limits: prompt.limits,
    score,
    promptTokens,
    maxOutputTokens,
    abilities,
    answerFactor,
    catalogue,
    fleet: fleet.view,
    policy,
    costs,
    loadOf,
    maxQueuedPerDevice,
    tried,
    unresponsive,
    onTrial,
    biasOf,
    control,
    worth,
  });
}

/** What budgets say of it: evaluations are no demand, and what was taken up is not turned away. */
function controlOf({ control }: DispatcherParts, { counted, prompt, score }: Request): RequestControl | undefined {
  const priced = control?.forRequest(score?.classId, prompt.tenant);
  const own = prompt.input.kind === 'score' ? forEvaluation(priced) : priced;
  return counted ? withoutAdmission(own) : own;
}
