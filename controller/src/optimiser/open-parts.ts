import type { SearchNode } from './search-tree.js';
import type { WarmBasis } from './solver.js';

/** A part that was solved and not yet split. */
export interface OpenPart {
  readonly node: SearchNode;
  readonly point: Float64Array;
  readonly basis: WarmBasis;
}

/** Open parts in the order of their bounds. */
export class OpenParts {
  /** The best last. */
  readonly #parts: OpenPart[] = [];

  get best(): OpenPart | undefined {
    return this.#parts.at(-1);
  }

  takeBest(): OpenPart | undefined {
    return this.#parts.pop();
  }

  add(part: OpenPart): void {
    let [low, high] = [0, this.#parts.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#parts[middle]?.node.bound ?? 0) < part.node.bound) low = middle + 1;
      else high = middle;
    }
    this.#parts.splice(low, 0, part);
  }
}
