import type { Expert, Variant } from '@fleetgate/shared/catalogue/expert';

import { variantQuality } from '../../catalogue/variant-quality.js';
import type { GateScore } from '../../gating/gate.js';
import type { Workload } from '../../telemetry/cost.js';
import type { DispatchFacts, Exclusion } from '../candidates.js';
import { isAskedFor } from '../model-target.js';
import type { PlacedCopies } from './placed-copies.js';

/** What a request may expect of a variant, on whatever device. */
export interface Prospect {
  readonly expert: ExpertQuality;
  /** With all the active slabs that it is served with. */
  readonly quality: number;
  readonly bias: number | undefined;
  readonly workload: Workload;
  readonly isAsked: boolean;
  /** Why it may be chosen on no device. */
  readonly fault: Exclusion | undefined;
  /** Whether its expert has yet to prove itself. */
  readonly isOnTrial: boolean;
}

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

/** Of every variant that is placed, in the order of `variants`. */
export function prospectsOf(facts: DispatchFacts, { experts, variants }: PlacedCopies): readonly Prospect[] {
  const qualities = experts.map((id) => qualityOf(facts.catalogue.experts.get(id), facts.score));
  return variants.map(({ expertAt, variant }) => prospectOf(facts, variant, qualities[expertAt] ?? UNKNOWN));
}

function prospectOf(facts: DispatchFacts, variant: Variant, expert: ExpertQuality): Prospect {
  const { biasOf, onTrial, promptTokens, score, target } = facts;
  const isAsked = isAskedFor(target, variant.expertId, variant.id);
  const isAny = target.kind === 'any';
  return {
    expert,
    quality: variantQuality(expert.mean, variant, score?.classId),
    bias: isAsked ? biasOf?.(variant.expertId) : undefined,
    workload: { promptTokens, outputTokens: expectedTokens(facts, expert.outputTokens) },
    isAsked,
    fault: !isAsked ? 'not-asked-for' : isAny && !expert.known ? 'quality-unknown' : undefined,
    isOnTrial: isAny && onTrial?.has(variant.expertId) === true,
  };
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
