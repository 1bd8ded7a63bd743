/** Our choice of experts beside the baselines' on one problem. Pure. */
import { SeededRandom } from '@fleetgate/shared/random';

import { type Baseline, baselineChoice, BASELINES } from './baselines.js';
import type { GateProblem } from './gate-problem.js';
import { bestSubset } from './subset.js';

/** Draws of the random baseline that its mean is taken over. */
const DRAWS = 32;

export interface BaselineComparison {
  /** Null when no subset is allowed. */
  readonly ours: number | null;
  /** Our subset; rising. */
  readonly subset: readonly number[];
  /** Whether ours is proven to be the best. */
  readonly isProven: boolean;
  /** Null where the baseline's choice is not allowed, or cannot be had; `random` is the mean of its allowed draws. */
  readonly baselines: Readonly<Record<Baseline, number | null>>;
}

/** Same problem and seed, same comparison. `expired` ends our search early; the baselines are polynomial but one. */
export function compareWithBaselines(problem: GateProblem, seed: number, expired: () => boolean): BaselineComparison {
  const result = bestSubset(problem, { expired, seed });
  const random = new SeededRandom(seed);
  const objectiveOf = (baseline: Baseline): number | null => {
    const draws = Array.from({ length: baseline === 'random' ? DRAWS : 1 }, () =>
      baselineChoice(baseline, problem, random),
    ).filter((choice) => choice !== undefined);
    if (draws.length === 0) return null;
    return draws.reduce((sum, { objective }) => sum + objective, 0) / draws.length;
  };
  const [single, drawn, all, greedy, exhaustive] = BASELINES.map(objectiveOf);
  return {
    ours: result.objective,
    subset: result.subset ?? [],
    isProven: result.status === 'optimal' || result.status === 'infeasible',
    baselines: {
      single: single ?? null,
      random: drawn ?? null,
      all: all ?? null,
      greedy: greedy ?? null,
      exhaustive: exhaustive ?? null,
    },
  };
}
