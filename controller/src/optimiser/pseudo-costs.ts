import type { Decision } from './search-tree.js';

/** A fall of a bound below this is rounding. */
const LEAST_FALL = 1e-7;
/** What an empty child counts as: far more than any bound falls, and finite. */
const EMPTY_FALL = 100;

const WHOLE = 1e-6;
/** Branchings after which a decision's falls are relied on. */
const RELIABLE = 4;
const MOST_UNSURE = 8;

/** A decision that is not whole at a point. */
export interface Candidate {
  readonly decision: Decision;
  readonly value: number;
  readonly score: number;
}

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

  /** Of the fractional decisions of the lowest rank the one whose children promise to fall most; undefined: all are whole. */
  mostPromising(decisions: readonly Decision[], point: Float64Array): Decision | undefined {
    let best: Candidate | undefined;
    for (const candidate of this.#candidates(decisions, point)) {
      if (best === undefined || candidate.score > best.score) best = candidate;
    }
    return best?.decision;
  }

  /** Of the same, the most promising ones that were branched on too seldom to rely on (Achterberg et al. 2005). */
  unsure(decisions: readonly Decision[], point: Float64Array): readonly Candidate[] {
    return this.#candidates(decisions, point)
      .filter(({ decision }) => (this.#byColumn.get(decision.column)?.downs ?? 0) < RELIABLE)
      .sort((a, b) => b.score - a.score)
      .slice(0, MOST_UNSURE);
  }

  #candidates(decisions: readonly Decision[], point: Float64Array): Candidate[] {
    let found: Candidate[] = [];
    for (const decision of decisions) {
      const rank = found[0]?.decision.rank ?? Infinity;
      if (decision.rank > rank) continue;
      const value = point[decision.column] ?? 0;
      const above = value - Math.floor(value);
      if (above <= WHOLE || above >= 1 - WHOLE) continue;
      if (decision.rank < rank) found = [];
      found.push({ decision, value, score: this.score(decision.column, above) });
    }
    return found;
  }
}
