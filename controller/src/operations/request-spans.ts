/**
 * What a decision record is as a trace: one span of the request, and within it the decision and every attempt. Made when
 * the request has ended, so that a request under way pays nothing for it. Pure.
 */
import { createHash } from 'node:crypto';

import type { RequestView } from '@fleetgate/shared/api/operations';

import type { EndedRequest } from '../platform/serving-metrics.js';
import { PROVIDER } from '../platform/serving-metrics.js';
import type { SpanAttributes, SpanFigures, SpanParent } from '../platform/span-figures.js';

/**
 * The spans of a record that has ended, the request's own first. Their ids follow from the request's, so a trace can be
 * found by the `x-request-id` of an answer; within a client's trace the trace's id is the client's.
 */
export function requestSpans(record: RequestView, ended: EndedRequest): readonly SpanFigures[] {
  const { id, callOf, traceParent, receivedAtMs } = record;
  const [, clientTrace, clientSpan, flags] = traceParent?.split('-') ?? [];
  const traceId = clientTrace ?? idOf(`trace ${callOf ?? id}`, 32);
  const endMs = Math.max(receivedAtMs, record.endedAtMs ?? receivedAtMs);
  const root: SpanFigures = {
    traceId,
    spanId: idOf(id, 16),
    parent: parentOf(callOf, clientSpan, flags),
    name: `${ended.operation} ${ended.requestModel}`,
    kind: callOf === undefined ? 'server' : 'internal',
    startMs: receivedAtMs,
    endMs,
    attributes: attributesOf(record, ended),
    events: firstToken(record, endMs),
    error: ended.state === 'failed' || ended.state === 'refused' ? (record.error?.message ?? ended.state) : undefined,
  };
  const within: SpanParent = { kind: 'span', spanId: root.spanId };
  const decidedMs = record.attempts[0]?.startedAtMs ?? receivedAtMs;
  const decision: SpanFigures = {
    traceId,
    spanId: idOf(`${id} decide`, 16),
    parent: within,
    name: 'decide',
    kind: 'internal',
    startMs: receivedAtMs,
    endMs: Math.max(receivedAtMs, decidedMs),
    attributes: decisionAttributes(record),
    events: [],
    error: undefined,
  };
  const attempts = record.attempts.map((attempt, at): SpanFigures => {
    const { deviceId, variantId, outcome, startedAtMs } = attempt;
    const isDone = outcome === 'succeeded';
    return {
      traceId,
      spanId: idOf(`${id} ${at}`, 16),
      parent: within,
      name: 'attempt',
      kind: 'client',
      startMs: startedAtMs,
      endMs: Math.max(startedAtMs, record.attempts[at + 1]?.startedAtMs ?? endMs),
      attributes: {
        'fleetgate.device': deviceId,
        'gen_ai.response.model': variantId,
        'fleetgate.outcome': outcome,
        ...(isDone ? {} : { 'error.type': outcome }),
        ...(at === record.attempts.length - 1 ? engineAttributes(ended) : {}),
      },
      events: [],
      error: isDone || outcome === 'job.cancelled' ? undefined : outcome,
    };
  });
  return [root, decision, ...attempts];
}

function parentOf(
  callOf: string | undefined,
  clientSpan: string | undefined,
  flags: string | undefined,
): SpanParent | undefined {
  const isSampled = flags === undefined ? undefined : (Number.parseInt(flags, 16) & 1) === 1;
  if (callOf !== undefined) return { kind: 'request', spanId: idOf(callOf, 16), isSampled };
  return clientSpan === undefined ? undefined : { kind: 'client', spanId: clientSpan, isSampled: isSampled === true };
}

function attributesOf(record: RequestView, ended: EndedRequest): SpanAttributes {
  const { actual, predicted, collaboration } = record;
  return {
    'gen_ai.operation.name': ended.operation,
    'gen_ai.provider.name': PROVIDER,
    'gen_ai.request.model': record.model,
    'gen_ai.response.model': ended.variant,
    'gen_ai.response.finish_reasons': record.finishReason === null ? undefined : [record.finishReason],
    'gen_ai.usage.input_tokens': ended.use?.promptTokens,
    'gen_ai.usage.output_tokens': ended.use?.outputTokens,
    'gen_ai.usage.cache_read.input_tokens': actual?.reusedTokens,
    'url.path': record.endpoint,
    'error.type': ended.errorType,
    'fleetgate.request.id': record.id,
    'fleetgate.state': record.state,
    'fleetgate.mode': record.mode,
    'fleetgate.class': record.classId ?? undefined,
    'fleetgate.expert': ended.expert,
    'fleetgate.device': ended.device,
    'fleetgate.plan': record.planId ?? undefined,
    'fleetgate.joules': actual?.energyJ,
    'fleetgate.joules.source': actual?.energySource,
    'fleetgate.joules.predicted': predicted?.energyJ,
    'fleetgate.duration.predicted': predicted === null ? undefined : predicted.latencyMs / 1000,
    'fleetgate.collaboration': collaboration?.how,
  };
}

function decisionAttributes({ candidates, why }: RequestView): SpanAttributes {
  const chosen = candidates.find((candidate) => candidate.chosen);
  return {
    'fleetgate.why': why,
    'fleetgate.candidates': candidates.length,
    'fleetgate.candidates.excluded': candidates.filter(({ excluded }) => excluded !== null).length,
    'fleetgate.quality.predicted': chosen?.quality,
  };
}

function engineAttributes({ engine }: EndedRequest): SpanAttributes {
  return {
    'fleetgate.queue.duration': engine?.queueS,
    'fleetgate.prefill.duration': engine?.prefillS,
    'fleetgate.decode.duration': engine?.decodeS,
  };
}

function firstToken({ actual, receivedAtMs }: RequestView, endMs: number): SpanFigures['events'] {
  const ttftMs = actual?.ttftMs;
  if (ttftMs === undefined || ttftMs === null) return [];
  return [{ name: 'first token', atMs: Math.min(endMs, receivedAtMs + ttftMs) }];
}

function idOf(text: string, digits: 16 | 32): string {
  return createHash('sha256').update(text).digest('hex').slice(0, digits);
}
