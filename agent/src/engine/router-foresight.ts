import type { ColumnProduct } from '../native/ggml-products.js';
import type { GgmlTensors } from '../native/ggml-tensors.js';
import type { Address, LlamaLibrary } from '../native/llama-library.js';
import { softmax } from './slab-observer.js';

/** `GGML_TYPE_F32`. */
const F32 = 0;

interface Router {
  readonly product: ColumnProduct;
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
   * token. Undefined where that is unknown. Good until the next ones of that layer.
   */
  scores(at: number, of: number): Float32Array | undefined {
    const result = this.#results.get(at);
    const router = this.#routers.get(of);
    if (result === undefined || router === undefined) return undefined;
    const input = this.#tensors.source(result, 1);
    if (input === undefined || input.type !== F32 || input.columns !== router.width || input.rows !== 1)
      return undefined;
    const scores = router.product.of(input.data);
    return scores === undefined ? undefined : softmax(scores);
  }

  close(): void {
    for (const router of this.#routers.values()) router?.product.free();
    this.#routers.clear();
  }

  #routerOf(result: Address): Router | undefined {
    const slabs = this.#tensors.matrix(result).columns;
    const weights = this.#tensors.source(result, 0);
    if (weights === undefined || weights.rows !== slabs) return undefined;
    const { columns: width, rows, tensor } = weights;
    const product = this.#library.columnProduct(tensor, { columns: width, rows });
    return product === undefined ? undefined : { product, width };
  }
}
