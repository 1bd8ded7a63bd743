import type { RequestView } from '@fleetgate/shared/api/operations';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { Dispatcher } from '../dispatch/dispatcher.js';
import { resolveModel } from '../dispatch/model-target.js';
import type { SqliteLedger } from '../dispatch/sqlite-ledger.js';
import type { Device } from '../fleet/device.js';
import type { DispatchFigures } from '../platform/dispatch-metrics.js';
import type { DeviceFigures } from '../platform/metrics.js';
import type { EndedRequest } from '../platform/serving-metrics.js';

/** A record that has ended, for metrics: milliseconds become seconds, and what a client wrote becomes one of a few words. */
export function endedRequest(record: RequestView, catalogue: Catalogue): EndedRequest {
  const { actual, collaboration, callOf, endedAtMs, expertId, receivedAtMs, state } = record;
  const { engine, ttftMs } = actual ?? {};
  const isKnown = resolveModel({ model: record.model, mode: undefined }, catalogue) !== undefined;
  return {
    role: callOf !== undefined ? 'call' : collaboration !== undefined ? 'joint' : 'single',
    state: state === 'queued' || state === 'running' ? 'failed' : state,
    operation: operationOf(record.endpoint),
    requestModel: isKnown ? record.model : 'other',
    expert: expertId ?? undefined,
    variant: record.variantId ?? undefined,
    device: record.deviceId ?? undefined,
    finishReason: record.finishReason === 'length' ? 'length' : 'stop',
    errorType: record.error?.code,
    abstained: record.abstained !== undefined,
    durationS: Math.max(0, (endedAtMs ?? receivedAtMs) - receivedAtMs) / 1000,
    firstTokenS: ttftMs === undefined || ttftMs === null ? undefined : Math.max(0, ttftMs) / 1000,
    use:
      actual === null
        ? undefined
        : {
            energyJ: actual.energyJ,
            energySource: actual.energySource,
            promptTokens: actual.promptTokens,
            cachedTokens: actual.reusedTokens ?? 0,
            outputTokens: actual.outputTokens,
          },
    engine:
      engine === undefined
        ? undefined
        : { queueS: engine.queueMs / 1000, prefillS: engine.prefillMs / 1000, decodeS: engine.decodeMs / 1000 },
  };
}

function operationOf(endpoint: string): string {
  switch (endpoint) {
    case '/v1/completions':
      return 'text_completion';
    case '/v1/embeddings':
      return 'embeddings';
    case '/api/v1/score':
    case 'enrolment':
      return 'score';
    default:
      return 'chat';
  }
}

/** What dispatch has counted and has in hand. */
export function dispatchFigures(dispatcher: Dispatcher, ledger: SqliteLedger): DispatchFigures {
  const { succeeded, failed, refused, cancelled, hedged, hedgesWon, retried, takenOver, ...stats } = dispatcher.stats;
  const { duplicate, late, foreign, overflow } = stats;
  const jobs = [...dispatcher.expertLoads().values()];
  return {
    ended: { succeeded, failed, refused, cancelled },
    retried,
    takenOver,
    hedged,
    hedgesWon,
    ignored: { duplicate, late, foreign, overflow },
    requestsInFlight: dispatcher.inFlight,
    jobsRunning: jobs.reduce((sum, { running }) => sum + running, 0),
    jobsWaiting: jobs.reduce((sum, { waiting }) => sum + waiting, 0),
    recordsWaiting: ledger.waiting,
    recordsDropped: ledger.dropped,
  };
}

export function deviceFigures({ id, presence, last, reported }: Device): DeviceFigures {
  return {
    device: id,
    online: presence === 'online',
    powerW: last.powerW,
    temperatureC: last.temperatureC,
    memoryUsedBytes: reported?.memory.usedBytes,
    memoryBudgetBytes: reported?.memory.budgetBytes,
    residentVariants: (reported?.variants ?? []).filter(({ residency }) => residency === 'resident').length,
  };
}
