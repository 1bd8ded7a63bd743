import type { GgmlTensors } from '../native/ggml-tensors.js';
import type { Address, LlamaLibrary } from '../native/llama-library.js';
import { softmax } from './slab-observer.js';

/** `GGML_TYPE_F32`. */
const F32 = 0;

interface Router {
  /** `slabs x width`, the model's own memory. */
  readonly weights: Float32Array;
  readonly slabs: number;
  readonly width: number;
}

/**
 * Tells how the routers of later layers would score what an earlier layer's router has seen: the state changes little from
 * one layer to the next, so that they choose much the same. For what may be wrong without harm only.
 */
export class RouterForesight {
  readonly #library: LlamaLibrary;
  readonly #tensors: GgmlTensors;
  /** By layer; undefined where its router is none that we can compute. */
  readonly #routers = new Map<number, Router | undefined>();
  /** Of the running evaluation, by layer: the tensor of the router's result. */
  readonly #results = new Map<number, Address>();
  #seen = new Float32Array();

  constructor(library: LlamaLibrary, tensors: GgmlTensors) {
    this.#library = library;
    this.#tensors = tensors;
  }

  /** The graph has a router's result (`ffn_moe_logits`). */
  found(layer: number, result: Address): void {
    this.#results.set(layer, result);
    if (!this.#routers.has(layer)) this.#routers.set(layer, this.#routerOf(result));
  }

  /**
   * Softmax of the scores that the router of layer `of` would give to what the one of layer `at` has just seen for a single
   * token. Undefined where that is unknown.
   */
  scores(at: number, of: number): Float32Array | undefined {
    const result = this.#results.get(at);
    const router = this.#routers.get(of);
    if (result === undefined || router === undefined) return undefined;
    const input = this.#tensors.source(result, 1);
    if (input === undefined || input.type !== F32 || input.columns !== router.width || input.rows !== 1)
      return undefined;
    if (this.#seen.length !== router.width) this.#seen = new Float32Array(router.width);
    this.#library.copy(this.#seen, input.data, this.#seen.byteLength);
    return softmax(products(router, this.#seen));
  }

  #routerOf(result: Address): Router | undefined {
    const slabs = this.#tensors.matrix(result).columns;
    const weights = this.#tensors.source(result, 0);
    if (weights === undefined || weights.type !== F32 || weights.rows !== slabs) return undefined;
    const { columns: width, data } = weights;
    return { weights: this.#library.floats(data, slabs * width), slabs, width };
  }
}

function products({ weights, slabs, width }: Router, input: Float32Array): Float32Array {
  const out = new Float32Array(slabs);
  for (let slab = 0; slab < slabs; slab++) {
    const row = slab * width;
    // Four sums at once: one alone would wait for itself.
    let [a, b, c, d] = [0, 0, 0, 0];
    for (let i = 0; i + 3 < width; i += 4) {
      a += (weights[row + i] ?? 0) * (input[i] ?? 0);
      b += (weights[row + i + 1] ?? 0) * (input[i + 1] ?? 0);
      c += (weights[row + i + 2] ?? 0) * (input[i + 2] ?? 0);
      d += (weights[row + i + 3] ?? 0) * (input[i + 3] ?? 0);
    }
    out[slab] = a + b + c + d;
  }
  return out;
}
