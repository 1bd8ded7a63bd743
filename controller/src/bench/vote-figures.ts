/** Voting beside the best single expert and beside routing, at equal mean cost, on prompts that were held out. Pure. */
import { meanOf } from './distribution.js';
import { CommitteeChooser, coveringCommittee, type FreshLimits, type VotePlan } from './vote-choice.js';
import { type PolicyValue, runPolicy } from './vote-policy.js';
import type { VoteFold, VotePrompt } from './vote-prompts.js';

/** Budgets, in costs of the best single expert. */
const BUDGETS = [0.6, 0.8, 1, 1.5, 2, 3, 4] as const;
/** Prices of cost that routing may have, in quality per cost of the dearest expert. */
const ROUTING_PRICES = [0, ...Array.from({ length: 80 }, (_, at) => 1e-4 * (20 / 1e-4) ** (at / 79))];

export interface HeldOutValue extends PolicyValue {
  /** Quality in each fold. */
  readonly byFold: readonly number[];
}

export interface VoteAtBudget {
  /** Mean cost per prompt that training prompts had to keep to. */
  readonly budget: number;
  /** The best expert whose mean cost is at most the larger of the budget and what voting by class came to cost. */
  readonly single: { readonly expert: string; readonly quality: number; readonly byFold: readonly number[] };
  /** The best that single experts reach at voting by class's cost when one is drawn by chance for each prompt. */
  readonly mixed: number;
  /** The gate's choice of one expert for each prompt. */
  readonly routed: HeldOutValue | null;
  /** One committee for all prompts, all of it asked; null where no three experts fit. */
  readonly committee: HeldOutValue | null;
  /** A committee for each class and half, asked in turn until it is clear. */
  readonly byClass: HeldOutValue | null;
  /** What was chosen in the first fold, in words. */
  readonly plan: readonly string[];
}

export interface VoteFigures {
  readonly prompts: number;
  readonly experts: readonly { readonly expert: string; readonly quality: number; readonly cost: number }[];
  /** Share of prompts that at least one expert answers right. */
  readonly coverage: number;
  readonly budgets: readonly VoteAtBudget[];
}

type Answering = (prompt: VotePrompt) => { readonly isRight: boolean; readonly cost: number };
interface FoldChooser {
  readonly fold: VoteFold;
  readonly chooser: CommitteeChooser;
}

/** Everything that is chosen is chosen on each fold's training prompts and scored on its test prompts. */
export function voteFigures(experts: readonly string[], folds: readonly VoteFold[], limits: FreshLimits): VoteFigures {
  const all = folds.flatMap(({ test }) => test);
  const singles = experts.map((expert, at) => ({ expert, ...valueOf(all, alone(at)) }));
  const best = singles.reduce((most, one) => (one.quality > most.quality ? one : most));
  const choosers = folds.map((fold) => ({ fold, chooser: new CommitteeChooser(fold.train, limits) }));
  return {
    prompts: all.length,
    experts: singles,
    coverage: meanOf(all.map(({ right }) => (right.includes(true) ? 1 : 0))),
    budgets: BUDGETS.map((times) => atBudget(times * best.cost, singles, choosers, limits)),
  };
}

function atBudget(
  budget: number,
  singles: VoteFigures['experts'],
  choosers: readonly FoldChooser[],
  limits: FreshLimits,
): VoteAtBudget {
  const plans = choosers.map(({ chooser }) => chooser.choose(budget, limits));
  const byClass = heldOut(choosers, (_, at) => answeringOf(plans[at]));
  const cost = Math.max(budget, byClass?.cost ?? 0);
  const at = bestWithin(singles, cost);
  const single = at === undefined ? null : heldOut(choosers, () => alone(at));
  return {
    budget,
    single: {
      expert: singles[at ?? -1]?.expert ?? '(none)',
      quality: single?.quality ?? 0,
      byFold: single?.byFold ?? [],
    },
    mixed: mixedValue(singles, cost),
    routed: heldOut(choosers, ({ fold }) => routing(fold.train, budget)),
    committee: heldOut(choosers, ({ fold }) => answeringOf(coveringCommittee(fold.train, budget, limits))),
    byClass,
    plan: plans[0] === undefined ? [] : describe(plans[0], singles),
  };
}

