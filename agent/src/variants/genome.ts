import type { Random } from '@fleetgate/shared/random';

/** For each gene, the number of its choice. Choices of a gene are in order: 0 loses least, the last saves most. */
export type Genome = readonly number[];

/** How many choices each gene has. */
export type GenomeShape = readonly number[];

export function genomeKey(genome: Genome): string {
  return genome.join('.');
}

/** Every genome, the first gene slowest. As many as the product of the shape: only for small shapes. */
export function* allGenomes(shape: GenomeShape): Generator<Genome> {
  const [choices, ...rest] = shape;
  if (choices === undefined) {
    yield [];
    return;
  }
  for (let first = 0; first < choices; first++) for (const others of allGenomes(rest)) yield [first, ...others];
}

export function genomeCount(shape: GenomeShape): number {
  return shape.reduce((product, choices) => product * choices, 1);
}

export function randomGenome(shape: GenomeShape, random: Random): Genome {
  return shape.map((choices) => drawn(choices, random));
}

/** Each gene from either parent, evenly (uniform crossover). */
export function crossed(a: Genome, b: Genome, random: Random): Genome {
  return a.map((choice, i) => (random.uniform() < 0.5 ? choice : (b[i] ?? choice)));
}

/** One gene in the mean changed: as a rule by one step, since choices are in order, else to any other. */
export function mutated(genome: Genome, shape: GenomeShape, random: Random): Genome {
  const rate = 1 / Math.max(1, shape.filter((choices) => choices > 1).length);
  return genome.map((choice, i) => {
    const choices = shape[i] ?? 1;
    if (choices < 2 || random.uniform() >= rate) return choice;
    if (random.uniform() < 0.3) return drawn(choices, random);
    const step = random.uniform() < 0.5 ? -1 : 1;
    return Math.min(choices - 1, Math.max(0, choice + step));
  });
}

function drawn(choices: number, random: Random): number {
  return Math.floor(random.uniform() * choices);
}
