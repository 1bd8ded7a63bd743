import type { KeepSets, RoutedLayer } from '../slabs/routing.js';

/** What is done with a tensor of the graph once it is computed. */
export type Stage =
  /** Dropped slabs are taken out of the router's choice. */
  | 'mask'
  /** The choice is there, and may be changed before it is used. */
  | 'chosen'
  /** The weights of the chosen slabs are there, before they are normalised. */
  | 'weights';

/** A tensor of a mixture-of-experts layer, by the name that llama.cpp's graph gives it. */
export interface MoeTensor {
  readonly what: 'logits' | 'probs' | 'probs_biased' | 'topk' | 'weights' | 'weights_softmax';
  readonly layer: number;
}

/** Far below any logit, and finite: infinities would make a group of dropped slabs NaN. */
export const DROPPED = -1e30;

const NAMES: ReadonlySet<string> = new Set(['logits', 'probs', 'probs_biased', 'topk', 'weights', 'weights_softmax']);
const PREFIX = 'ffn_moe_';

/** Undefined for any other tensor. Called for every node of the graph: it has to be quick. */
export function moeTensor(name: string): MoeTensor | undefined {
  if (!name.startsWith(PREFIX)) return undefined;
  const dash = name.lastIndexOf('-');
  const what = name.slice(PREFIX.length, dash);
  const layer = Number(name.slice(dash + 1));
  return NAMES.has(what) && Number.isInteger(layer) ? { what: what as MoeTensor['what'], layer } : undefined;
}

/** What an evaluation wants of the router of each layer. */
export interface Wish {
  readonly keep: KeepSets | undefined;
  /** Active slabs per token where fewer than the graph computes. */
  readonly slabsPerToken: number | undefined;
  /** Whether the choice is to be seen. */
  readonly observes: boolean;
}

/**
 * Which tensors to stop at, in the order in which a layer computes them.
 *
 * A mask goes on the router's logits, so that its probabilities are those of a model without the dropped slabs; where the
 * architecture adds a bias for the choice, also on the biased ones, since a bias alone could choose a dropped slab. Where
 * probabilities are the logits themselves (softmax over the chosen only), llama.cpp's graph names them `probs`.
 * Fewer active slabs are a change of the choice and of its weights.
 */
export class StagePlan {
  readonly #logitsSeen = new Set<number>();
  readonly #softmaxedLater = new Set<number>();

  /**
   * What a weight must be for its slab not to count: 0, or where the weights are softmaxed after the choice, far below all.
   * Known once the layer has been computed for the first time.
   */
  noWeight(layer: number): number {
    return this.#softmaxedLater.has(layer) ? DROPPED : 0;
  }

  /** What to do once this tensor is computed; undefined: nothing, go on. */
  stageOf({ what, layer }: MoeTensor, wish: Wish): Stage | undefined {
    switch (what) {
      case 'logits':
        this.#logitsSeen.add(layer);
        return wish.keep === undefined ? undefined : 'mask';
      case 'probs':
        return wish.keep !== undefined && !this.#logitsSeen.has(layer) ? 'mask' : undefined;
      case 'probs_biased':
        return wish.keep === undefined ? undefined : 'mask';
      case 'topk':
        return wish.observes || wish.slabsPerToken !== undefined ? 'chosen' : undefined;
      case 'weights':
        return wish.slabsPerToken === undefined ? undefined : 'weights';
      case 'weights_softmax':
        this.#softmaxedLater.add(layer);
        return undefined;
    }
  }
}

/** Takes the slabs that are not kept out of a router's output, `tokens x slabs`, in place. */
export function dropSlabs(scores: Float32Array, slabs: number, kept: readonly number[]): void {
  const isKept = new Uint8Array(slabs);
  for (const slab of kept) isKept[slab] = 1;
  for (let i = 0; i < scores.length; i++) if (isKept[i % slabs] === 0) scores[i] = DROPPED;
}

/**
 * A router's scores as probabilities, `tokens x slabs`: as they are where they are some; of architectures that choose by
 * logits, and softmax over the chosen only, their softmax over all.
 */
export function asProbabilities(scores: Float32Array, slabs: number): Float32Array {
  if (scores.every((score) => score >= 0 && score <= 1)) return scores;
  for (let start = 0; start < scores.length; start += slabs) {
    softmax(scores.subarray(start, start + slabs));
  }
  return scores;
}

/** In place. */
export function softmax(values: Float32Array): Float32Array {
  const most = values.reduce((max, value) => Math.max(max, value), -Infinity);
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i] = Math.exp((values[i] ?? 0) - most);
  for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) / total;
  return values;
}

/** The choice of a layer out of a tensor's bytes: rows of `stride` numbers, of which the first ones are the choice. */
export function chosenSlabs(ids: Int32Array, tokens: number, slabsPerToken: number, stride: number): Int32Array {
  if (stride === slabsPerToken) return ids.slice(0, tokens * slabsPerToken);
  const chosen = new Int32Array(tokens * slabsPerToken);
  for (let t = 0; t < tokens; t++) {
    chosen.set(ids.subarray(t * stride, t * stride + slabsPerToken), t * slabsPerToken);
  }
  return chosen;
}

/**
 * Has every token use only the first `active` of its chosen slabs (they are in order of score): the others become the
 * first one again, which is in memory already, and their weights are to be zeroed.
 */
export function repeatFirst(routed: RoutedLayer, active: number): Int32Array {
  const { slabs, slabsPerToken, tokens } = routed;
  const repeated = slabs.slice();
  for (let t = 0; t < tokens; t++) {
    const first = slabs[t * slabsPerToken] ?? 0;
    repeated.fill(first, t * slabsPerToken + active, (t + 1) * slabsPerToken);
  }
  return repeated;
}
