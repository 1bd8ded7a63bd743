import { FleetError } from '@fleetgate/shared/errors';
import { type MemberBits, mixtureBits } from '@fleetgate/shared/mixture/posterior-mixture';

import {
  type AnswerRoom,
  type JointScore,
  type OpenCall,
  type Scored,
  type ScoreInput,
  scoreOf,
} from './answer-room.js';
import { nobodyError } from './joint-answer.js';
import { mixable } from './mixable.js';
import type { Member } from './members.js';

interface MemberScore extends MemberBits {
  readonly call: OpenCall;
  readonly event: Scored;
}

/** Log-likelihood of a given answer under the mixture of all experts of one tokenizer that may be asked. */
export async function scoreByEnsemble(
  room: AnswerRoom,
  members: readonly Member[],
  input: ScoreInput,
): Promise<JointScore> {
  const taken = mixable(members, room.parts.catalogue().variants, room.allowance());
  room.expect(taken, 'at-once');
  const asked = await Promise.allSettled(
    taken.map((member) => memberScoreOf(room.begin(member, { role: 'member', input: { ...input, detail: true } }))),
  );
  const scores = asked.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = asked.find((result) => result.status === 'rejected');
  const [first] = scores;
  if (first === undefined) throw failed?.reason ?? nobodyError();
  // Experts of one tokenizer may have unlike contexts, and cut a document at other places.
  const alike = scores.filter(({ tokenBits }) => tokenBits.length === first.tokenBits.length);
  const { bits, weights } = mixtureBits(alike);
  alike.forEach(({ call }, at) => room.change(call.at, { weight: weights[at] ?? 0 }));
  const heaviest = alike[weights.indexOf(Math.max(...weights))] ?? first;
  const { choice, bytes, usage } = heaviest.event;
  const event: Scored = { kind: 'scored', choice, bits, bytes, usage: room.usage(usage) };
  const names = alike.map(({ event: { choice: by } }) => by.expertId).join(', ');
  return { choice, quality: 2 ** -(bits / Math.max(1, bytes)), why: `mixture of ${names}`, event };
}

async function memberScoreOf(call: OpenCall): Promise<MemberScore> {
  const event = await scoreOf(call);
  const { promptBits, tokenBits } = event;
  if (promptBits !== undefined && tokenBits !== undefined) return { call, event, promptBits, tokenBits };
  const { deviceId } = event.choice;
  throw new FleetError('engine.unavailable', `the agent of ${deviceId} does not tell the bits of every token`, {
    hint: 'update the agent',
  });
}
