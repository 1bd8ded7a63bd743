import type { Expert } from '@fleetgate/shared/catalogue/expert';

import { variantQuality } from '../../catalogue/variant-quality.js';
import type { GateScore } from '../../gating/gate.js';
import type { DispatchFacts, Exclusion } from '../candidates.js';
import { isAskedFor } from '../model-target.js';
import type { PlacedCopies } from './placed-copies.js';

export interface ExpertQuality {
  readonly mean: number;
  readonly sd: number;
  readonly outputTokens: number;
  readonly known: boolean;
  readonly doubt?: number | undefined;
}

/** Assumed length of an answer where no gate predicts it, tokens. */
const UNKNOWN_OUTPUT_TOKENS = 128;
/** Spread of a quality that comes from an expert's card: the domains of a card differ by about this much. */
const CARD_QUALITY_SD = 0.15;

const UNKNOWN: ExpertQuality = { mean: 0, sd: 1, outputTokens: UNKNOWN_OUTPUT_TOKENS, known: false };

/** What a request may expect of every placed variant, on whatever device: columns in the order of `PlacedCopies.variants`. */
export class Prospects {
  /** Of the variant, with all the active slabs that it is served with. */
  readonly quality: Float64Array;
  /** Towards the plan's shares; 0 where there is none. */
  readonly bias: Float64Array;
  /** NaN for what is not asked: it is given no cost. */
  readonly outputTokens: Float64Array;
  /** Why it may be chosen on no device. */
  readonly fault: (Exclusion | undefined)[] = [];
  /** Whether its expert has yet to prove itself. */
  readonly isOnTrial: boolean[] = [];
  /** Whether devices may serve it with fewer slabs, and it is known what that does. */
  readonly hasSlabLosses: boolean[] = [];
  readonly #experts: readonly ExpertQuality[];
  readonly #expertAt: Int32Array;

  constructor(facts: DispatchFacts, { experts, variants }: PlacedCopies) {
    const { biasOf, catalogue, onTrial, score, target } = facts;
    this.#experts = experts.map((id) => qualityOf(catalogue.experts.get(id), score));
    this.#expertAt = new Int32Array(variants.length);
    this.quality = new Float64Array(variants.length);
    this.bias = new Float64Array(variants.length);
    this.outputTokens = new Float64Array(variants.length);
    const isAny = target.kind === 'any';
    for (const { expertAt, variant, variantAt } of variants) {
      const { expertId } = variant;
      const isAsked = isAskedFor(target, expertId, variant.id);
      this.#expertAt[variantAt] = expertAt;
      const { known, mean, outputTokens } = this.expert(variantAt);
      this.quality[variantAt] = variantQuality(mean, variant, score?.classId);
      this.bias[variantAt] = isAsked ? (biasOf?.(expertId) ?? 0) : 0;
      this.outputTokens[variantAt] = isAsked ? expectedTokens(facts, outputTokens) : NaN;
      this.fault[variantAt] = !isAsked ? 'not-asked-for' : isAny && !known ? 'quality-unknown' : undefined;
      this.isOnTrial[variantAt] = isAny && onTrial?.has(expertId) === true;
      this.hasSlabLosses[variantAt] = variant.made?.lossAtSlabs !== undefined;
    }
  }

  expert(variantAt: number): ExpertQuality {
    return this.#experts[this.#expertAt[variantAt] ?? 0] ?? UNKNOWN;
  }
}

/** What the gate says of an expert or, where it does not know it, what its card says. */
export function qualityOf(expert: Expert | undefined, score: GateScore | undefined): ExpertQuality {
  const predicted = expert === undefined ? undefined : score?.experts.get(expert.id);
  if (predicted !== undefined) {
    const { quality: mean, sd, outputTokens, doubt } = predicted;
    return { mean, sd, outputTokens, known: true, doubt };
  }
  const measured = Object.values(expert?.bitsPerByte ?? {});
  if (measured.length === 0) return UNKNOWN;
  const mean = measured.reduce((total, bits) => total + 2 ** -bits, 0) / measured.length;
  return { mean, sd: CARD_QUALITY_SD, outputTokens: UNKNOWN_OUTPUT_TOKENS, known: true };
}

/** What the gate expects, as far as the client allows, corrected by what such answers turned out to be. */
function expectedTokens({ maxOutputTokens, answerFactor }: DispatchFacts, outputTokens: number): number {
  return Math.min(maxOutputTokens, Math.max(1, Math.min(maxOutputTokens, outputTokens) * answerFactor));
}
