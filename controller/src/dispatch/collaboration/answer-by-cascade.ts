import { FleetError } from '@fleetgate/shared/errors';

import type { Answer, AnswerRoom, JointAnswer } from './answer-room.js';
import { type CascadePlan, planCascade, qualityAfter } from './cascade.js';
import type { Member } from './members.js';

/** A cheap expert first; a better one where the first is not sure enough of its answer. */
export async function answerByCascade(room: AnswerRoom, members: readonly Member[]): Promise<JointAnswer> {
  const { confidence } = room.parts;
  const plan = planCascade(members, ({ expertId }) => confidence.of(expertId));
  if (plan === undefined) throw nobodyError();
  const { first, next } = plan;
  const input = room.prompt.input;
  let given: Answer;
  try {
    given = await room.ask(first, { role: 'first', input, logProbs: true, streamed: next === undefined });
  } catch (error) {
    if (next === undefined || room.hasTold || room.signal.aborted) throw error;
    const answer = await room.ask(next, { role: 'escalation', input, streamed: true });
    return jointOf(room, answer, next.quality, `${first.expertId} failed, so ${next.expertId} was asked`);
  }
  const quality = qualityAfter(first, confidence.of(first.expertId), given.done.meanLogProb);
  if (next === undefined) return jointOf(room, given, quality, `${first.expertId} is the only one that may be asked`);
  const sure = sureness(given, quality, plan);
  if (quality >= plan.threshold) return keep(room, given, quality, `${first.expertId} was kept: ${sure}`);
  try {
    const answer = await room.ask(next, { role: 'escalation', input, streamed: true });
    return jointOf(room, answer, next.quality, `${next.expertId} took over from ${first.expertId}: ${sure}`);
  } catch (error) {
    if (room.hasTold || room.signal.aborted) throw error;
    const reason = error instanceof FleetError ? error.message : String(error);
    return keep(room, given, quality, `${first.expertId} was kept though unsure (${sure}): ${reason}`);
  }
}

/** Gives the client an answer that was held back. */
function keep(room: AnswerRoom, answer: Answer, quality: number, why: string): JointAnswer {
  room.request.events.push({ kind: 'chosen', choice: answer.done.choice });
  room.tell(answer.text, answer.done.usage.outputTokens);
  return jointOf(room, answer, quality, why);
}

export function jointOf(room: AnswerRoom, { done }: Answer, quality: number, why: string): JointAnswer {
  const { choice, finishReason, usage } = done;
  return { choice, finishReason, quality, why, usage: room.usage(usage) };
}

export function nobodyError(): FleetError {
  return new FleetError('dispatch.no-capacity', 'no expert may be asked now', { retryable: true });
}

function sureness({ done }: Answer, quality: number, plan: CascadePlan): string {
  const mean = done.meanLogProb;
  const said = mean === undefined ? 'it does not tell how sure it is' : `mean log-probability ${mean.toFixed(2)}`;
  return `${said}, quality ${quality.toFixed(3)} against ${plan.threshold.toFixed(3)}`;
}
