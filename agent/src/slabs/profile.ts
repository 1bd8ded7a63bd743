import { type ErrorCode, FleetError } from '@fleetgate/shared/errors';
import { z } from 'zod';

import type { KeepSets, RoutedLayer } from './routing.js';

const score = z.array(z.number().nonnegative());

const layerProfileSchema = z.object({
  /** Tokens that were routed to each slab. */
  frequency: score,
  /** Sum of the router's probability of each slab, over the tokens that chose it. */
  tcess: score,
  /** Of `frequency`, tokens of reasoning. */
  reasoning: score,
});
export type LayerProfile = z.infer<typeof layerProfileSchema>;

const taskProfileSchema = z.object({
  documents: z.number().int().nonnegative(),
  tokens: z.number().int().positive(),
  /** Of them, tokens of reasoning (`isReasoning`). */
  reasoningTokens: z.number().int().nonnegative(),
  /** One a layer that has slabs, in order. */
  layers: z.array(layerProfileSchema),
});
export type TaskProfile = z.infer<typeof taskProfileSchema>;

/** How the router of one model chose on texts of several tasks: what pruning, prefetching and advice go by. */
export const profileSchema = z.object({
  schema: z.literal('fleetgate-profile/1'),
  model: z.object({
    architecture: z.string(),
    /** Digest of the router's weights: equal for builds that differ in other tensors only. */
    router: z.string().regex(/^[0-9a-f]{64}$/),
    layers: z.number().int().positive(),
    slabsPerLayer: z.number().int().positive(),
    slabsPerToken: z.number().int().positive(),
  }),
  tasks: z.record(z.string(), taskProfileSchema),
});
export type SlabProfile = z.infer<typeof profileSchema>;

/** What a profile has to agree with. */
export interface ProfiledModel {
  readonly path: string;
  readonly architecture: string;
  /** See `routerDigest`. */
  readonly router: string;
  readonly layers: number;
  readonly slabsPerLayer: number;
}

/** Refuses the profile of another model, and one whose numbers do not cover all layers and slabs. `where` names it. */
export function checkProfile({ model, tasks }: SlabProfile, of: ProfiledModel, where: string, code: ErrorCode): void {
  const isOfModel =
    model.architecture === of.architecture &&
    model.router === of.router &&
    model.layers === of.layers &&
    model.slabsPerLayer === of.slabsPerLayer;
  if (!isOfModel) {
    throw new FleetError(
      code,
      `${where} is the profile of another model (${told(model)}), expected one of ${of.path} (${told(of)})`,
      { hint: 'make one with `fleetgate gguf profile`' },
    );
  }
  for (const [task, { layers: counts }] of Object.entries(tasks)) {
    const isWhole =
      counts.length === of.layers &&
      counts.every(({ frequency, tcess, reasoning }) =>
        [frequency, tcess, reasoning].every((values) => values.length === of.slabsPerLayer),
      );
    if (!isWhole) throw new FleetError(code, `${where}: task ${task} does not cover all layers and slabs`);
  }
}

function told({ architecture, layers, slabsPerLayer, router }: Omit<ProfiledModel, 'path'>): string {
  return `${architecture}, ${layers} layers of ${slabsPerLayer} slabs, router ${router.slice(0, 12)}`;
}

/**
 * The profile of a model of which only some slabs are left, whose router has the digest given. What was counted for the
 * others is left out: a profile of the pruned model itself would spread it over those that stay.
 */
export function prunedProfile({ schema, model, tasks }: SlabProfile, keep: KeepSets, router: string): SlabProfile {
  const taken = (values: readonly number[], layer: number): number[] =>
    (keep[layer] ?? []).map((slab) => values[slab] ?? 0);
  return {
    schema,
    model: { ...model, router, slabsPerLayer: keep[0]?.length ?? 0 },
    tasks: Object.fromEntries(
      Object.entries(tasks).map(([task, { layers, ...counts }]) => [
        task,
        {
          ...counts,
          layers: layers.map(({ frequency, tcess, reasoning }, layer) => ({
            frequency: taken(frequency, layer),
            tcess: taken(tcess, layer),
            reasoning: taken(reasoning, layer),
          })),
        },
      ]),
    ),
  };
}

/** Words whose tokens count as reasoning: steps, causes, conclusions, second thoughts. */
export const REASONING_WORDS: readonly string[] =
  '<think> </think> so therefore thus hence because since then if first second next finally let wait hmm but however = answer'.split(
    ' ',
  );

/** Counts what the router of each layer chooses over the tokens of one task. */
export class ProfileCount {
  readonly #slabs: number;
  readonly #layers: readonly { frequency: Float64Array; tcess: Float64Array; reasoning: Float64Array }[];
  #documents = 0;
  #tokens = 0;
  #reasoningTokens = 0;

  constructor(layers: number, slabsPerLayer: number) {
    this.#slabs = slabsPerLayer;
    const counts = (): Float64Array => new Float64Array(slabsPerLayer);
    this.#layers = Array.from({ length: layers }, () => ({
      frequency: counts(),
      tcess: counts(),
      reasoning: counts(),
    }));
  }

  /** `isReasoning` for every token of the document, in order. */
  document(isReasoning: readonly boolean[]): void {
    this.#documents++;
    this.#tokens += isReasoning.length;
    this.#reasoningTokens += isReasoning.filter(Boolean).length;
  }

  /** A layer's choice for the tokens of a document from `start` on. */
  routed(
    { layer, tokens, slabsPerToken, slabs, probabilities }: RoutedLayer,
    isReasoning: readonly boolean[],
    start: number,
  ): void {
    const counts = this.#layers[layer];
    if (counts === undefined) return;
    for (let t = 0; t < tokens; t++) {
      for (let i = 0; i < slabsPerToken; i++) {
        const slab = slabs[t * slabsPerToken + i] ?? 0;
        counts.frequency[slab] = (counts.frequency[slab] ?? 0) + 1;
        counts.tcess[slab] = (counts.tcess[slab] ?? 0) + (probabilities?.[t * this.#slabs + slab] ?? 0);
        if (isReasoning[start + t] === true) counts.reasoning[slab] = (counts.reasoning[slab] ?? 0) + 1;
      }
    }
  }

  get result(): TaskProfile {
    return {
      documents: this.#documents,
      tokens: this.#tokens,
      reasoningTokens: this.#reasoningTokens,
      layers: this.#layers.map(({ frequency, tcess, reasoning }) => ({
        frequency: [...frequency],
        tcess: [...tcess].map((value) => Number(value.toPrecision(9))),
        reasoning: [...reasoning],
      })),
    };
  }
}
