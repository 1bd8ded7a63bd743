import type { Random } from '@fleetgate/shared/random';

import { crossed, type Genome, genomeKey, type GenomeShape, mutated, randomGenome } from './genome.js';
import { crowdingDistances, frontsOf, type Scored } from './pareto.js';

export interface Individual extends Scored {
  readonly genome: Genome;
}

const CROSSOVER_RATE = 0.9;

/** The `size` best of `all`: whole fronts by rank, of the one that does not fit the loneliest (NSGA-II's survival). */
export function survivors<T extends Scored>(all: readonly T[], size: number): readonly T[] {
  const kept: T[] = [];
  for (const front of frontsOf(all)) {
    if (kept.length + front.length <= size) {
      kept.push(...front);
      continue;
    }
    kept.push(...byLoneliness(front).slice(0, size - kept.length));
    break;
  }
  return kept;
}

/** One child of two parents, each the better (rank, then crowding: `ranked` is in that order) of two drawn. */
export function offspring(ranked: readonly Individual[], shape: GenomeShape, random: Random): Genome {
  const parent = (): Genome => {
    const drawn = [random.uniform(), random.uniform()].map((u) => Math.floor(u * ranked.length));
    return ranked[Math.min(...drawn)]?.genome ?? randomGenome(shape, random);
  };
  const [a, b] = [parent(), parent()];
  return mutated(random.uniform() < CROSSOVER_RATE ? crossed(a, b, random) : a, shape, random);
}

/** Best first: by front, and in a front the loneliest first. */
export function byRank<T extends Scored>(all: readonly T[]): readonly T[] {
  return frontsOf(all).flatMap((front) => byLoneliness(front));
}

/**
 * NSGA-II (Deb et al. 2002) on a function that costs nothing: the last population, best first, no genome twice.
 * `start` are genomes that the first population holds.
 */
export function nsga2(
  shape: GenomeShape,
  score: (genome: Genome) => Scored,
  start: readonly Genome[],
  size: { readonly population: number; readonly generations: number },
  random: Random,
): readonly Individual[] {
  const individual = (genome: Genome): Individual => ({ genome, ...score(genome) });
  const first = [...start];
  while (first.length < size.population) first.push(randomGenome(shape, random));
  let population = survivors(distinct(first.map(individual)), size.population);
  for (let generation = 0; generation < size.generations; generation++) {
    const ranked = byRank(population);
    const children = Array.from({ length: size.population }, () => individual(offspring(ranked, shape, random)));
    population = survivors(distinct([...population, ...children]), size.population);
  }
  return byRank(population);
}

function byLoneliness<T extends Scored>(front: readonly T[]): readonly T[] {
  const distances = crowdingDistances(front);
  return front
    .map((point, i) => ({ point, distance: distances[i] ?? 0, i }))
    .sort((a, b) => (a.distance === b.distance ? a.i - b.i : b.distance - a.distance))
    .map(({ point }) => point);
}

function distinct(all: readonly Individual[]): readonly Individual[] {
  return [...new Map(all.map((one) => [genomeKey(one.genome), one])).values()];
}
