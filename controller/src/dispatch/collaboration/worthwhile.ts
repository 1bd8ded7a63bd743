import type { ExpertId } from '@fleetgate/shared/ids';

import type { AnswerConfidence, GateScore } from '../../gating/gate.js';
import type { Collaboration } from '../prompt.js';
import { ECO_FLOOR_PER_JOULE, type Prices } from '../select.js';
import { planCascade } from './cascade.js';
import type { Member } from './members.js';

/** Quality that answering together has to gain over one expert: less is within what is not known of either. */
export const LEAST_GAIN = 0.01;
/** Ways whose quality the gate predicts like that of an expert, where its outcomes have a column of that name. */
const LEARNED = ['ensemble', 'brief'] as const;

/** What answering together is expected to use. */
export interface JointCost {
  readonly energyJ: number;
  readonly latencyMs: number;
}

export interface Prospects {
  /** Best value first; what one expert would answer is the first of them. */
  readonly members: readonly Member[];
  readonly score: GateScore | undefined;
  readonly prices: Prices;
  /** `best`: whatever it costs. */
  readonly mode: 'auto' | 'best';
  readonly confidenceOf: (member: Member) => AnswerConfidence;
  /** Undefined where that way is not open. */
  readonly costOf: (how: Collaboration) => JointCost | undefined;
}

/**
 * The way of answering together that is worth its joules and seconds at the prices in force, or undefined: one expert.
 *
 * In `auto` a joule has a price also where no budget binds: several times the energy for a hundredth of quality is not
 * what an owner wants. A way that asks is compared with the best single expert at the same prices.
 */
export function worthwhile({
  members,
  score,
  prices,
  mode,
  confidenceOf,
  costOf,
}: Prospects): Collaboration | undefined {
  const perJoule = mode === 'best' ? 0 : Math.max(ECO_FLOOR_PER_JOULE, prices.qualityPerJoule);
  const net = (quality: number, { energyJ, latencyMs }: JointCost): number =>
    quality - perJoule * energyJ - (prices.qualityPerSecond * latencyMs) / 1000;
  const priced = members.map((member) => {
    const cost = { energyJ: member.energy, latencyMs: member.latency };
    return { ...member, value: net(member.quality, cost) };
  });
  let best: { readonly how: Collaboration; readonly value: number } | undefined;
  const offer = (how: Collaboration, value: number): void => {
    if (best === undefined || value > best.value) best = { how, value };
  };
  const cascade = costOf('cascade') === undefined ? undefined : planCascade(priced, confidenceOf);
  if (cascade?.next !== undefined) offer('cascade', cascade.value);
  for (const how of LEARNED) {
    // The names of the ways are kept from experts, so this column can be nothing else.
    const quality = score?.abstained === undefined ? score?.experts.get(how as string as ExpertId)?.quality : undefined;
    const cost = quality === undefined ? undefined : costOf(how);
    if (quality !== undefined && cost !== undefined) offer(how, net(quality, cost));
  }
  const single = Math.max(...priced.map(({ value }) => value));
  return best !== undefined && best.value > single + LEAST_GAIN ? best.how : undefined;
}

/** A request that was answered together counts for at least one in this many. */
const MEMORY = 32;
const PRIOR_REQUESTS = 4;
/** Joules over those of its calls as predicted, before the first request: mixing asks for every token by itself. */
const PRIOR_RATIO: Readonly<Record<Collaboration, number>> = { cascade: 1, vote: 1, brief: 1, ensemble: 2 };

/** How actual joules of each way compare with what is predicted of its calls. Single writer. */
export class JointCostModel {
  readonly #sums = new Map<
    Collaboration,
    { readonly requests: number; readonly actual: number; readonly predicted: number }
  >();

  /** Actual over predicted joules. */
  ratio(how: Collaboration): number {
    const { requests, actual, predicted } = this.#sums.get(how) ?? { requests: 0, actual: 0, predicted: 0 };
    if (requests === 0 || predicted <= 0) return PRIOR_RATIO[how];
    const prior = (PRIOR_REQUESTS * predicted) / requests;
    return (PRIOR_RATIO[how] * prior + actual) / (prior + predicted);
  }

  observe(how: Collaboration, actualJ: number, predictedJ: number): void {
    if (!(predictedJ > 0) || !(actualJ >= 0)) return;
    const kept = 1 - 1 / MEMORY;
    const { requests, actual, predicted } = this.#sums.get(how) ?? { requests: 0, actual: 0, predicted: 0 };
    this.#sums.set(how, {
      requests: 1 + kept * requests,
      actual: actualJ + kept * actual,
      predicted: predictedJ + kept * predicted,
    });
  }
}
