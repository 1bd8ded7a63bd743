/** One way to store a group of tensors. */
export interface GroupOption {
  readonly sizeBytes: number;
  /** What it costs in quality, for example bits per byte above the best option; 0 or more. */
  readonly loss: number;
}

export interface BudgetedChoice {
  /** For each group, the index of its option. */
  readonly chosen: readonly number[];
  readonly sizeBytes: number;
  readonly loss: number;
  /** No choice within the budget loses less than this; equals `loss` when the choice is proven best. */
  readonly bound: number;
}

interface Partial {
  readonly sizeBytes: number;
  readonly loss: number;
  readonly option: number;
  readonly before: Partial | undefined;
}

/** Beyond this many undominated beginnings they are thinned out: the answer is then good, and `bound` says how good. */
const MOST_PARTIALS = 20_000;

/**
 * One option for each group, so that all together take at most `budgetBytes` and lose least: the multiple-choice
 * knapsack problem, by dynamic programming over undominated beginnings (Nemhauser and Ullmann 1969), exact up to
 * MOST_PARTIALS of them. Undefined when even the smallest options do not fit. Equal losses go to the smaller size.
 */
export function chooseWithin(
  groups: readonly (readonly GroupOption[])[],
  budgetBytes: number,
  mostPartials = MOST_PARTIALS,
): BudgetedChoice | undefined {
  const leastAfter = leastSizes(groups);
  if ((leastAfter[0] ?? 0) > budgetBytes) return undefined;
  let partials: readonly Partial[] = [{ sizeBytes: 0, loss: 0, option: -1, before: undefined }];
  let exact = true;
  for (const [i, options] of groups.entries()) {
    const room = budgetBytes - (leastAfter[i + 1] ?? 0);
    const grown = partials.flatMap((before) =>
      options.flatMap(({ sizeBytes, loss }, option): readonly Partial[] =>
        before.sizeBytes + sizeBytes > room
          ? []
          : [{ sizeBytes: before.sizeBytes + sizeBytes, loss: before.loss + loss, option, before }],
      ),
    );
    partials = undominated(grown);
    if (partials.length > mostPartials) {
      partials = thinned(partials, mostPartials);
      exact = false;
    }
  }
  const best = partials.at(-1);
  if (best === undefined) return undefined;
  const bound = exact ? best.loss : Math.min(best.loss, relaxedLoss(groups, budgetBytes));
  return { chosen: optionsOf(best), sizeBytes: best.sizeBytes, loss: best.loss, bound };
}

/**
 * The least loss when options may be mixed in any shares: a lower bound of `chooseWithin` (linear relaxation, by
 * exchanges along each group's convex hull in order of loss per byte; Sinha and Zoltners 1979). Infinity when nothing fits.
 */
export function relaxedLoss(groups: readonly (readonly GroupOption[])[], budgetBytes: number): number {
  let sizeBytes = 0;
  let loss = 0;
  const exchanges: { readonly bytes: number; readonly gain: number }[] = [];
  for (const options of groups) {
    const hull = convexHull(options);
    const [smallest] = hull;
    if (smallest === undefined) return Infinity;
    sizeBytes += smallest.sizeBytes;
    loss += smallest.loss;
    for (const [i, to] of hull.entries()) {
      const from = hull[i - 1];
      if (from !== undefined) exchanges.push({ bytes: to.sizeBytes - from.sizeBytes, gain: from.loss - to.loss });
    }
  }
  if (sizeBytes > budgetBytes) return Infinity;
  for (const { bytes, gain } of exchanges.sort((a, b) => b.gain / b.bytes - a.gain / a.bytes)) {
    const share = Math.min(1, (budgetBytes - sizeBytes) / bytes);
    loss -= share * gain;
    sizeBytes += share * bytes;
    if (share < 1) break;
  }
  return loss;
}

/** Least total size of the groups from each one on; 0 after the last. */
function leastSizes(groups: readonly (readonly GroupOption[])[]): readonly number[] {
  const sizes = [0];
  for (const options of groups.toReversed()) {
    sizes.unshift((sizes[0] ?? 0) + Math.min(...options.map((option) => option.sizeBytes)));
  }
  return sizes;
}

/** By size, each losing less than all smaller ones. */
function undominated<T extends GroupOption>(options: readonly T[]): readonly T[] {
  let least = Infinity;
  return options
    .toSorted((a, b) => a.sizeBytes - b.sizeBytes || a.loss - b.loss)
    .filter(({ loss }) => {
      const isBetter = loss < least;
      if (isBetter) least = loss;
      return isBetter;
    });
}

/** Undominated options whose gain per byte falls from each to the next. */
function convexHull(options: readonly GroupOption[]): readonly GroupOption[] {
  const hull: GroupOption[] = [];
  for (const option of undominated(options)) {
    for (;;) {
      const [a, b] = hull.slice(-2);
      if (a === undefined || b === undefined) break;
      const isAbove =
        (a.loss - b.loss) * (option.sizeBytes - b.sizeBytes) <= (b.loss - option.loss) * (b.sizeBytes - a.sizeBytes);
      if (!isAbove) break;
      hull.pop();
    }
    hull.push(option);
  }
  return hull;
}

/** Evenly spread over the sizes, both ends kept. */
function thinned(partials: readonly Partial[], most: number): readonly Partial[] {
  const step = (partials.length - 1) / (most - 1);
  return Array.from({ length: most }, (_, i) => partials[Math.round(i * step)]).flatMap((partial) => partial ?? []);
}

function optionsOf(last: Partial): readonly number[] {
  const chosen: number[] = [];
  for (let at: Partial | undefined = last; at?.before !== undefined; at = at.before) chosen.unshift(at.option);
  return chosen;
}
