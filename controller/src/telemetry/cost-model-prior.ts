import type { Variant } from '@fleetgate/shared/catalogue/expert';
import { modelledDecodeTime, powerAboveIdle } from '@fleetgate/shared/catalogue/modelled-decode';

import { guess, type LogFigure } from './cost-model-figure.js';

/** What is known of one (device, variant): time per prompt token and per output token, power above idle during each. */
export interface CostFigures {
  readonly prefillMs: LogFigure;
  readonly decodeMs: LogFigure;
  readonly prefillW: LogFigure;
  readonly decodeW: LogFigure;
  /** Per job: messages, scheduling, tokenising. */
  readonly overheadMs: LogFigure;
}

/** Unmeasured predictions are off by a factor of two as often as not. */
const PREDICTED_SD = 0.9;
/** Full load of a board is known, how much of it inference takes less so. */
const POWER_SD = 0.4;
/** With other variants of the device measured, their common error is known. */
const CORRECTED_SD = 0.45;
/** Prefill shares each read of the weights among the tokens of a batch; edge boards gain about this factor. */
const PREFILL_SPEED_UP = 6;
const OVERHEAD_MS = 10;
/** Share of a mixture-of-experts file that is slabs where its facts do not say; the rest is read for every token. */
const SLAB_SHARE = 0.75;
/** A device's boards are never so wrong that the correction may exceed this factor. */
const MOST_CORRECTION = Math.log(100);

/** Storage of a device that has not said how fast it reads: an SD card, bytes per second. */
const UNKNOWN_READ_RATE = 90e6;

/**
 * Costs from file size, board bandwidth (decoding reads every active weight once per token) and power above idle.
 *
 * `bandwidth` and `readRate` in bytes per second. Of a variant with a budget of slabs, those that are not in memory are
 * read for every token; with a share r of them in memory a slab is taken to be there with probability 1 - (1 - r)^2,
 * between routing without any locality (r) and what traces of trained mixtures show.
 */
export function predictedFigures(
  variant: Variant,
  bandwidth: number,
  power: { readonly idleW: number; readonly loadW: number },
  readRate = UNKNOWN_READ_RATE,
): CostFigures {
  const { facts } = variant;
  const { slabs, others, missed } = bytesPerToken(variant);
  const decodeMs = modelledDecodeTime(slabs + others, facts.layers, bandwidth) + (1000 * missed) / readRate;
  const prefillMs = decodeMs / PREFILL_SPEED_UP;
  const aboveIdleW = powerAboveIdle(power);
  return {
    prefillMs: guess(prefillMs, PREDICTED_SD),
    decodeMs: guess(decodeMs, PREDICTED_SD),
    prefillW: guess(aboveIdleW, POWER_SD),
    decodeW: guess(aboveIdleW, POWER_SD),
    overheadMs: guess(OVERHEAD_MS, PREDICTED_SD),
  };
}

/** Bytes read for a token: of slabs and of other weights from memory, and of slabs from storage before that. */
function bytesPerToken({ facts, serving }: Variant): {
  readonly slabs: number;
  readonly others: number;
  readonly missed: number;
} {
  if (facts.slabsPerLayer === 0) return { slabs: 0, others: facts.fileBytes, missed: 0 };
  const slabsBytes = facts.slabsBytes ?? SLAB_SHARE * facts.fileBytes;
  const slabs = (slabsBytes * (serving?.slabsPerToken ?? facts.slabsPerToken)) / facts.slabsPerLayer;
  const resident = Math.min(1, (serving?.slabBudgetBytes ?? slabsBytes) / Math.max(1, slabsBytes));
  return { slabs, others: facts.fileBytes - slabsBytes, missed: slabs * (1 - resident) ** 2 };
}

/** A prediction corrected by the mean factor between what was seen and what was predicted for other variants. */
export function scaledBy(
  plain: CostFigures,
  others: readonly { readonly predicted: CostFigures; readonly seen: CostFigures }[],
): CostFigures {
  if (others.length === 0) return plain;
  const corrected = (figure: LogFigure, of: (figures: CostFigures) => LogFigure): LogFigure => {
    const errors = others.map(({ predicted, seen }) => of(seen).mean - of(predicted).mean);
    const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
    const bounded = Math.min(MOST_CORRECTION, Math.max(-MOST_CORRECTION, mean));
    return { mean: figure.mean + bounded, variance: Math.min(figure.variance, CORRECTED_SD ** 2), weight: 0 };
  };
  return {
    prefillMs: corrected(plain.prefillMs, (figures) => figures.prefillMs),
    decodeMs: corrected(plain.decodeMs, (figures) => figures.decodeMs),
    prefillW: corrected(plain.prefillW, (figures) => figures.prefillW),
    decodeW: corrected(plain.decodeW, (figures) => figures.decodeW),
    overheadMs: corrected(plain.overheadMs, (figures) => figures.overheadMs),
  };
}
