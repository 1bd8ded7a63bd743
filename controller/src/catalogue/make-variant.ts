import type { Made, Variant } from '@fleetgate/shared/catalogue/expert';
import {
  adapterBytesOf,
  MOST_ADAPTERS,
  type ServedAdapter,
  type Serving,
  servedMemory,
} from '@fleetgate/shared/catalogue/serving';
import { type SlabMask, slabsKept } from '@fleetgate/shared/catalogue/slab-mask';
import { FleetError } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';

import type { InspectedFile } from './expert-additions.js';

/** A variant to be made of another one: of its own file served in another way, of another file, or both. */
export interface VariantPlan {
  readonly id: VariantId;
  readonly how: string;
  /** Absent: the file of `from`. */
  readonly file?: Pick<InspectedFile, 'sha256' | 'sizeBytes' | 'facts'> | undefined;
  readonly serving?: Omit<Serving, 'adapters'> | undefined;
  /** Laid over the file's weights, after those of `from` where it is the file of `from`. */
  readonly adapters?: readonly ServedAdapter[] | undefined;
  readonly loss: Made['loss'];
  readonly lossAtSlabs?: Made['lossAtSlabs'];
  readonly decodeJPerToken?: number | undefined;
}

/**
 * The variant that a plan makes of `from`. Throws `request.invalid` where it could not be served, would answer as another
 * model does, or nobody knows how good it is.
 */
export function makeVariant(from: Variant, plan: VariantPlan): Variant {
  const { sha256, sizeBytes, facts } = plan.file ?? from;
  checkSameModel(from, facts);
  if (plan.serving !== undefined) checkServing(plan.serving, facts);
  const serving = withAdapters(explicitServing(plan.serving, facts), from, plan);
  checkLossAtSlabs(serving, plan.lossAtSlabs);
  const isOther =
    plan.file !== undefined ||
    plan.adapters !== undefined ||
    serving?.taskMask !== undefined ||
    serving?.slabMask !== undefined ||
    (serving?.slabsPerToken ?? Infinity) < facts.slabsPerToken;
  if (isOther && Object.keys(plan.loss).length === 0) {
    throw invalid('loss: it says nothing, expected the bits per byte that the variant costs, by domain', {
      hint: '`fleetgate gguf mask-eval` and `fleetgate gguf variants` measure it',
    });
  }
  const contextTokens = Math.min(facts.contextTokens, from.facts.contextTokens);
  const whole = plan.file === undefined ? wholeMemory(from) : facts.memoryBytes;
  const memoryBytes = Math.ceil(servedMemory(whole, facts.slabsBytes ?? 0, serving) + adapterBytesOf(serving));
  return {
    id: plan.id,
    expertId: from.expertId,
    sha256,
    sizeBytes,
    quantisation: facts.quantisation,
    facts: { ...facts, contextTokens, memoryBytes },
    ...(serving === undefined ? {} : { serving }),
    made: {
      from: from.id,
      how: plan.how,
      loss: { ...plan.loss },
      ...(plan.lossAtSlabs === undefined ? {} : { lossAtSlabs: plan.lossAtSlabs }),
      ...(plan.decodeJPerToken === undefined ? {} : { decodeJPerToken: plan.decodeJPerToken }),
    },
  };
}

/** Shares of a large mixture's slabs that are kept in memory by the variants it is offered with. */
const OFFERED_SHARES = [0.5, 0.35, 0.2];
/** Mixtures with fewer bytes of slabs fit wherever anything does. */
const LEAST_OFFLOADED_BYTES = 256 * 1024 * 1024;

/** Ways to serve a large mixture of experts on devices that cannot hold all of it: its answers are the same, to the bit. */
export function offloadedVariants(whole: Variant): readonly VariantPlan[] {
  const slabsBytes = whole.facts.slabsBytes ?? 0;
  if (slabsBytes < LEAST_OFFLOADED_BYTES) return [];
  return OFFERED_SHARES.map((share) => Math.floor(share * slabsBytes))
    .filter((slabBudgetBytes) => slabBudgetBytes >= leastSlabBudget(whole.facts))
    .map((slabBudgetBytes, i) => {
      const percent = Math.round(100 * (OFFERED_SHARES[i] ?? 0));
      const id = `${whole.id.slice(0, 56)}-r${percent}` as VariantId;
      return { id, how: `${percent} % of the slabs in memory`, serving: { slabBudgetBytes }, loss: {} };
    });
}

/** Fewer bytes of slabs than one layer needs for one token cannot be computed with. */
export function leastSlabBudget({ slabsBytes, slabsPerLayer, slabsPerToken, layers }: Variant['facts']): number {
  return Math.ceil(((slabsBytes ?? 0) / Math.max(1, slabsPerLayer * layers)) * slabsPerToken);
}

