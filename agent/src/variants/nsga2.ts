import type { Random } from '@fleetgate/shared/random';

import { crossed, type Genome, genomeKey, type GenomeShape, mutated, randomGenome } from './genome.js';
import { crowdingDistances, frontsOf, type Scored } from './pareto.js';

export interface Individual extends Scored {
  readonly genome: Genome;
}

const CROSSOVER_RATE = 0.9;

/** One child of two parents, each the better (rank, then crowding: `ranked` is in that order) of two drawn. */
export function offspring(ranked: readonly Individual[], shape: GenomeShape, random: Random): Genome {
  const parent = (): Genome => {
    const drawn = [random.uniform(), random.uniform()].map((u) => Math.floor(u * ranked.length));
    return ranked[Math.min(...drawn)]?.genome ?? randomGenome(shape, random);
  };
  const [a, b] = [parent(), parent()];
  return mutated(random.uniform() < CROSSOVER_RATE ? crossed(a, b, random) : a, shape, random);
}

/**
 * Best first: by front, and in a front the loneliest first. The first n are what NSGA-II lets survive: whole fronts, and of
 * the one that does not fit the loneliest.
 */
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
  let ranked = byRank(distinct(first.map(individual))).slice(0, size.population);
  for (let generation = 0; generation < size.generations; generation++) {
    const parents = ranked;
    const children = Array.from({ length: size.population }, () => individual(offspring(parents, shape, random)));
    ranked = byRank(distinct([...parents, ...children])).slice(0, size.population);
  }
  return ranked;
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
