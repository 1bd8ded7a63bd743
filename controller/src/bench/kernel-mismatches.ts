/** The subset kernel against complete enumeration. */
import { type Random, SeededRandom } from '@fleetgate/shared/random';

import { exhaustiveValue } from '../optimiser/exhaustive-subsets.js';
import { gateSubsetProblem } from '../optimiser/gate-subset.js';
import { solveSubset } from '../optimiser/subset-kernel.js';
import { subsetForm } from '../optimiser/subset-problem.js';
import { type GateShape, randomGate } from './random-gates.js';

/** Relative difference of objectives that counts as one. */
const TOLERANCE = 1e-9;
const LARGEST = 16;
const STRUCTURES = ['spread', 'clusters', 'generalists', 'coarse'] as const;

/**
 * On how many of `count` random gates of up to 16 experts the kernel's answer differs from that of trying every subset:
 * another objective, another feasibility, or no proof. Same seed, same gates.
 */
export function kernelMismatches(count: number, seed: number): number {
  const random = new SeededRandom(seed);
  let mismatches = 0;
  for (let each = 0; each < count; each++) {
    const problem = gateSubsetProblem(randomGate(random, randomShape(random)));
    const truth = exhaustiveValue(subsetForm(problem));
    const { status, objective, bound } = solveSubset(problem, { expired: () => false });
    const isRight =
      truth === undefined
        ? status === 'infeasible'
        : status === 'optimal' && isClose(objective, truth) && isClose(bound, truth);
    if (!isRight) mismatches++;
  }
  return mismatches;
}

const isClose = (a: number | null, b: number): boolean =>
  a !== null && Math.abs(a - b) <= TOLERANCE * Math.max(1, Math.abs(b));

function randomShape(random: Random): GateShape {
  const below = (limit: number) => Math.floor(random.uniform() * limit);
  const experts = 1 + below(LARGEST);
  return {
    experts,
    classes: 1 + below(8),
    structure: STRUCTURES[below(STRUCTURES.length)] ?? 'spread',
    maxExperts: random.uniform() < 0.3 ? null : below(experts + 1),
    budgetShare: 0.1 + 0.7 * random.uniform(),
    minReplicas: Math.max(0, below(6) - 3),
  };
}
