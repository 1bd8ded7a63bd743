import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { Serving } from '@fleetgate/shared/catalogue/serving';
import { slabMaskOf, slabsKept } from '@fleetgate/shared/catalogue/slab-mask';

import type { SlabDemand } from './slab-demand.js';

/** Fewer tokens say too little of what is asked. */
const LEAST_TOKENS = 4096;
/** Shares of the choices that the slabs of a mask had; a mask of a smaller one is tried before one of a larger one. */
export const COVERED_BY_MASK = [0.9, 0.97, 0.99] as const;
/** Of the choices, the share that a budget is to find in memory. */
const COVERED_BY_BUDGET = 0.95;
/** Less of a difference is not worth a rollout. */
const LEAST_CHANGE = 0.1;

/** A way of serving a mixture that fits what devices of one class are asked. */
export interface ResidencyProposal {
  /** Stable for as long as it is about the same variant, class and kind. */
  readonly id: string;
  readonly demand: SlabDemand;
  /** `prune`: with some slabs only, all in memory; another model. `offload`: another share in memory; the same answers. */
  readonly kind: 'prune' | 'offload';
  readonly serving: Serving;
  /** Slabs of each layer that are kept, or have room. */
  readonly slabs: number;
  /** Share of the choices that fell on them. */
  readonly covered: number;
  /** Less memory than now, bytes; below 0: more. */
  readonly savedBytes: number;
}

/**
 * What the demand of one class proposes for one variant: of `prune`, one a share of `COVERED_BY_MASK`, smallest first, so
 * that the first whose loss is tolerated can be taken. Nothing for who keeps all slabs in memory: nobody looks at its choices.
 */
export function proposeResidency(variant: Variant, demand: SlabDemand): readonly ResidencyProposal[] {
  const { facts, serving } = variant;
  const slabsBytes = facts.slabsBytes ?? 0;
  const budget = serving?.slabBudgetBytes;
  const isOfModel = demand.shares.length > 0 && demand.shares.every(({ length }) => length === facts.slabsPerLayer);
  if (budget === undefined || slabsBytes === 0 || demand.tokens < LEAST_TOKENS || !isOfModel) return [];
  const bytesOf = (slabs: number): number => Math.ceil((slabs / facts.slabsPerLayer) * slabsBytes);
  const proposal = (kind: ResidencyProposal['kind'], slabs: number, how: Serving): ResidencyProposal => ({
    id: `${demand.variantId}.${demand.board}.${kind}${slabs}`,
    ...{ demand, kind, slabs, covered: coverage(demand, slabs) },
    serving: { ...how, slabBudgetBytes: bytesOf(slabs) },
    savedBytes: budget - bytesOf(slabs),
  });
  const { slabMask: _, taskMask, ...kept } = serving ?? {};
  const masks =
    taskMask !== undefined || serving?.slabMask !== undefined
      ? []
      : [...new Set(COVERED_BY_MASK.map((share) => slabsCovering(demand, share, facts.slabsPerToken)))]
          .filter((slabs) => slabs <= (1 - LEAST_CHANGE) * facts.slabsPerLayer)
          .map((slabs) =>
            proposal('prune', slabs, { ...kept, slabMask: slabMaskOf(keepSets(demand, slabs), facts.slabsPerLayer) }),
          );
  const resident = slabsCovering(demand, COVERED_BY_BUDGET, facts.slabsPerToken);
  const change = Math.abs(bytesOf(resident) - budget) / budget;
  return [...masks, ...(change < LEAST_CHANGE ? [] : [proposal('offload', resident, serving ?? {})])];
}

/** Covered by so much less, a proposal is about a demand that has gone. */
const FORGIVEN = 0.03;

/** Whether a proposal still fits what devices of its class are asked: demand never stands still, and trials take a while. */
export function stillFits({ serving, slabs, covered }: ResidencyProposal, now: SlabDemand): boolean {
  const kept = serving.slabMask === undefined ? undefined : slabsKept(serving.slabMask);
  const covers =
    kept === undefined
      ? coverage(now, slabs)
      : Math.min(
          1,
          ...now.shares.map((layer, l) => (kept[l] ?? []).reduce((sum, slab) => sum + (layer[slab] ?? 0), 0)),
        );
  return covers >= covered - FORGIVEN;
}

/** Fewest slabs of each layer on which that share of its choices fell, in every layer. */
function slabsCovering({ shares }: SlabDemand, share: number, atLeast: number): number {
  const needed = shares.map((layer) => {
    const sorted = layer.toSorted((a, b) => b - a);
    let sum = 0;
    // Shares of bytes add up to 1 but for rounding.
    const slabs = sorted.findIndex((value) => (sum += value) >= share - 1e-9);
    return slabs < 0 ? layer.length : slabs + 1;
  });
  return Math.max(atLeast, ...needed);
}

/** In the layer where it is least. */
function coverage({ shares }: SlabDemand, slabs: number): number {
  const of = shares.map((layer) =>
    layer
      .toSorted((a, b) => b - a)
      .slice(0, slabs)
      .reduce((sum, value) => sum + value, 0),
  );
  return Math.min(1, ...of);
}

/** The slabs of each layer that were chosen most, ascending; ties go to the lower number. */
function keepSets({ shares }: SlabDemand, slabs: number): readonly (readonly number[])[] {
  return shares.map((layer) =>
    [...layer.keys()]
      .toSorted((a, b) => (layer[b] ?? 0) - (layer[a] ?? 0) || a - b)
      .slice(0, slabs)
      .toSorted((a, b) => a - b),
  );
}
