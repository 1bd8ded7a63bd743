import { type MeanSequence, meanBounds, NO_VALUES, withValue } from '../rollout/mean-sequence.js';

/** What a mask costs on labelled prompts, as far as it was measured. */
export interface MaskTrial {
  /** Quality lost, 0..1, prompt by prompt. */
  readonly lost: MeanSequence;
  /** Bits per byte lost, by domain. */
  readonly bitsByDomain: Readonly<Record<string, MeanSequence>>;
  readonly asked: readonly string[];
}

export const NO_TRIAL: MaskTrial = { lost: NO_VALUES, bitsByDomain: {}, asked: [] };

/** Of quality: what may be lost. */
export const TOLERATED_LOSS = 0.02;
const ALPHA = 0.05;
/** Then what was not decided is not tolerated: a rollout would not show it either. */
const MOST_PROMPTS = 160;

/** Of the reference answer of one prompt, bits per byte with all slabs and with those of the mask. */
export interface MaskScore {
  readonly prompt: string;
  readonly domain: string;
  readonly whole: number;
  readonly masked: number;
}

export function withScore(trial: MaskTrial, { prompt, domain, whole, masked }: MaskScore): MaskTrial {
  return {
    lost: withValue(trial.lost, 2 ** -whole - 2 ** -masked),
    bitsByDomain: {
      ...trial.bitsByDomain,
      [domain]: withValue(trial.bitsByDomain[domain] ?? NO_VALUES, masked - whole),
    },
    asked: [...trial.asked, prompt],
  };
}

/** Whether the mask may be rolled out, by bounds that hold whenever one looks. */
export function verdictOf({ lost }: MaskTrial): 'tolerated' | 'too-much' | 'undecided' {
  const { lower, upper } = meanBounds(lost, ALPHA);
  if (upper <= TOLERATED_LOSS) return 'tolerated';
  return lower > TOLERATED_LOSS || lost.n >= MOST_PROMPTS ? 'too-much' : 'undecided';
}

/** What the variant's card is to say: a gain by chance is none. */
export function lossOf({ bitsByDomain }: MaskTrial): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(bitsByDomain).map(([domain, { mean }]) => [domain, Math.max(0, mean)]));
}
