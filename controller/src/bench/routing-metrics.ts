/** What a router is worth by its predictions, as the routing literature measures it. Pure. */

export interface CostQuality {
  /** Mean per prompt. */
  readonly cost: number;
  readonly quality: number;
}

/** One prompt: lists are by expert. */
export interface RoutedPrompt {
  readonly quality: readonly number[];
  readonly cost: readonly number[];
  /** What the router thought of both before anything was asked. */
  readonly predicted: readonly number[];
  readonly expectedCost: readonly number[];
}

export interface RoutingValue {
  /** Area under the router's hull over the range from the cheapest to the dearest single expert, divided by that range. */
  readonly aiq: number;
  /** The same of mixing single experts at random: what a router has to beat. */
  readonly zeroAiq: number;
}

/** Prices of cost in units of quality, times the dearest expert's cost: 0, then 1e-5 to 50 in equal ratios. */
const PRICES = [0, ...Array.from({ length: 120 }, (_, at) => 1e-5 * 5e6 ** (at / 119))];

/**
 * Average improvement in quality (RouterBench, Hu et al. 2024, AIQ): every prompt goes to the expert of largest predicted
 * quality less price times expected cost; each price makes one point, "always the cheapest" another.
 */
export function routingValue(prompts: readonly RoutedPrompt[]): RoutingValue {
  const experts = prompts[0]?.quality.length ?? 0;
  const singles = Array.from({ length: experts }, (_, expert) => pointOf(prompts, () => expert));
  const cheapest = singles.reduce((least, one) => (one.cost < least.cost ? one : least));
  const dearest = Math.max(...singles.map(({ cost }) => cost));
  const routed = PRICES.map((price) => pointOf(prompts, (prompt) => choiceAt(prompt, price / dearest)));
  return {
    aiq: meanHeight(upperHull([cheapest, ...routed]), cheapest.cost, dearest),
    zeroAiq: meanHeight(upperHull(singles), cheapest.cost, dearest),
  };
}

function choiceAt({ predicted, expectedCost }: RoutedPrompt, price: number): number {
  let best = 0;
  let bestValue = -Infinity;
  predicted.forEach((quality, expert) => {
    const value = quality - price * (expectedCost[expert] ?? 0);
    if (value > bestValue) [best, bestValue] = [expert, value];
  });
  return best;
}

function pointOf(prompts: readonly RoutedPrompt[], choice: (prompt: RoutedPrompt) => number): CostQuality {
  let [cost, quality] = [0, 0];
  for (const prompt of prompts) {
    const expert = choice(prompt);
    cost += prompt.cost[expert] ?? 0;
    quality += prompt.quality[expert] ?? 0;
  }
  return { cost: cost / prompts.length, quality: quality / prompts.length };
}

/** The upper convex hull of the points that no cheaper one matches: what mixing them reaches at each cost. */
export function upperHull(points: readonly CostQuality[]): readonly CostQuality[] {
  const hull: CostQuality[] = [];
  for (const point of [...points].sort((a, b) => a.cost - b.cost || b.quality - a.quality)) {
    if (hull.length > 0 && point.quality <= (hull.at(-1)?.quality ?? 0)) continue;
    while (hull.length >= 2 && !isAbove(hull.at(-2), hull.at(-1), point)) hull.pop();
    hull.push(point);
  }
  return hull;
}

/** Whether `middle` lies above the line from `from` to `to`. */
function isAbove(from: CostQuality | undefined, middle: CostQuality | undefined, to: CostQuality): boolean {
  if (from === undefined || middle === undefined) return true;
  const gain = (middle.quality - from.quality) * (to.cost - from.cost);
  return gain > (to.quality - from.quality) * (middle.cost - from.cost);
}

/** Mean quality of a hull over a range of costs that it begins at or before; flat after its end. */
export function meanHeight(hull: readonly CostQuality[], from: number, to: number): number {
  const last = hull.at(-1);
  if (last === undefined || to <= from) return last?.quality ?? NaN;
  let area = 0;
  hull.forEach((start, at) => {
    const end = hull[at + 1] ?? { cost: Infinity, quality: start.quality };
    const [low, high] = [Math.max(from, start.cost), Math.min(to, end.cost)];
    if (high <= low) return;
    const slope = end.cost === Infinity ? 0 : (end.quality - start.quality) / (end.cost - start.cost);
    area += (high - low) * (start.quality + slope * ((low + high) / 2 - start.cost));
  });
  return area / (to - from);
}

/** A prompt for a choice between a weak and a strong expert. */
export interface PairedPrompt {
  readonly weak: number;
  readonly strong: number;
  /** The larger, the sooner the strong one is asked. */
  readonly gain: number;
}

export interface PairValue {
  /** Average performance gap recovered over all shares of prompts sent to the strong expert (Ong et al. 2024). */
  readonly apgr: number;
  /** Share of prompts that has to go to the strong expert to recover 50 % and 80 % of the gap. */
  readonly cpt50: number;
  readonly cpt80: number;
}

/** How well a score orders prompts by what the strong expert gains on them. Equal gains keep the prompts' order. */
export function pairValue(prompts: readonly PairedPrompt[]): PairValue {
  const ordered = [...prompts].sort((a, b) => b.gain - a.gain);
  const gap = ordered.reduce((sum, { weak, strong }) => sum + strong - weak, 0);
  let [recovered, area] = [0, 0];
  const reached = [0.5, 0.8].map((level) => ({ level, share: NaN }));
  ordered.forEach(({ weak, strong }, at) => {
    const before = recovered;
    recovered += (strong - weak) / gap;
    area += (before + recovered) / 2 / ordered.length;
    for (const one of reached) {
      if (Number.isNaN(one.share) && recovered >= one.level) one.share = (at + 1) / ordered.length;
    }
  });
  return { apgr: area, cpt50: reached[0]?.share ?? NaN, cpt80: reached[1]?.share ?? NaN };
}
