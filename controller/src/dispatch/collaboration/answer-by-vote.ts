import type { Joules } from '@fleetgate/shared/units/quantity';

import { answerKey } from '../../gating/final-answer.js';
import { type Ballot, Poll, vote, voteWeight } from '../../gating/vote.js';
import type { Answer, AnswerRoom, JointAnswer } from './answer-room.js';
import { giveHeldBack, nobodyError } from './joint-answer.js';
import { affordable, type Member, sharesOf } from './members.js';

/** More voters cost more than they add: the log-odds of the sixth best are seldom decisive. */
const MOST_VOTERS = 5;

interface VoterAnswer {
  readonly member: Member;
  readonly answer: Answer;
  readonly at: number;
}

/**
 * Several experts answer in full; the answer with the most weight behind it is given, as its best supporter wrote it.
 *
 * As many are asked at once as could settle it, then one after the other until the rest can no longer change the
 * outcome. Answers that hold no short answer to compare leave the best expert's.
 */
export async function answerByVote(room: AnswerRoom, members: readonly Member[]): Promise<JointAnswer> {
  const allowance = room.allowance();
  const voters = affordable(members, { ...allowance, calls: Math.min(MOST_VOTERS, allowance.calls) });
  if (voters.length === 0) throw nobodyError();
  room.expect(voters, 'at-once');
  const poll = new Poll();
  const answers: VoterAnswer[] = [];
  let failure: unknown;
  const waiting = [...voters];
  while (waiting.length > 0) {
    const rest = waiting.reduce((sum, { quality }) => sum + voteWeight(quality), 0);
    // Where none of the first has a short answer, others have nothing to add to.
    if (answers.length > 0 && (poll.leader === undefined || poll.isSettled(rest))) break;
    const wave = waiting.splice(0, answers.length === 0 ? Math.ceil((voters.length + 1) / 2) : 1);
    const shares = sharesOf([...wave, ...waiting], room.allowance().energy);
    const asked = await Promise.allSettled(wave.map((member) => askVoter(room, member, shares.get(member))));
    for (const result of asked) {
      if (result.status === 'rejected') {
        failure = result.reason;
        continue;
      }
      answers.push(result.value);
      poll.add(answerKey(result.value.answer.text), voteWeight(result.value.member.quality));
    }
  }
  if (answers.length === 0) throw failure;
  return settle(room, answers);
}

async function askVoter(room: AnswerRoom, member: Member, most: Joules | undefined): Promise<VoterAnswer> {
  const at = room.calls.length;
  const answer = await room.ask(member, { role: 'voter', input: room.prompt.input, most });
  return { member, answer, at };
}

function settle(room: AnswerRoom, answers: readonly VoterAnswer[]): JointAnswer {
  const ballots = answers.map(({ member, answer }): Ballot => {
    return { expert: member.expertId, text: answer.text, weight: voteWeight(member.quality) };
  });
  const outcome = vote(ballots);
  const winner = answers.find(({ member }) => member.expertId === outcome?.expert);
  if (outcome === undefined || winner === undefined) throw nobodyError();
  const all = ballots.reduce((sum, { weight }) => sum + weight, 0);
  answers.forEach(({ at }, index) => {
    const weight = ballots[index]?.weight ?? 0;
    room.change(at, { weight: all > 0 ? weight / all : 1 / answers.length });
  });
  if (outcome.isComparable) observeAgreement(room, answers);
  const { supporters, share, isComparable } = outcome;
  const percent = Math.round(100 * share);
  const why = isComparable
    ? `${supporters.length} of ${answers.length} experts agree, with ${percent} % of the weight: ${supporters.join(', ')}`
    : `${outcome.expert} is the best of ${answers.length}: their answers cannot be compared`;
  return giveHeldBack(
    room,
    winner.answer,
    isComparable ? Math.max(share, winner.member.quality) : winner.member.quality,
    why,
  );
}

/** Experts that agree with others are likelier to be right: each is told the share of the others who gave its answer. */
function observeAgreement(room: AnswerRoom, answers: readonly VoterAnswer[]): void {
  const { evidence } = room.parts;
  const { id, score } = room.request;
  if (score === undefined || answers.length < 2) return;
  const keys = answers.map(({ answer }) => answerKey(answer.text));
  answers.forEach(({ member }, at) => {
    const own = keys[at];
    if (own === undefined) return;
    const others = keys.filter((key, index) => index !== at && key === own).length;
    const value = others / (answers.length - 1);
    evidence?.observe({ source: 'agreement', subject: id, expert: member.expertId, score, value });
  });
}
