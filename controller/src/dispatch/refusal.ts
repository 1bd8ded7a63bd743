import { FleetError } from '@fleetgate/shared/errors';
import type { ClassId } from '@fleetgate/shared/ids';
import type { EngineAbility } from '@fleetgate/shared/protocol/twin';
import type { Joules, Milliseconds } from '@fleetgate/shared/units/quantity';

import type { Candidate, DispatchFacts, Exclusion } from './candidates.js';
import type { RequestControl } from './control/request-control.js';
import { VIRTUAL_MODELS } from './model-target.js';
import type { Prompt } from './prompt.js';

/** The field of a request that asks for what an engine has to be able to do. */
const FIELD_OF: Readonly<Record<EngineAbility, string | null>> = {
  grammar: 'response_format',
  'log-probs': 'logprobs',
  embeddings: 'input',
  resume: null,
};

/**
 * Why nothing can be chosen, as the error a client gets. Prefers the reason that passes by itself soonest: a full
 * queue, then a model that is loading, then budgets, then devices that are away.
 */
export function refusalFor(
  candidates: readonly Candidate[],
  { limits, abilities, control, score }: Pick<DispatchFacts, 'limits' | 'abilities' | 'control' | 'score'>,
  model: string,
): FleetError {
  const asked = candidates.filter(({ excluded }) => excluded !== 'not-asked-for');
  const by = (...reasons: readonly Exclusion[]): readonly Candidate[] =>
    asked.filter(({ excluded }) => excluded !== undefined && reasons.includes(excluded));

  const full = by('queue-full');
  if (full.length > 0) {
    return new FleetError('job.queue-full', `every device that serves ${model} has a full queue`, {
      retryable: true,
      hint: 'try again in a moment, or let auto choose among all experts',
      context: { retryAfterMs: soonest(full) },
    });
  }
  const waiting = by('wait-too-long');
  if (waiting.length > 0) {
    return new FleetError(
      'dispatch.over-latency',
      `${model} would answer in ${least(waiting, answerTime)} ms, waiting included, over the limit of ${limits.latency} ms`,
      { retryable: true, context: { param: 'fleetgate.latencyMs', retryAfterMs: soonest(waiting) } },
    );
  }
  const loading = by('not-resident').toSorted((a, b) => (b.progress ?? 0) - (a.progress ?? 0))[0];
  if (loading !== undefined) return loadingError(model, loading);
  const priced = by('priced-out');
  if (priced.length > 0) return pricedOutError(priced, control, score?.classId);
  const overEnergy = by('over-energy-budget');
  if (overEnergy.length > 0) {
    return new FleetError(
      'dispatch.over-budget',
      `${model} needs at least ${least(overEnergy, ({ cost }) => cost?.energy)} J, over the limit of ${limits.energy} J`,
      {
        hint: 'raise fleetgate.energyJ, lower max_tokens, or ask for auto:eco',
        context: { param: 'fleetgate.energyJ' },
      },
    );
  }
  const spent = by('budget-spent');
  if (spent.length > 0) return spentError(spent, control);
  const overLatency = by('over-latency-budget');
  if (overLatency.length > 0) {
    return new FleetError(
      'dispatch.over-latency',
      `${model} needs at least ${least(overLatency, answerTime)} ms, over the limit of ${limits.latency} ms`,
      {
        hint: 'raise fleetgate.latencyMs, lower max_tokens, or ask for auto:fast',
        context: { param: 'fleetgate.latencyMs' },
      },
    );
  }
  if (by('context-too-small').length > 0) {
    return new FleetError('request.invalid', `the prompt is longer than the context of every expert of ${model}`, {
      hint: 'shorten the prompt',
      context: { param: 'messages' },
    });
  }
  if (by('engine-cannot').length > 0) {
    return new FleetError(
      'request.invalid',
      `no device that serves ${model} has an engine that can do what is asked: ${abilities.join(', ')}`,
      {
        hint: 'leave it out, or ask for another model; agents older than the controller cannot either',
        context: { param: abilities[0] === undefined ? null : FIELD_OF[abilities[0]] },
      },
    );
  }
  const away = by(
    'battery-low',
    'device-offline',
    'device-unresponsive',
    'device-standby',
    'engine-down',
    'device-tried',
  );
  if (away.length > 0) {
    const reasons = [...new Set(away.map(({ deviceId, excluded }) => `${deviceId}: ${excluded}`))].sort();
    return new FleetError('dispatch.no-capacity', `no device can serve ${model} now (${reasons.join(', ')})`, {
      retryable: true,
    });
  }
  return new FleetError('dispatch.no-capacity', `the active plan places no expert that may answer ${model}`, {
    hint: 'ask for auto, or raise the budgets so that the plan has room for it',
  });
}

