/** Ways of asking experts and counting their answers, and what each is worth on prompts. Pure. */
import { Poll, voteWeight } from '../gating/vote.js';

import type { VotePrompt } from './vote-prompts.js';

export interface VotePolicy {
  /** Experts, in the order in which they are asked. */
  readonly order: readonly number[];
  /**
   * No further expert is asked once the leader is right with this probability, or cannot be overtaken. `all`: everyone is
   * asked at once, whatever the others say.
   */
  readonly until: number | 'all';
}

/** Means over prompts. */
export interface PolicyValue {
  readonly quality: number;
  readonly cost: number;
}

/** At 1 everyone is asked who could still change the outcome. */
const THRESHOLDS = [0.5, 0.6, 0.7, 0.8, 0.9, 1] as const;

/** One prompt answered; `alternatives` as for `Poll`. The vote is right when an expert that gave the winning answer is. */
export function runPolicy(
  { order, until }: VotePolicy,
  { keys, right, cost, quality }: VotePrompt,
  alternatives: number,
): { readonly isRight: boolean; readonly cost: number } {
  const weights = order.map((expert) => voteWeight(quality[expert] ?? 0, alternatives));
  const poll = new Poll(alternatives);
  let rest = weights.reduce((sum, weight) => sum + weight, 0);
  let spent = 0;
  let asked = 0;
  for (const expert of order) {
    const weight = weights[asked] ?? 0;
    poll.add(keys[expert], weight);
    spent += cost[expert] ?? 0;
    rest -= weight;
    asked++;
    if (until !== 'all' && (poll.confidence >= until || poll.isSettled(rest + 1e-9))) break;
  }
  const { leader } = poll;
  const isRight =
    leader !== undefined && order.slice(0, asked).some((expert) => keys[expert] === leader && right[expert] === true);
  return { isRight, cost: spent };
}

export function valueOfPolicy(policy: VotePolicy, prompts: readonly VotePrompt[], alternatives: number): PolicyValue {
  let quality = 0;
  let cost = 0;
  for (const prompt of prompts) {
    const answer = runPolicy(policy, prompt, alternatives);
    if (answer.isRight) quality++;
    cost += answer.cost;
  }
  const count = Math.max(1, prompts.length);
  return { quality: quality / count, cost: cost / count };
}

/** Every committee of `experts`, asked in that order, with every threshold: 2^n - 1 committees, at most 8 experts. */
export function committeePolicies(experts: readonly number[]): readonly VotePolicy[] {
  const policies: VotePolicy[] = [];
  for (let mask = 1; mask < 2 ** experts.length; mask++) {
    const order = experts.filter((_, at) => (mask >> at) % 2 === 1);
    if (order.length === 1) policies.push({ order, until: 'all' });
    else for (const until of THRESHOLDS) policies.push({ order, until });
  }
  return policies;
}

/**
 * How many answers a prompt has, as far as wrong answers go: 1 + 1 / (probability that two wrong answers are the same),
 * from the prompts' pairs of wrong answers.
 */
export function alternativesOf(prompts: readonly VotePrompt[]): number {
  // As if one pair of two had been the same: few prompts say little.
  let [pairs, same] = [2, 1];
  for (const { keys, right } of prompts) {
    const wrong = keys.filter((key, at) => key !== undefined && right[at] === false);
    for (const [at, key] of wrong.entries()) {
      for (const other of wrong.slice(0, at)) {
        pairs++;
        if (key === other) same++;
      }
    }
  }
  return 1 + pairs / same;
}
