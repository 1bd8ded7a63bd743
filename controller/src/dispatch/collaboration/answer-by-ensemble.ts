import { FleetError } from '@fleetgate/shared/errors';
import { drawToken, mixNextTokens, probabilityOf } from '@fleetgate/shared/mixture/next-token';
import { PosteriorMixture } from '@fleetgate/shared/mixture/posterior-mixture';
import { type Random, SeededRandom } from '@fleetgate/shared/random';

import { answerByVote } from './answer-by-vote.js';
import type { AnswerRoom, JointAnswer } from './answer-room.js';
import { JoiningMembers, type LiveMember } from './joining-members.js';
import { nobodyError } from './joint-answer.js';
import type { Member } from './members.js';
import { mixable } from './mixable.js';

/**
 * Several experts answer together: of every token each says what it would write, the mixture by posterior decides
 * (Branch-Train-Merge), and all go on from the same token. A member that is lost is left out; the answer goes on.
 *
 * Experts without a common tokenizer cannot be mixed: they vote.
 */
export async function answerByEnsemble(room: AnswerRoom, members: readonly Member[]): Promise<JointAnswer> {
  const taken = mixable(members, room.parts.catalogue().variants, room.allowance());
  if (taken.length < 2 && members.length > 1) return answerByVote(room, members);
  if (taken.length === 0) throw nobodyError();
  room.expect(taken, 'at-once');
  const joining = new JoiningMembers(room, taken);
  try {
    return await answerTogether(room, joining);
  } finally {
    joining.stop();
  }
}

async function answerTogether(room: AnswerRoom, joining: JoiningMembers): Promise<JointAnswer> {
  const { sampling } = room.prompt;
  const random: Random = sampling.seed === undefined ? room.parts.random : new SeededRandom(sampling.seed);
  const all = await joining.join();
  const mixture = new PosteriorMixture(all.length);
  mixture.observe(all.map(({ next }) => next?.promptBits ?? 0));
  const leader = heaviest(all, mixture);
  room.request.events.push({ kind: 'chosen', choice: leader.choice });
  let told = 0;
  for (let step = 0; ; step++) {
    const live = all.filter((member) => member.next !== undefined);
    const speaker = live[0] ?? all.find((member) => member.done !== undefined);
    if (speaker === undefined) throw all[0]?.failure ?? nobodyError();
    room.tell(speaker.text.slice(told), 1);
    told = Math.max(told, speaker.text.length);
    const ended = all.find((member) => member.done !== undefined);
    if (ended !== undefined) return jointOf(room, joining, all, mixture, ended, step);
    if (joining.isExhausted(step)) return jointOf(room, joining, all, mixture, speaker, step);
    const shares = live.map((member) => mixture.weights[member.index] ?? 0);
    const listed = live.flatMap(({ next }) => (next === undefined ? [] : [next]));
    const token = drawToken(mixNextTokens(listed, shares), sampling, random);
    mixture.observe(all.map(({ next }) => (next === undefined ? 0 : -Math.log2(probabilityOf(token, next)))));
    await joining.goOn(live, step, token);
    for (const member of live) if (member.next === undefined && member.done === undefined) mixture.drop(member.index);
  }
}

function heaviest(members: readonly LiveMember[], mixture: PosteriorMixture): LiveMember {
  const best = members.reduce<LiveMember | undefined>(
    (most, member) =>
      most === undefined || (mixture.weights[member.index] ?? 0) > (mixture.weights[most.index] ?? 0) ? member : most,
    undefined,
  );
  if (best === undefined) throw new FleetError('internal.invariant', 'an ensemble without members');
  return best;
}

async function jointOf(
  room: AnswerRoom,
  joining: JoiningMembers,
  all: readonly LiveMember[],
  mixture: PosteriorMixture,
  ended: LiveMember,
  steps: number,
): Promise<JointAnswer> {
  await joining.settle();
  for (const member of all) room.change(member.call.at, { weight: mixture.weights[member.index] ?? 0 });
  const quality = Math.max(...all.map(({ member }) => member.quality));
  const shares = all
    .map(({ member, index }) => ({ name: member.expertId, share: mixture.weights[index] ?? 0 }))
    .toSorted((a, b) => b.share - a.share)
    .slice(0, 3)
    .map(({ name, share }) => `${name} ${Math.round(100 * share)} %`);
  const finishReason = ended.done?.finishReason ?? 'length';
  const usage = ended.done?.usage ?? EMPTY_USAGE;
  return {
    choice: heaviest(all, mixture).choice,
    quality,
    finishReason,
    usage: room.usage({ ...usage, outputTokens: Math.max(usage.outputTokens, steps) }),
    why: `${all.length} experts token by token; at its end the answer is that of ${shares.join(', ')}`,
  };
}

const EMPTY_USAGE = {
  promptTokens: 0,
  outputTokens: 0,
  energyJ: 0,
  energySource: 'modelled',
  queueMs: 0,
  prefillMs: 0,
  decodeMs: 0,
} as const;
