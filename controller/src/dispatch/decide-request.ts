import { FleetError } from '@fleetgate/shared/errors';

import { forEvaluation, withoutAdmission } from './control/request-control.js';
import { decide, type Decision, fetchProgress } from './decide.js';
import type { DispatcherParts } from './dispatcher-parts.js';
import type { JobRuns } from './job-runs.js';
import type { ModelTarget } from './model-target.js';
import { isOnlyRead, neededAbilities } from './prompt.js';
import { noPlanError } from './refusal.js';
import type { Request } from './request.js';
import { leaningOf } from './steer-request.js';
import { turnOf } from './turn.js';

type Runs = Pick<JobRuns, 'loadOf' | 'unresponsive'>;

/** Who answers a request now, or goes on with its answer. An error where there is no plan to decide by. */
export function decideRequest(parts: DispatcherParts, runs: Runs, request: Request): Decision | FleetError {
  const { said, target } = request;
  if (said.variantId === undefined || target === undefined) return decideFor(parts, runs, request, target);
  // An answer goes on as it began where somebody else serves the same.
  const same = decideFor(parts, runs, request, { kind: 'variant', variantId: said.variantId, mode: target.mode });
  if (same instanceof FleetError || same.kind === 'chosen') return same;
  return decideFor(parts, runs, request, target);
}

function decideFor(
  parts: DispatcherParts,
  runs: Runs,
  request: Request,
  target: ModelTarget | undefined,
): Decision | FleetError {
  const { catalogue, config, costs, fleet, policy, workloads } = parts;
  const { prompt, said, score } = request;
  const turn = turnOf(parts, request);
  const priced = parts.control?.forRequest(score?.classId, prompt.tenant);
  const control = prompt.input.kind === 'score' ? forEvaluation(priced) : priced;
  const active = policy();
  if (active === undefined || target === undefined) return noPlanError(prompt.model, fetchProgress(fleet.view));
  return decide(
    {
      target,
      limits: prompt.limits,
      score,
      promptTokens: request.promptTokens + said.tokens,
      maxOutputTokens: isOnlyRead(prompt.input) ? 0 : Math.max(1, prompt.sampling.maxTokens - said.tokens),
      abilities: [...neededAbilities(prompt), ...(said.isEmpty ? [] : (['resume'] as const))],
      answerFactor: score === undefined ? 1 : workloads.answerFactor(score.classId),
      catalogue: catalogue(),
      fleet: fleet.view,
      policy: active,
      estimate: (device, variant, workload) => costs.estimate(device, variant, workload),
      loadOf: (device) => runs.loadOf(device, turn, request.run?.phase === 'held' ? request.run.jobId : undefined),
      // What was taken up goes before what is new, and there is no more of it than `maxInFlight`.
      maxQueuedPerDevice: request.counted ? Infinity : config.maxQueuedPerDevice,
      tried: request.tried,
      unresponsive: runs.unresponsive(),
      control: request.counted ? withoutAdmission(control) : control,
      worth: parts.worth,
      ...leaningOf(parts.steering, request),
    },
    prompt.model,
  );
}
