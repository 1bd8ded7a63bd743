import { setImmediate as nextTurn } from 'node:timers/promises';

import { readOutcomes } from '../gating/disk-outcomes.js';
import type { Outcome } from '../gating/outcomes.js';
import type { GateProblem } from '../optimiser/gate-problem.js';

import type { Progress } from './bench-report.js';
import { type MaskFigures, maskFigures } from './mask-figures.js';
import { comparison, type NamedComparison, type TradeOffFigures, tradeOffFigures } from './trade-off-figures.js';

/** A file of outcomes to measure on. */
export interface OutcomeSource {
  readonly name: string;
  readonly path: string;
  /** Size of the weights of its models, where their names do not tell it (`-7b`). */
  readonly bytes?: Readonly<Record<string, number>>;
}

export interface Moe2Figures {
  /** Ours and the baselines on each of the instances given. */
  readonly instances: readonly NamedComparison[];
  readonly sets: readonly {
    readonly name: string;
    readonly masks: MaskFigures;
    /** Undefined where the sizes of fewer than three models are known. */
    readonly tradeOff: TradeOffFigures | undefined;
  }[];
}

/**
 * MoE^2's claims on each set of outcomes: what masking costs, how often an expert that is added hurts, and its baselines
 * beside our optimum over budgets of energy and delay, and on `instances`. Up to a minute a set; same files and seed, same figures.
 *
 * Throws `outcomes.invalid` for a file that cannot be read.
 */
export async function moe2Figures(
  sources: readonly OutcomeSource[],
  instances: readonly GateProblem[],
  seed: number,
  progress: Progress,
  signal: AbortSignal,
): Promise<Moe2Figures> {
  const sets: Moe2Figures['sets'][number][] = [];
  for (const { name, path, bytes } of sources) {
    progress(`MoE^2: ${name}`);
    const outcomes: Outcome[] = [];
    for await (const outcome of readOutcomes(path, signal)) outcomes.push(outcome);
    const masks = await maskFigures(outcomes, seed, async () => {
      await nextTurn();
      signal.throwIfAborted();
    });
    sets.push({ name, masks, tradeOff: tradeOffFigures(name, outcomes, bytes ?? {}, seed, Date.now) });
  }
  return { instances: instances.map((problem) => comparison(problem, seed, Date.now)), sets };
}
