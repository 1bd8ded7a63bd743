/** Whom to ask within a mean cost per prompt, chosen on training prompts by the exact monotone kernel. Pure. */
import { solveSubset, type SubsetLimits } from '../optimiser/subset-kernel.js';

import { meanOf } from './distribution.js';
import { alternativesOf, committeePolicies, type VotePolicy, valueOfPolicy } from './vote-policy.js';
import type { VotePrompt } from './vote-prompts.js';

/** More experts than these are first cut down to those that cover most prompts: committees grow as 2^n. */
const MOST_COMMITTEE_EXPERTS = 8;
/** The smallest committee that can outvote a member. */
const SMALLEST_VOTE = 3;

/** Fresh limits for one search of the kernel. */
export type FreshLimits = () => SubsetLimits;

/** What is done with a prompt of a class, and how many answers its prompts have. */
export interface ClassPolicy extends VotePolicy {
  readonly alternatives: number;
}

/** A class's half: prompts that some expert is predicted to answer well, or none. */
interface Group {
  readonly key: string;
  readonly prompts: readonly VotePrompt[];
}

export class VotePlan {
  readonly policies: ReadonlyMap<string, ClassPolicy>;
  readonly #groupOf: (prompt: VotePrompt) => string;
  readonly #otherwise: ClassPolicy;

  constructor(
    policies: ReadonlyMap<string, ClassPolicy>,
    groupOf: (prompt: VotePrompt) => string,
    otherwise: ClassPolicy,
  ) {
    this.policies = policies;
    this.#groupOf = groupOf;
    this.#otherwise = otherwise;
  }

  policyOf(prompt: VotePrompt): ClassPolicy {
    return this.policies.get(this.#groupOf(prompt)) ?? this.#otherwise;
  }
}

/**
 * The committee that holds a right answer to most prompts, all of it asked every time: maximum coverage under the
 * budget. Facilities are experts, clients are prompts. Undefined when no three experts fit the budget.
 */
export function coveringCommittee(
  prompts: readonly VotePrompt[],
  budget: number,
  limits: FreshLimits,
): VotePlan | undefined {
  const chosen = covering(prompts, { minCount: SMALLEST_VOTE, use: [meanCosts(prompts)], budget: [budget] }, limits);
  if (chosen === undefined) return undefined;
  const policy: ClassPolicy = { order: chosen, until: 'all', alternatives: alternativesOf(prompts) };
  return new VotePlan(new Map([['all prompts', policy]]), () => 'all prompts', policy);
}

/** Chooses, budget after budget, a committee, its order and its threshold for each class and half. */
export class CommitteeChooser {
  readonly #groups: readonly Group[];
  readonly #groupOf: (prompt: VotePrompt) => string;
  readonly #candidates: readonly (ClassPolicy & {
    readonly group: number;
    readonly quality: number;
    readonly cost: number;
  })[];

  /** Values every committee on `prompts`: seconds. */
  constructor(prompts: readonly VotePrompt[], limits: FreshLimits) {
    const costs = meanCosts(prompts);
    const all = costs.map((_, expert) => expert);
    const kept =
      all.length <= MOST_COMMITTEE_EXPERTS
        ? all
        : (covering(prompts, { maxCount: MOST_COMMITTEE_EXPERTS }, limits) ?? []);
    const policies = committeePolicies(kept.toSorted((a, b) => (costs[a] ?? 0) - (costs[b] ?? 0)));
    this.#groupOf = halves(prompts);
    this.#groups = [...grouped(prompts, this.#groupOf)].map(([key, own]) => ({ key, prompts: own }));
    this.#candidates = this.#groups.flatMap(({ prompts: own }, group) => {
      const alternatives = alternativesOf(own);
      const share = own.length / prompts.length;
      const valued = policies.map((policy) => {
        const { quality, cost } = valueOfPolicy(policy, own, alternatives);
        return { ...policy, alternatives, group, quality: share * quality, cost: share * cost };
      });
      return undominatedOf(valued);
    });
  }

  /**
   * Facilities are a class's committees, clients the classes: value is what the class adds to the mean quality, use what
   * it adds to the mean cost. Undefined when nothing fits.
   */
  choose(budget: number, limits: FreshLimits): VotePlan | undefined {
    const [facilities, clients] = [this.#candidates.length, this.#groups.length];
    const value = new Float64Array(facilities * clients);
    // A class that is always answered wrongly is served too.
    this.#candidates.forEach(({ group, quality }, at) => (value[at * clients + group] = quality + 1e-9));
    const use = [this.#candidates.map(({ cost }) => cost)];
    const { subset } = solveSubset(
      { facilities, clients, value, service: 'optional', minReplicas: 1, use, budget: [budget] },
      limits(),
    );
    const chosen = (subset ?? []).flatMap((at) => this.#candidates.slice(at, at + 1));
    const policies = new Map<string, ClassPolicy>();
    for (const one of chosen.toSorted((a, b) => a.quality - b.quality)) {
      const key = this.#groups[one.group]?.key;
      if (key !== undefined) policies.set(key, one);
    }
    const [cheapest] = chosen.toSorted((a, b) => a.cost - b.cost);
    return cheapest === undefined ? undefined : new VotePlan(policies, this.#groupOf, cheapest);
  }
}

function covering(
  prompts: readonly VotePrompt[],
  limit: { readonly minCount?: number; readonly maxCount?: number; use?: readonly number[][]; budget?: number[] },
  limits: FreshLimits,
): readonly number[] | undefined {
  const facilities = prompts[0]?.right.length ?? 0;
  const value = new Float64Array(facilities * prompts.length);
  prompts.forEach(({ right }, client) => {
    right.forEach((isRight, expert) => (value[expert * prompts.length + client] = isRight ? 1 : 0));
  });
  const { subset } = solveSubset(
    { facilities, clients: prompts.length, value, service: 'optional', ...limit },
    limits(),
  );
  return subset ?? undefined;
}

function meanCosts(prompts: readonly VotePrompt[]): number[] {
  return (prompts[0]?.cost ?? []).map((_, expert) => meanOf(prompts.map(({ cost }) => cost[expert] ?? NaN)));
}

/** Splits each class where half of its prompts have a better best prediction. */
function halves(prompts: readonly VotePrompt[]): (prompt: VotePrompt) => string {
  const best = ({ quality }: VotePrompt) => Math.max(...quality);
  const middle = new Map(
    [...grouped(prompts, ({ classId }) => classId)].map(([classId, own]) => {
      const sorted = own.map(best).sort((a, b) => a - b);
      return [classId, sorted[Math.floor(sorted.length / 2)] ?? 0] as const;
    }),
  );
  return (prompt) => `${prompt.classId}, ${best(prompt) < (middle.get(prompt.classId) ?? 0) ? 'hard' : 'easy'} half`;
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): ReadonlyMap<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}

function undominatedOf<T extends { readonly quality: number; readonly cost: number }>(of: readonly T[]): T[] {
  let best = -1;
  return of
    .toSorted((a, b) => a.cost - b.cost || b.quality - a.quality)
    .filter(({ quality }) => {
      if (quality <= best + 1e-12) return false;
      best = quality;
      return true;
    });
}
