import { excess } from './constraints.js';
import { countOf } from './placement.js';
import type { ConstraintUse, PlacementPlan } from './plan.js';
import type { PlacementProblem } from './problem.js';

/** A bound with less than this share left is said to bind. */
export const BINDING_SHARE = 0.01;

export function isBinding(use: ConstraintUse): boolean {
  return -excess(use) <= BINDING_SHARE * Math.max(1e-9, Math.abs(use.limit));
}

const shown = (value: number): string => String(Number(value.toPrecision(4)));

/** What binds, what it would buy to give more, who is left out: in sentences for a person. */
export function explain(
  problem: PlacementProblem,
  plan: Pick<PlacementPlan, 'objective' | 'bound' | 'prices' | 'poweredOn'>,
  uses: readonly ConstraintUse[],
): string[] {
  const sentences: string[] = [];
  if (plan.objective !== null) {
    const room = plan.bound === null ? '' : `; nothing can be above ${shown(plan.bound)}`;
    sentences.push(`Demand-weighted quality is ${shown(plan.objective)} of 1000${room}.`);
  }
  const classIndex = new Map(problem.classes.map((each, k) => [each.id, k]));
  const deviceIndex = new Map(problem.devices.map((each, d) => [each.id, d]));
  for (const use of uses) {
    if (!isBinding(use)) continue;
    const sentence = bindingSentence(plan.prices, use, classIndex, deviceIndex);
    if (sentence !== undefined) sentences.push(sentence);
  }
  for (const use of uses) {
    if (use.group !== 'demand' || use.used > 1 - 1e-6) continue;
    // More may be possible and not worth it: without weight or quality the rest gains nothing.
    sentences.push(`Only ${shown(use.used * 100)} % of the requests of ${use.subject} are served.`);
  }
  const on = new Map(plan.poweredOn);
  const off = problem.devices.filter((_, d) => (on.get(d) ?? 0) < countOf(problem, d)).map(({ id }) => id);
  if (off.length > 0) {
    const named = off.slice(0, 5).join(', ') + (off.length > 5 ? ` and ${off.length - 5} more` : '');
    sentences.push(`Not needed, or not worth their power, memory moves or latency: ${named}.`);
  }
  return sentences;
}

function bindingSentence(
  prices: PlacementPlan['prices'],
  use: ConstraintUse,
  classIndex: ReadonlyMap<string, number>,
  deviceIndex: ReadonlyMap<string, number>,
): string | undefined {
  const of = use.subject === '' ? '' : ` of ${use.subject}`;
  const figures = `${shown(use.used)} of ${shown(use.limit)} ${use.unit}`;
  const worth = (price: number | undefined, step: string) =>
    price === undefined || price === 0
      ? ''
      : `; ${step} is worth about ${shown(price)} points at this placement, for small changes`;
  const k = String(classIndex.get(use.subject) ?? -1);
  switch (use.group) {
    case 'power':
      return `Power binds: ${figures}${worth(prices.power?.value, 'one watt more')}.`;
    case 'latency':
      return `Mean latency${of} binds: ${figures}${worth(prices.latency[k], 'one second more')}.`;
    case 'energy':
      return `Energy per request${of} binds: ${figures}${worth(prices.energy[k], 'one joule more')}.`;
    case 'util': {
      const price = prices.util[String(deviceIndex.get(use.subject) ?? -1)];
      return `${use.subject} is as busy as it may be: ${figures}${worth(price === undefined ? price : price / 100, 'one percent more time')}.`;
    }
    case 'memory':
      return `Memory${of} is full: ${figures}.`;
    case 'devpower':
      return `Power cap${of} binds: ${figures}.`;
    case 'variants':
      return `The catalogue is full: ${figures}.`;
    case 'move':
      return `The move budget is used up: ${figures}.`;
    case 'sitepower':
      return `Power${of} binds: ${figures}.`;
    case 'battery':
      return `The battery${of} is used up: ${figures}.`;
    case 'network':
      return `The uplink${of} is full: ${figures}.`;
    // Floors and slots are met exactly as a rule, and the worst allowed arc is a filter's; that says nothing.
    case 'demand':
    case 'replicas':
    case 'slots':
    case 'tail':
      return undefined;
  }
}
