import type { SlabLayout } from '../gguf/slab-layout.js';
import type { Importance } from './importance.js';
import type { RoutedLayer } from './routing.js';

type Shape = Pick<SlabLayout, 'slabsPerLayer' | 'slabsPerToken'> & { readonly layers: number };

/**
 * How the router chose for the tokens of one sequence, position by position: what a prompt that begins like the one before
 * it does not evaluate again is still known. Of several layers the last one is left out: of a prompt it is computed for the
 * last token only. Takes `6 x layers x slabsPerToken` bytes a token.
 */
export class PromptRouting {
  readonly #shape: Shape;
  readonly #slabs: Uint16Array;
  /** The router's probability of each; 0 where nothing is known. */
  readonly #scores: Float32Array;
  /** Positions from here on are all unknown. */
  #end = 0;

  /** For positions below `tokens`. */
  constructor(shape: Shape, tokens: number) {
    this.#shape = shape;
    const size = tokens * shape.layers * shape.slabsPerToken;
    this.#slabs = new Uint16Array(size);
    this.#scores = new Float32Array(size);
  }

  /** Of tokens at `from` and after it, one after the other. Needs probabilities. */
  routed({ layer, tokens, slabsPerToken, slabs, probabilities }: RoutedLayer, from: number): void {
    const { slabsPerLayer } = this.#shape;
    if (probabilities === undefined || slabsPerToken !== this.#shape.slabsPerToken) return;
    if (layer > 0 && layer === this.#shape.layers - 1) return;
    for (let t = 0; t < tokens; t++) {
      const at = this.#at(from + t, layer);
      for (let i = 0; i < slabsPerToken; i++) {
        const slab = slabs[t * slabsPerToken + i] ?? 0;
        this.#slabs[at + i] = slab;
        this.#scores[at + i] = probabilities[t * slabsPerLayer + slab] ?? 0;
      }
    }
    this.#end = Math.max(this.#end, from + tokens);
  }

  /** Nothing is known of positions from `from` on. */
  forget(from: number): void {
    if (from >= this.#end) return;
    this.#scores.fill(0, this.#at(from, 0), this.#at(this.#end, 0));
    this.#end = from;
  }

  /** Sums of the router's probability of the slabs that it chose (TCESS of this text), by layer. */
  get importance(): Importance {
    const { layers, slabsPerLayer, slabsPerToken } = this.#shape;
    const sums = Array.from({ length: layers }, () => Array.from({ length: slabsPerLayer }, () => 0));
    for (let position = 0; position < this.#end; position++) {
      for (const [layer, sum] of sums.entries()) {
        const at = this.#at(position, layer);
        for (let i = at; i < at + slabsPerToken; i++) {
          const slab = this.#slabs[i] ?? 0;
          sum[slab] = (sum[slab] ?? 0) + (this.#scores[i] ?? 0);
        }
      }
    }
    return sums;
  }

  #at(position: number, layer: number): number {
    return (position * this.#shape.layers + layer) * this.#shape.slabsPerToken;
  }
}
