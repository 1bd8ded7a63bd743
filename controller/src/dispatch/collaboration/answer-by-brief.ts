import type { Variant } from '@fleetgate/shared/catalogue/expert';
import { FleetError } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';

import { type AnswerInput, gateText, promptChars } from '../prompt.js';
import type { AnswerRoom, JointAnswer } from './answer-room.js';
import { type Background, backgroundFrom, briefed, MOST_CHARACTERS } from './brief.js';
import { jointOf, nobodyError } from './joint-answer.js';
import type { Member } from './members.js';

/** Tokens of background that the domain expert may write. */
const BACKGROUND_TOKENS = 96;

/** The expert of the matter writes background; the largest model that may be asked answers with it. */
export async function answerByBrief(room: AnswerRoom, members: readonly Member[]): Promise<JointAnswer> {
  const { input } = room.prompt;
  if (input.kind !== 'chat' && input.kind !== 'complete')
    throw new FleetError('internal.invariant', `${input.kind} is no question`);
  const { larger, background, why } = await backgroundFor(room, members, input);
  const question = background === '' ? input : withBackground(input, background);
  const answer = await room.ask(larger, { role: 'answer', input: question, streamed: true });
  return jointOf(room, answer, larger.quality, why);
}

export interface Briefing {
  readonly larger: Member;
  /** Empty where there is none. */
  readonly background: string;
  readonly why: string;
}

/** Who answers, the largest model, and who writes background for it, the best of the others. */
export function briefMembers(
  members: readonly Member[],
  variants: ReadonlyMap<VariantId, Variant>,
): { readonly writer: Member | undefined; readonly larger: Member | undefined } {
  const sizeOf = ({ variantId }: Member): number => variants.get(variantId)?.facts.parameters ?? 0;
  const [larger] = members.toSorted((a, b) => sizeOf(b) - sizeOf(a) || b.quality - a.quality);
  const [writer] = members.filter((member) => member !== larger).toSorted((a, b) => b.quality - a.quality);
  return { writer, larger };
}

/** The largest model, and what the best of the others writes for it. */
export async function backgroundFor(
  room: AnswerRoom,
  members: readonly Member[],
  input: AnswerInput,
): Promise<Briefing> {
  const { variants } = room.parts.catalogue();
  const { writer, larger } = briefMembers(members, variants);
  if (larger === undefined) throw nobodyError();
  if (writer === undefined) {
    return { larger, background: '', why: `${larger.expertId} alone: nobody else may be asked` };
  }
  room.expect([writer, larger], 'in-turn');
  const background = await backgroundOf(room, writer, input, spareCharacters(room, variants.get(larger.variantId)));
  return { larger, background: background?.text ?? '', why: whyOf(writer, larger, background) };
}

/** Undefined where the writer could not be asked: the larger model answers all the same. */
async function backgroundOf(
  room: AnswerRoom,
  writer: Member,
  input: AnswerInput,
  mostCharacters: number,
): Promise<Background | undefined> {
  // The last call is the larger model's.
  if (mostCharacters <= 0 || room.allowance().calls < 2) return undefined;
  try {
    const { text } = await room.ask(writer, { role: 'background', input, maxTokens: BACKGROUND_TOKENS });
    return backgroundFrom(gateText(input), text, mostCharacters);
  } catch (error) {
    if (room.signal.aborted) throw error;
    return undefined;
  }
}

/**
 * Half of what the larger model's context leaves for background besides the prompt and an answer: the given one, or one as
 * long as the prompt.
 */
function spareCharacters({ prompt, request }: AnswerRoom, variant: Variant | undefined): number {
  const asked = promptChars(request.prompt.input);
  const perToken = asked / request.promptTokens;
  const answer = prompt.input.kind === 'score' ? prompt.input.completion.length : asked;
  const context = (variant?.facts.contextTokens ?? 0) * perToken;
  return Math.max(0, Math.min(MOST_CHARACTERS, Math.floor((context - asked - answer) / 2)));
}

/** The last question of the user with its background before it. */
function withBackground(input: AnswerInput, background: string): AnswerInput {
  if (input.kind === 'complete') return { ...input, prompt: briefed(input.prompt, background) };
  const asked = gateText(input);
  const at = input.messages.findLastIndex(({ content }) => content === asked);
  const messages = input.messages.map((message, index) =>
    index === at ? { ...message, content: briefed(asked, background) } : message,
  );
  return { ...input, messages };
}

function whyOf({ expertId: writer }: Member, { expertId: larger }: Member, background: Background | undefined): string {
  if (background === undefined) return `${larger} alone: ${writer} could not write background`;
  const { keptSentences: kept, droppedSentences: dropped } = background;
  if (kept === 0) return `${larger} alone: nothing that ${writer} wrote was relevant (${dropped} sentences dropped)`;
  return `${larger} with background of ${writer}: ${kept} of ${kept + dropped} sentences kept`;
}
