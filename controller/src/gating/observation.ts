import type { UnixMs } from '@fleetgate/shared/units/quantity';

import { type Evidence, evidenceId } from './evidence.js';
import type { Answered, Observation } from './evidence-sink.js';
import type { GateScore } from './gate.js';
import type { AnswerContext } from './learning-store.js';
import { projectedPlace } from './place-projection.js';

/** An observation as it is kept; undefined for an expert that the gate has no word on, and for what is no number. */
export function evidenceOf(observation: Observation, at: UnixMs, gate: string): Evidence | undefined {
  const { source, subject, expert, score, value } = observation;
  const known = placeOf(score, expert);
  if (known === undefined || !Number.isFinite(value)) return undefined;
  const id = evidenceId(source, subject, expert);
  return { id, subject, at, source, expert, ...known, value: Math.min(1, Math.max(0, value)), gate };
}

/** What is kept of an answer until it is rated; undefined as above. */
export function answerContext(
  { requestId, expert, score }: Answered,
  at: UnixMs,
  gate: string,
): AnswerContext | undefined {
  const known = placeOf(score, expert);
  return known === undefined ? undefined : { requestId, at, expert, ...known, gate };
}

/** A client's rating (0..1) of an answer. */
export function ratingOf({ requestId, ...context }: AnswerContext, value: number, at: UnixMs): Evidence {
  const id = evidenceId('feedback', requestId, context.expert);
  return { ...context, id, subject: requestId, at, source: 'feedback', value };
}

/** Class, place and the trained gate's own prediction: what was learned since is no part of it. */
function placeOf(
  { classId, embedding, experts }: GateScore,
  expert: Answered['expert'],
): Pick<Evidence, 'classId' | 'embedding' | 'predicted' | 'sd' | 'doubt'> | undefined {
  const own = experts.get(expert);
  if (own === undefined) return undefined;
  const { quality: predicted, sd, doubt } = own.unlearned ?? own;
  // Four digits say where a prompt lies.
  const at = projectedPlace(embedding);
  const place = at === undefined ? {} : { embedding: Array.from(at, (x) => Math.round(1e4 * x) / 1e4) };
  return { classId, ...place, predicted, sd, ...(doubt === undefined ? {} : { doubt }) };
}
