import { type AnswerInput } from '../prompt.js';
import { backgroundFor } from './answer-by-brief.js';
import { askFirst } from './answer-by-cascade.js';
import type { AnswerRoom, JointScore, ScoreInput } from './answer-room.js';
import { briefed } from './brief.js';
import type { Member } from './members.js';

/** Tokens of its own answer by which the first of a cascade shows how sure it is. */
const FIRST_TOKENS = 48;

/** Log-likelihood of a given answer under the expert that a cascade would leave the prompt to. */
export async function scoreByCascade(
  room: AnswerRoom,
  members: readonly Member[],
  input: ScoreInput,
): Promise<JointScore> {
  const asked = { input: questionOf(input), maxTokens: FIRST_TOKENS };
  const { plan, quality, escalates, why } = await askFirst(room, members, asked);
  const taken = escalates ? (plan.next ?? plan.first) : plan.first;
  const event = await room.score(taken, escalates ? 'escalation' : 'answer', input);
  return scoreOf(room, event, taken === plan.first ? quality : taken.quality, why);
}

/** Log-likelihood of a given answer under the larger model with its background. */
export async function scoreByBrief(
  room: AnswerRoom,
  members: readonly Member[],
  input: ScoreInput,
): Promise<JointScore> {
  const { larger, background, why } = await backgroundFor(room, members, questionOf(input));
  const prompt = background === '' ? input.prompt : briefed(input.prompt, background);
  const event = await room.score(larger, 'answer', { ...input, prompt });
  return scoreOf(room, event, larger.quality, why);
}

/** The prompt that a given answer belongs to. */
export function questionOf({ prompt }: ScoreInput): AnswerInput {
  return { kind: 'chat', messages: [{ role: 'user', content: prompt }] };
}

function scoreOf(room: AnswerRoom, event: JointScore['event'], quality: number, why: string): JointScore {
  return { choice: event.choice, quality, why, event: { ...event, usage: room.usage(event.usage) } };
}
