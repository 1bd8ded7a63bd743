import type { ClassId, ExpertId } from '@fleetgate/shared/ids';

/** Most that a bias may move a value: it decides between experts that are about as good, never against a better one. */
export const MOST_BIAS = 0.02;
/** How far a bias moves with one request of its class. */
const STEP = 0.0005;
/** Shares that are nearer than this to the planned ones are met. */
const TOLERANCE = 0.05;
/** Requests after which one counts 1/e as much. */
const MEMORY = 64;
/** Requests of a class before its shares say anything. */
const LEAST_REQUESTS = 16;

/** How the requests of one class were shared out, and the bias of each expert. */
export interface ClassBalance {
  /** Exponentially decayed number of requests by expert. */
  readonly counts: ReadonlyMap<ExpertId, number>;
  readonly requests: number;
  readonly biases: ReadonlyMap<ExpertId, number>;
}
export type Balance = ReadonlyMap<ClassId, ClassBalance>;

/** Shares (0..1) of each class's requests that the plan gives each expert. */
export type PlannedShares = ReadonlyMap<ClassId, ReadonlyMap<ExpertId, number>>;

/** What is added to the value of an expert for prompts of a class, -MOST_BIAS..MOST_BIAS. */
export function biasOf(balance: Balance, classId: ClassId, expert: ExpertId): number {
  return balance.get(classId)?.biases.get(expert) ?? 0;
}

/**
 * The balance after one more request of a class went to `expert`.
 *
 * Feedback without a loss (auxiliary-loss-free balancing, DeepSeek-V3): where an expert gets less of the class than the
 * plan gives it, its bias goes up by a fixed step, where it gets more, down; where its share is met, back towards 0. An
 * expert that the plan does not route the class to has no bias.
 */
export function balanced(balance: Balance, classId: ClassId, expert: ExpertId, planned: PlannedShares): Balance {
  const before = balance.get(classId);
  const counts = new Map([...(before?.counts ?? [])].map(([id, count]) => [id, count * (1 - 1 / MEMORY)]));
  counts.set(expert, (counts.get(expert) ?? 0) + 1);
  const requests = (before?.requests ?? 0) + 1;
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const biases = new Map<ExpertId, number>();
  for (const [id, share] of planned.get(classId) ?? []) {
    const bias = before?.biases.get(id) ?? 0;
    const missing = requests < LEAST_REQUESTS ? 0 : share - (counts.get(id) ?? 0) / total;
    biases.set(id, Math.abs(missing) > TOLERANCE ? bounded(bias + STEP * Math.sign(missing)) : towardsZero(bias));
  }
  return new Map(balance).set(classId, { counts, requests, biases });
}

const bounded = (bias: number): number => Math.min(MOST_BIAS, Math.max(-MOST_BIAS, bias));
const towardsZero = (bias: number): number => (Math.abs(bias) <= STEP ? 0 : bias - STEP * Math.sign(bias));

/** Number of experts that would be as evenly used: the exponential of the shares' entropy. */
export function effectiveExperts(shares: Iterable<number>): number {
  const all = [...shares].filter((share) => share > 0);
  const total = all.reduce((sum, share) => sum + share, 0);
  return Math.exp(-all.reduce((sum, share) => sum + (share / total) * Math.log(share / total), 0));
}
