import { describe, expect, it } from 'vitest';

import { SeededRandom } from '@fleetgate/shared/random';

import { FrontSearch, type SearchMethod, type SearchProblem } from './front-search.js';
import { allGenomes, type Genome, genomeCount, genomeKey } from './genome.js';
import { hypervolume, paretoFront } from './pareto.js';

/** Shaped like the bundled mixture: keep counts cost bytes only, active slabs joules, bits both; losses add up but for one pair. */
const SHAPE = [6, 2, 4, 4, 4, 3];
const KEEP = [16, 12, 8, 6, 4, 2];
const BITS = [8.5, 5.5, 4.5, 2.5];
const BIT_LOSS = [0, 0.004, 0.02, 0.25];
const KEEP_LOSS = [0, 0.002, 0.2, 0.35, 0.5, 0.8];

function lossOf(genome: Genome): number {
  const [keep = 0, active = 0, ...groups] = genome;
  const bits = groups.reduce((sum, choice, i) => sum + (BIT_LOSS[choice] ?? 0) * (1 + 0.3 * i), 0);
  return (KEEP_LOSS[keep] ?? 0) + 0.09 * active * (keep > 3 ? 0.4 : 1) + bits * (1 + 0.2 * active);
}

function costsOf([keep = 0, active = 0, ...groups]: Genome): readonly number[] {
  const width = groups.reduce((sum, choice) => sum + (BITS[choice] ?? 0), 0);
  return [(KEEP[keep] ?? 0) * width, (2 - active) * width + 10];
}

const problem: SearchProblem = {
  shape: SHAPE,
  known: (genome) => ({ costs: costsOf(genome), violation: Math.max(0, (costsOf(genome)[0] ?? 0) - 500) }),
  worstLoss: 0.5,
  ideal: [0, 0, 0],
  reference: [0.5, 550, 80],
};

function searched(method: SearchMethod, seed: number, measurements: number): FrontSearch {
  const search = new FrontSearch(problem, new SeededRandom(seed), method);
  for (let i = 0; i < measurements; i++) {
    const genome = search.next();
    if (genome === undefined) break;
    search.tell(genome, lossOf(genome));
  }
  return search;
}

function exhaustive(): { readonly front: ReadonlySet<string>; readonly volume: number } {
  const all = [...allGenomes(SHAPE)].map((genome) => {
    const { costs, violation } = problem.known(genome);
    const loss = lossOf(genome);
    return { genome, objectives: [loss, ...costs], violation: violation + Math.max(0, loss - problem.worstLoss) };
  });
  const front = paretoFront(all);
  const scaled = front.map(({ objectives }) => objectives.map((value, i) => value / (problem.reference[i] ?? 1)));
  return { front: new Set(front.map(({ genome }) => genomeKey(genome))), volume: hypervolume(scaled, [1, 1, 1]) };
}

describe('FrontSearch', () => {
  it('dominates nearly all that exhaustive enumeration does, with a twentieth of its measurements; chance does not', () => {
    const truth = exhaustive();
    const measurements = Math.floor(genomeCount(SHAPE) / 20);
    for (const seed of [1, 2]) {
      const [assisted, plain, random] = (['assisted', 'plain', 'random'] as const).map(
        (method) => searched(method, seed, measurements).volume / truth.volume,
      );
      expect(assisted).toBeGreaterThan(0.995);
      expect(assisted).toBeGreaterThan(plain ?? 1);
      expect(assisted).toBeGreaterThan(random ?? 1);
    }
  });

  it('asks the same again when it is told the same', () => {
    for (const method of ['assisted', 'plain', 'random'] as const) {
      const asked = (): readonly string[] => searched(method, 7, 30).measured.map(({ genome }) => genomeKey(genome));
      expect(asked()).toEqual(asked());
      expect(new Set(asked()).size).toBe(30);
    }
  });

  it('never measures what breaks a known constraint, and ends when nothing is left', () => {
    const small: SearchProblem = {
      ...problem,
      shape: [2, 2, 3],
      known: (genome) => ({ costs: [genome[0] ?? 0, 2], violation: genome[2] === 2 ? 1 : 0 }),
    };
    for (const method of ['assisted', 'plain', 'random'] as const) {
      const search = new FrontSearch(small, new SeededRandom(1), method);
      for (let genome = search.next(); genome !== undefined; genome = search.next())
        search.tell(genome, genome[1] ?? 0);
      const last = search.measured.map(({ genome }) => genome[2] ?? -1);
      expect(last.toSorted((a, b) => a - b)).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
    }
  });

  it('does not offer what loses more than is of use', () => {
    const search = new FrontSearch(problem, new SeededRandom(1));
    search.tell([0, 0, 0, 0, 0, 0], 0.6);
    expect(search.front).toEqual([]);
    search.tell([1, 0, 0, 0, 0, 0], 0.1);
    expect(search.front.map(({ genome }) => genomeKey(genome))).toEqual(['1.0.0.0.0.0']);
  });
});