function bestWithin(singles: VoteFigures['experts'], cost: number): number | undefined {
  return singles.reduce<number | undefined>(
    (best, one, at) =>
      one.cost <= cost && one.quality > (best === undefined ? -1 : (singles[best]?.quality ?? 0)) ? at : best,
    undefined,
  );
}

function heldOut(
  choosers: readonly FoldChooser[],
  answeringIn: (chooser: FoldChooser, at: number) => Answering | undefined,
): HeldOutValue | null {
  const values = choosers.map((chooser, at) => {
    const answering = answeringIn(chooser, at);
    const { test } = chooser.fold;
    return answering === undefined ? undefined : { count: test.length, ...valueOf(test, answering) };
  });
  const known = values.filter((value) => value !== undefined);
  if (known.length < values.length || known.length === 0) return null;
  const count = known.reduce((sum, value) => sum + value.count, 0);
  const mean = (of: (value: PolicyValue) => number) =>
    known.reduce((sum, value) => sum + (value.count / count) * of(value), 0);
  return {
    quality: mean(({ quality }) => quality),
    cost: mean(({ cost }) => cost),
    byFold: known.map(({ quality }) => quality),
  };
}

function valueOf(prompts: readonly VotePrompt[], answering: Answering): PolicyValue {
  const answers = prompts.map(answering);
  return {
    quality: meanOf(answers.map(({ isRight }) => Number(isRight))),
    cost: meanOf(answers.map(({ cost }) => cost)),
  };
}

const alone =
  (expert: number): Answering =>
  ({ right, cost }) => ({ isRight: right[expert] === true, cost: cost[expert] ?? 0 });

function answeringOf(plan: VotePlan | undefined): Answering | undefined {
  if (plan === undefined) return undefined;
  return (prompt) => {
    const policy = plan.policyOf(prompt);
    return runPolicy(policy, prompt, policy.alternatives);
  };
}

/** One expert a prompt, by predicted quality less price times predicted cost; the price that does best on `train` within the budget. */
function routing(train: readonly VotePrompt[], budget: number): Answering | undefined {
  const dearest = Math.max(...(train[0]?.right ?? []).map((_, at) => meanOf(train.map(({ cost }) => cost[at] ?? 0))));
  let best: { readonly answering: Answering; readonly quality: number } | undefined;
  for (const price of ROUTING_PRICES) {
    const answering: Answering = (prompt) => alone(routed(prompt, price / dearest))(prompt);
    const { quality, cost } = valueOf(train, answering);
    if (cost <= budget && quality > (best?.quality ?? -1)) best = { answering, quality };
  }
  return best?.answering;
}

function routed({ quality, expectedCost }: VotePrompt, price: number): number {
  const value = quality.map((each, at) => each - price * (expectedCost[at] ?? 0));
  return value.indexOf(Math.max(...value));
}

/** The best mean quality of two experts, one drawn for each prompt, whose mean cost is `cost`. */
function mixedValue(singles: VoteFigures['experts'], cost: number): number {
  let best = 0;
  for (const low of singles) {
    if (low.cost > cost) continue;
    best = Math.max(best, low.quality);
    for (const high of singles) {
      if (high.cost <= cost) continue;
      const share = (cost - low.cost) / (high.cost - low.cost);
      best = Math.max(best, (1 - share) * low.quality + share * high.quality);
    }
  }
  return best;
}

function describe(plan: VotePlan, singles: VoteFigures['experts']): string[] {
  return [...plan.policies]
    .map(([group, { order, until }]) => {
      const names = order.map((expert) => singles[expert]?.expert ?? '').join(', ');
      return `${group}: ${names}${until === 'all' ? '' : ` until ${until} sure`}`;
    })
    .sort();
}
