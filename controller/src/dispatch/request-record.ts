import type { CandidateView, RequestView } from '@fleetgate/shared/api/operations';
import { type JobId, jobId, requestId, type RequestId } from '@fleetgate/shared/ids';
import type { JobUsage } from '@fleetgate/shared/protocol/job';
import type { Random } from '@fleetgate/shared/random';
import { elapsed, type UnixMs } from '@fleetgate/shared/units/quantity';

import { promptChars, promptText, type Prompt } from './prompt.js';
import type { Ranked, Selection } from './select.js';
import { whyChosen } from './why.js';

/** Candidates kept of one decision: the chosen one and the best of the rest. */
const MAX_CANDIDATES = 32;

/** A new request's id; ids of a kind sort by arrival as long as the clock does not go back. */
export function newRequestId(now: UnixMs, random: Random, kind: 'req' | 'call' = 'req'): RequestId {
  // 9 digits of base 36 hold milliseconds until the year 5188.
  return requestId(`${kind}-${Math.floor(now).toString(36).padStart(9, '0')}${random.token(11)}`);
}

/** The job of an attempt, which are counted from 1. */
export const jobIdOf = (id: string, attempt: number): JobId => jobId(`${id}-${attempt}`);

/** The record of a request that has just come. */
export function openRecord(
  id: RequestId,
  prompt: Prompt,
  mode: string,
  receivedAt: UnixMs,
  storePrompts: boolean,
): RequestView {
  return {
    id,
    receivedAtMs: receivedAt,
    endedAtMs: null,
    state: 'queued',
    endpoint: prompt.endpoint,
    model: prompt.model.slice(0, 200),
    mode,
    classId: null,
    planId: null,
    promptChars: promptChars(prompt.input),
    ...(storePrompts ? { prompt: promptText(prompt.input) } : {}),
    expertId: null,
    variantId: null,
    deviceId: null,
    attempts: [],
    why: '',
    candidates: [],
    predicted: null,
    actual: null,
    finishReason: null,
    error: null,
  };
}

/** The record of a request that waits for its device. */
export function recordPlace(record: RequestView, place: number, { chosen }: Selection): RequestView {
  return { ...record, state: 'queued', queue: { place, etaMs: round(chosen?.candidate.wait ?? 0) } };
}

/** The record of one that waited and is being sent. */
export function recordSent(record: RequestView, now: UnixMs): RequestView {
  const attempts = record.attempts.map((one, at, all) => (at === all.length - 1 ? { ...one, startedAtMs: now } : one));
  return { ...record, state: 'running', queue: undefined, attempts };
}

/** The record with the candidates of its next attempt, as they were before anything was sent. */
export function recordDecision(record: RequestView, selection: Selection): RequestView {
  const chosen = selection.chosen?.candidate;
  const { qualityPerJoule, qualityPerSecond } = selection.prices;
  const prices = { perJoule: round(qualityPerJoule), perSecond: round(qualityPerSecond) };
  const candidates = selection.ranked
    .slice(0, MAX_CANDIDATES)
    .map((ranked) => viewOf(ranked, ranked === selection.chosen));
  if (chosen === undefined) return { ...record, candidates, prices };
  return {
    ...record,
    candidates,
    prices,
    why: whyChosen(selection, record.attempts.length + 1, record.abstained),
    predicted:
      chosen.cost === undefined
        ? null
        : { latencyMs: round(chosen.cost.latency + chosen.wait), energyJ: round(chosen.cost.energy) },
    expertId: chosen.expertId,
    variantId: chosen.variantId,
    deviceId: chosen.deviceId ?? null,
  };
}

/** The record with the outcome of an attempt, by default of the last. */
export function withOutcome(record: RequestView, outcome: string, attempt = record.attempts.length - 1): RequestView {
  const attempts = record.attempts.map((one, at) => (at === attempt ? { ...one, outcome } : one));
  return { ...record, attempts };
}

export function recordEnd(record: RequestView, state: RequestView['state'], at: UnixMs): RequestView {
  return { ...record, state, endedAtMs: at, queue: undefined };
}

/** What a request did cost, from what its last agent says and what the client saw; jobs that failed before count in. */
export function actualCost(
  usage: JobUsage,
  request: { readonly receivedAt: UnixMs; readonly firstTokenAt: UnixMs | undefined; readonly record: RequestView },
  endedAt: number,
): NonNullable<RequestView['actual']> {
  const { receivedAt, firstTokenAt, record } = request;
  return {
    latencyMs: endedAt - receivedAt,
    energyJ: usage.energyJ + (record.actual?.energyJ ?? 0),
    promptTokens: usage.promptTokens,
    outputTokens: usage.outputTokens,
    ttftMs: firstTokenAt === undefined ? null : elapsed(receivedAt, firstTokenAt),
    energySource: usage.energySource,
    ...(usage.reusedTokens === undefined ? {} : { reusedTokens: usage.reusedTokens }),
    engine: { queueMs: usage.queueMs, prefillMs: usage.prefillMs, decodeMs: usage.decodeMs },
    ...(usage.slabs === undefined ? {} : { slabs: usage.slabs }),
  };
}

function viewOf({ candidate, value }: Ranked, chosen: boolean): CandidateView {
  const { cost } = candidate;
  return {
    expertId: candidate.expertId,
    variantId: candidate.variantId,
    deviceId: candidate.deviceId ?? null,
    quality: round(candidate.quality),
    qualitySd: round(candidate.qualitySd),
    latencyMs: cost === undefined ? null : round(cost.latency + candidate.wait),
    energyJ: cost === undefined ? null : round(cost.energy),
    value: value === undefined ? null : round(value),
    chosen,
    excluded: candidate.excluded ?? null,
  };
}

/** Records are read by people: six digits say more than enough. */
function round(value: number): number {
  const size = Math.abs(value);
  if (!(size >= 1e-3 && size < 1e6)) return Number(value.toPrecision(6));
  // The same without a text between, for there are well over a hundred figures in a record.
  let scale = size < 0.1 ? (size < 0.01 ? 1e8 : 1e7) : 1e6;
  for (let above = 1; size >= above; above *= 10) scale /= 10;
  return Math.round(value * scale) / scale;
}