/** Adapters of `from` stay over its file: an adapter changes what a model says as a file of its own would. */
function withAdapters(serving: Serving | undefined, from: Variant, plan: VariantPlan): Serving | undefined {
  const kept = plan.file === undefined ? (from.serving?.adapters ?? []) : [];
  const adapters = [...kept, ...(plan.adapters ?? [])];
  if (adapters.length === 0) return serving;
  if (adapters.length > MOST_ADAPTERS) {
    throw invalid(`adapter: expected at most ${MOST_ADAPTERS} over one file, got ${adapters.length}`);
  }
  return { ...serving, adapters };
}

/** A device that may go below a number of slabs has to be told the number. */
function explicitServing(serving: Serving | undefined, facts: Variant['facts']): Serving | undefined {
  if (serving?.leastSlabsPerToken === undefined) return serving;
  return { ...serving, slabsPerToken: serving.slabsPerToken ?? facts.slabsPerToken };
}

function checkLossAtSlabs(serving: Serving | undefined, lossAtSlabs: Made['lossAtSlabs']): void {
  const { slabsPerToken: most = 1, leastSlabsPerToken: least = most } = serving ?? {};
  for (let slabs = least; slabs < most; slabs++) {
    if (Object.keys(lossAtSlabs?.[slabs] ?? {}).length > 0) continue;
    throw invalid(
      `lossAtSlabs: nothing for ${slabs} slabs, expected the loss at every number from ${least} to ${most - 1}`,
      {
        hint: 'a strained device may answer with so few: `fleetgate gguf variants` measures it',
      },
    );
  }
}

function wholeMemory({ facts, serving }: Variant): number {
  const slabsBytes = facts.slabsBytes ?? 0;
  return facts.memoryBytes - adapterBytesOf(serving) + slabsBytes - servedMemory(slabsBytes, slabsBytes, serving);
}

function checkSameModel(from: Variant, facts: Variant['facts']): void {
  if (facts.architecture !== from.facts.architecture) {
    throw invalid(
      `source: the file is a ${facts.architecture}, expected a ${from.facts.architecture} as ${from.id} is`,
    );
  }
  if (facts.tokenizer !== from.facts.tokenizer) {
    throw invalid(`source: the file has another tokenizer than ${from.id}`, {
      hint: 'add it as an expert of its own with `fleetgate experts add`',
    });
  }
}

function checkServing(serving: Serving, facts: Variant['facts']): void {
  const { slabBudgetBytes, slabsPerToken, leastSlabsPerToken, taskMask, slabMask } = serving;
  if (facts.slabsPerLayer === 0) {
    throw invalid('serving: the model is dense, expected a mixture of experts', {
      hint: 'only slabs of a mixture can be offloaded or left out',
    });
  }
  const most = slabsPerToken ?? facts.slabsPerToken;
  if (most > facts.slabsPerToken) {
    throw invalid(`serving.slabsPerToken: expected 1 to ${facts.slabsPerToken}, got ${most}`);
  }
  if (leastSlabsPerToken !== undefined && leastSlabsPerToken > most) {
    throw invalid(`serving.leastSlabsPerToken: expected 1 to ${most}, got ${leastSlabsPerToken}`);
  }
  if (taskMask !== undefined && (taskMask.keep < facts.slabsPerToken || taskMask.keep > facts.slabsPerLayer)) {
    throw invalid(
      `serving.taskMask.keep: expected ${facts.slabsPerToken} to ${facts.slabsPerLayer}, got ${taskMask.keep}`,
    );
  }
  if (slabMask !== undefined) checkMask(slabMask, facts, taskMask !== undefined);
  const least = leastSlabBudget(facts);
  if (slabBudgetBytes !== undefined && slabBudgetBytes < least) {
    throw invalid(
      `serving.slabBudgetBytes: expected ${least} or more (a token's slabs of one layer), got ${slabBudgetBytes}`,
    );
  }
}

function checkMask(mask: SlabMask, facts: Variant['facts'], isByTask: boolean): void {
  if (isByTask) throw invalid('serving: expected taskMask or slabMask, got both');
  for (const [at, kept] of slabsKept(mask).entries()) {
    if (kept.length >= facts.slabsPerToken && (kept.at(-1) ?? 0) < facts.slabsPerLayer) continue;
    throw invalid(
      `serving.slabMask[${at}]: expected ${facts.slabsPerToken} or more of ${facts.slabsPerLayer} slabs, got ${kept.length} up to number ${kept.at(-1) ?? 'none'}`,
    );
  }
}

function invalid(message: string, options: { readonly hint?: string } = {}): FleetError {
  return new FleetError('request.invalid', message, options);
}
