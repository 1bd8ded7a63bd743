/**
 * Accuracy-weighted voting of experts on short answers: each answer weighs what its experts' log-odds add up to
 * (Nitzan and Paroush 1982, "Optimal decision rules in uncertain dichotomous choice situations"). Pure.
 */
import { answerKey } from './final-answer.js';

/**
 * How many answers a prompt is taken to have, as far as wrong answers go: about one pair of wrong answers in five is the
 * same on public data (GSM8K and CRUXEval 5 to 6 answers by this count, MATH 11; seven models of 2 to 9 billion parameters).
 */
export const USUAL_ALTERNATIVES = 6;

/** Qualities are kept off 0 and 1: no prediction is so sure. */
const LEAST_QUALITY = 0.02;

/** What one expert answered. */
export interface Ballot {
  readonly expert: string;
  readonly text: string;
  /** At least 0; see `voteWeight`. */
  readonly weight: number;
}

export interface VoteOutcome {
  /** The winning answer as its heaviest supporter wrote it: the whole text, not only the short answer in it. */
  readonly text: string;
  readonly expert: string;
  /** Those who gave the winning answer, heaviest first. */
  readonly supporters: readonly string[];
  /** Weight of the winning answer over the weight of all ballots, 0..1. */
  readonly share: number;
  /** At least two texts held a short answer. Otherwise the text of the heaviest expert is the outcome. */
  readonly isComparable: boolean;
}

/**
 * Weight of an expert that is right with probability `quality`, nats: its log-odds, plus log(alternatives - 1) where the
 * wrong answers of experts spread over that many others, so that two who agree are seldom both wrong.
 *
 * Never below 0: an answer of an expert that is worse than a guess says nothing about the other answers.
 */
export function voteWeight(quality: number, alternatives = USUAL_ALTERNATIVES): number {
  const kept = Math.min(1 - LEAST_QUALITY, Math.max(LEAST_QUALITY, quality));
  return Math.max(0, Math.log(kept / (1 - kept)) + Math.log(Math.max(1, alternatives - 1)));
}

interface AnswerTally {
  readonly key: string;
  weight: number;
  /** Weight of its heaviest expert. */
  heaviest: number;
}

/** Counts ballots as they come in; answers are compared by their keys alone. */
export class Poll {
  readonly #alternatives: number;
  readonly #answers: AnswerTally[] = [];

  /** `alternatives`: answers that a prompt could have; see `voteWeight`. */
  constructor(alternatives = USUAL_ALTERNATIVES) {
    this.#alternatives = alternatives;
  }

  /** An expert without an answer that can be compared has no key and no say. */
  add(key: string | undefined, weight: number): void {
    if (key === undefined) return;
    const known = this.#answers.find((answer) => answer.key === key);
    if (known === undefined) this.#answers.push({ key, weight, heaviest: weight });
    else {
      known.weight += weight;
      known.heaviest = Math.max(known.heaviest, weight);
    }
  }

  /** Key of the heaviest answer; ties go to the one with the heaviest expert, then to the first given. */
  get leader(): string | undefined {
    return this.#leading()?.key;
  }

  /** Probability that the leader is right if the weights are true log-odds and experts err independently; 0 for none. */
  get confidence(): number {
    const leading = this.#leading();
    if (leading === undefined) return 0;
    // Relative to the leader, so that nothing overflows.
    const others = this.#answers.reduce((sum, { weight }) => sum + Math.exp(weight - leading.weight), 0);
    const unseen = Math.max(0, this.#alternatives - this.#answers.length) * Math.exp(-leading.weight);
    return 1 / (others + unseen);
  }

  /** Whether ballots of `rest` weight in all can no longer change the leader. */
  isSettled(rest: number): boolean {
    const leading = this.#leading();
    if (leading === undefined) return false;
    const second = this.#answers.reduce(
      (most, answer) => (answer === leading ? most : Math.max(most, answer.weight)),
      0,
    );
    return leading.weight > second + rest;
  }

  #leading(): AnswerTally | undefined {
    let leading = this.#answers[0];
    for (const answer of this.#answers) {
      if (leading === undefined) continue;
      const more = answer.weight - leading.weight;
      if (more > 0 || (more === 0 && answer.heaviest > leading.heaviest)) leading = answer;
    }
    return leading;
  }
}

/** The weighted plurality of the ballots; undefined for none. Texts are compared by the short answers in them. */
export function vote(ballots: readonly Ballot[]): VoteOutcome | undefined {
  const read = ballots
    .map((ballot) => ({ ...ballot, key: answerKey(ballot.text) }))
    .sort((a, b) => b.weight - a.weight);
  const poll = new Poll();
  for (const { key, weight } of read) poll.add(key, weight);
  const isComparable = read.filter(({ key }) => key !== undefined).length >= 2;
  const winner = (isComparable ? read.find(({ key }) => key === poll.leader) : undefined) ?? read[0];
  if (winner === undefined) return undefined;
  const supporters = winner.key === undefined ? [winner] : read.filter(({ key }) => key === winner.key);
  const weightOf = (of: readonly Ballot[]) => of.reduce((sum, { weight }) => sum + weight, 0);
  const all = weightOf(read);
  return {
    text: winner.text,
    expert: winner.expert,
    supporters: supporters.map(({ expert }) => expert),
    share: all > 0 ? weightOf(supporters) / all : supporters.length / read.length,
    isComparable,
  };
}
