/** A fall of a bound below this is rounding. */
const LEAST_FALL = 1e-7;
/** What an empty child counts as: far more than any bound falls, and finite. */
const EMPTY_FALL = 100;

interface Falls {
  down: number;
  downs: number;
  up: number;
  ups: number;
}

/**
 * How far bounds have fallen per unit that a decision was rounded, from the children seen so far (Benichou et al. 1971). A
 * decision that was never branched on counts as the mean of the others.
 */
export class PseudoCosts {
  readonly #byColumn = new Map<number, Falls>();
  readonly #all: Falls = { down: 0, downs: 0, up: 0, ups: 0 };

  /** `above`: how far the decision's value was above the lower child's bound, 0..1. */
  learn(
    column: number,
    above: number,
    bounds: { readonly parent: number; readonly low: number; readonly high: number },
  ): void {
    const own = this.#byColumn.get(column) ?? { down: 0, downs: 0, up: 0, ups: 0 };
    this.#byColumn.set(column, own);
    const fall = (bound: number) => Math.min(EMPTY_FALL, Math.max(0, bounds.parent - bound));
    for (const falls of [own, this.#all]) {
      falls.down += fall(bounds.low) / above;
      falls.downs++;
      falls.up += fall(bounds.high) / (1 - above);
      falls.ups++;
    }
  }

  /** Product of the falls expected of both children: a branching is as good as its worse half. */
  score(column: number, above: number): number {
    const own = this.#byColumn.get(column) ?? this.#all;
    const down = own.downs === 0 ? 1 : own.down / own.downs;
    const up = own.ups === 0 ? 1 : own.up / own.ups;
    return Math.max(LEAST_FALL, down * above) * Math.max(LEAST_FALL, up * (1 - above));
  }
}
