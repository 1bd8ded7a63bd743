import { FleetError } from '@fleetgate/shared/errors';

import type { Answer, AnswerRoom, JointAnswer, Question } from './answer-room.js';
import { type CascadePlan, planCascade, qualityAfter } from './cascade.js';
import { giveHeldBack, jointOf, nobodyError } from './joint-answer.js';
import type { Member } from './members.js';

/** A cheap expert first; a better one where the first is not sure enough of its answer. */
export async function answerByCascade(room: AnswerRoom, members: readonly Member[]): Promise<JointAnswer> {
  const { input } = room.prompt;
  const { plan, given, quality, escalates, why } = await askFirst(room, members, { input });
  const { next } = plan;
  if (given !== undefined && (next === undefined || !escalates)) return giveHeldBack(room, given, quality, why);
  if (next === undefined) throw nobodyError();
  try {
    const answer = await room.ask(next, { role: 'escalation', input, streamed: true });
    return jointOf(room, answer, next.quality, why);
  } catch (error) {
    if (given === undefined || room.hasTold || room.signal.aborted) throw error;
    const reason = error instanceof FleetError ? error.message : String(error);
    return giveHeldBack(room, given, quality, `${plan.first.expertId} was kept though unsure, for ${reason}`);
  }
}

export interface FirstAnswer {
  readonly plan: CascadePlan;
  /** Undefined when the first could not be asked: then the other is. */
  readonly given: Answer | undefined;
  /** Predicted, now that the answer is there. */
  readonly quality: number;
  readonly escalates: boolean;
  readonly why: string;
}

/** The answer of the first, and whether the other is to be asked. Throws the first's failure where there is no other. */
export async function askFirst(
  room: AnswerRoom,
  members: readonly Member[],
  question: Pick<Question, 'input' | 'maxTokens'>,
): Promise<FirstAnswer> {
  const { confidence } = room.parts;
  const plan = planCascade(members, ({ expertId }) => confidence.of(expertId));
  if (plan === undefined) throw nobodyError();
  const { first, next, threshold } = plan;
  room.expect([first], 'in-turn');
  let given: Answer;
  try {
    given = await room.ask(first, { ...question, role: 'first', logProbs: true });
  } catch (error) {
    if (next === undefined || room.signal.aborted) throw error;
    const why = `${first.expertId} failed, so ${next.expertId} was asked`;
    return { plan, given: undefined, quality: next.quality, escalates: true, why };
  }
  const { meanLogProb } = given.done;
  const quality = qualityAfter(first, confidence.of(first.expertId), meanLogProb);
  const escalates = quality < threshold;
  const said =
    meanLogProb === undefined ? 'it does not tell how sure it is' : `mean log-probability ${meanLogProb.toFixed(2)}`;
  const compared =
    next === undefined ? '' : `, quality ${quality.toFixed(3)} against ${threshold.toFixed(3)} of ${next.expertId}`;
  const verdict = escalates
    ? `${next?.expertId ?? 'nobody'} took over from ${first.expertId}`
    : `${first.expertId} was kept`;
  return { plan, given, quality, escalates, why: `${verdict}: ${said}${compared}` };
}
