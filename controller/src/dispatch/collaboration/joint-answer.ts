import { FleetError } from '@fleetgate/shared/errors';

import type { Answer, AnswerRoom, JointAnswer } from './answer-room.js';

/** Gives the client an answer that was held back until now. */
export function giveHeldBack(room: AnswerRoom, answer: Answer, quality: number, why: string): JointAnswer {
  room.request.events.push({ kind: 'chosen', choice: answer.done.choice });
  room.tell(answer.text, answer.done.usage.outputTokens);
  return jointOf(room, answer, quality, why);
}

/** How the request went, where one expert wrote all of the answer. */
export function jointOf(room: AnswerRoom, { done }: Answer, quality: number, why: string): JointAnswer {
  const { choice, finishReason, usage } = done;
  return { choice, finishReason, quality, why, usage: room.usage(usage) };
}

/** None of the experts is there, or none fits what is left. */
export function nobodyError(): FleetError {
  return new FleetError('dispatch.no-capacity', 'no expert may be asked now', { retryable: true });
}