/** Passes by itself: the price falls while nothing is asked. */
function pricedOutError(
  priced: readonly Candidate[],
  control: RequestControl | undefined,
  classId: ClassId | undefined,
): FleetError {
  const cheapest = priced.toSorted((a, b) => (a.cost?.energy ?? 0) - (b.cost?.energy ?? 0))[0];
  const energyJ = cheapest?.cost?.energy ?? 0;
  const { qualityPerJoule = 0, reliefPerS = 0, served = 0 } = control ?? {};
  const missing = qualityPerJoule * energyJ - (cheapest?.quality ?? 0) - served;
  const waitS = reliefPerS > 0 && energyJ > 0 ? missing / (reliefPerS * energyJ) : 1;
  return new FleetError(
    'dispatch.over-budget',
    `the fleet's budgets leave no room for ${classId ?? 'this prompt'} now: ${Number(energyJ.toPrecision(3))} J cost more than an answer is worth`,
    {
      retryable: true,
      hint: 'try again in a moment; fleetgate budget show tells which budget is used up, and what weight each class has',
      context: { retryAfterMs: Math.max(1000, 1000 * waitS) },
    },
  );
}

/** Until the next window: trying again before does not help. */
function spentError(spent: readonly Candidate[], control: RequestControl | undefined): FleetError {
  const first = spent.find(({ deviceId, cost }) => deviceId !== undefined && cost !== undefined);
  const budget =
    first?.deviceId === undefined || first.cost === undefined ? undefined : control?.spent(first.deviceId, first.cost);
  const until = budget === undefined ? '' : ` until ${new Date(budget.until).toISOString()}`;
  return new FleetError('dispatch.over-budget', `the usage budget ${budget?.id ?? ''} is spent${until}`, {
    hint: 'fleetgate budget show tells what is left of each budget',
  });
}

export function unknownModelError({ model, experts }: Pick<Prompt, 'model' | 'experts'>): FleetError {
  const isVirtual = VIRTUAL_MODELS.has(model);
  const what = isVirtual
    ? `all of the experts ${(experts ?? []).join(', ').slice(0, 80)}`
    : JSON.stringify(model.slice(0, 80));
  return new FleetError('model.unknown', `the fleet does not know ${isVirtual ? '' : 'the model '}${what}`, {
    hint: 'GET /v1/models lists what there is; auto lets the fleet choose',
    context: { param: isVirtual ? 'fleetgate.experts' : 'model' },
  });
}

export function fullError(limit: number): FleetError {
  return new FleetError('job.queue-full', `${limit} requests are under way, which is the limit`, { retryable: true });
}

export function notKeptError(): FleetError {
  return new FleetError('store.unavailable', 'the database takes no records, and no more can wait for it', {
    retryable: true,
    hint: 'look at the disk of the data directory, or at the database server: what is accepted has to be kept',
  });
}

export function shuttingDownError(): FleetError {
  return new FleetError('dispatch.no-capacity', 'the controller is shutting down', { retryable: true });
}

export function cancelledError(): FleetError {
  return new FleetError('job.cancelled', 'the client went away');
}

/** No plan is active; `progress` is that of the device that has come farthest, if one is fetching. */
export function noPlanError(
  model: string,
  progress: { readonly node: string; readonly progress: number } | undefined,
): FleetError {
  return new FleetError(
    'dispatch.no-plan',
    'the fleet has no active plan yet: devices are being enrolled or measured',
    {
      retryable: true,
      context: {
        loadingModel: model,
        loadingState: 'planning',
        ...(progress === undefined ? {} : { loadingNode: progress.node, loadingProgress: progress.progress }),
      },
    },
  );
}

function loadingError(model: string, { variantId, deviceId, progress }: Candidate): FleetError {
  return new FleetError('dispatch.loading', `${variantId} is not resident yet on ${deviceId}`, {
    retryable: true,
    context: {
      loadingModel: model,
      loadingState: progress === undefined ? 'loading' : 'fetching',
      loadingNode: deviceId ?? null,
      ...(progress === undefined ? {} : { loadingProgress: progress }),
    },
  });
}

const answerTime = ({ cost, wait }: Candidate): number | undefined =>
  cost === undefined ? undefined : cost.latency + wait;

function least(
  candidates: readonly Candidate[],
  of: (candidate: Candidate) => number | Joules | Milliseconds | undefined,
) {
  const smallest = Math.min(...candidates.map((candidate) => of(candidate) ?? Infinity));
  return Number(smallest.toPrecision(3));
}

/** Time until the shortest of these queues is expected to have moved on. */
function soonest(candidates: readonly Candidate[]): number {
  return Math.min(...candidates.map(({ wait }) => wait));
}
