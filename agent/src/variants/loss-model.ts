import { type Genome, type GenomeShape, genomeKey } from './genome.js';

/** Ridge: a step seen once is believed most of what it showed. */
const SHRINKAGE = 0.02;
/** Genomes that differ in this many steps say little of each other. */
const REACH = 1.5;
/** Share of a neighbour's error that is measurement and not shape. */
const NUGGET = 0.1;

export interface Measured {
  readonly genome: Genome;
  readonly loss: number;
}

/**
 * Predicts the loss of genomes from those that were measured: a constant and one addend for every step along every gene
 * (ridge regression; a choice never seen lies between its neighbours), and on top what near genomes were off by (Gaussian process, exponential kernel on the number of
 * steps between them). Additive first, since bit widths of different tensors hardly act on each other, and keep counts
 * and active slabs do only where they are small. O(n^3) for n measured.
 */
export function lossModel(shape: GenomeShape, measured: readonly Measured[]): (genome: Genome) => number {
  const mean = measured.reduce((sum, { loss }) => sum + loss, 0) / Math.max(1, measured.length);
  const offsets = shape.map((_, i) => shape.slice(0, i).reduce((sum, choices) => sum + choices - 1, 0));
  const columns = shape.reduce((sum, choices) => sum + choices - 1, 0);
  const ones = (genome: Genome): readonly number[] =>
    genome.flatMap((choice, i) => Array.from({ length: choice }, (_, step) => (offsets[i] ?? 0) + step));
  const addends = ridge(
    measured.map(({ genome }) => ones(genome)),
    measured.map(({ loss }) => loss - mean),
    columns,
  );
  const additive = (genome: Genome): number => ones(genome).reduce((sum, column) => sum + (addends[column] ?? 0), mean);
  const errors = measured.map(({ genome, loss }) => loss - additive(genome));
  const kernel = measured.map((a, i) => measured.map((b, j) => nearness(a.genome, b.genome) + (i === j ? NUGGET : 0)));
  const weights = solved(kernel, errors);
  const known = new Map(measured.map(({ genome, loss }) => [genomeKey(genome), loss]));
  return (genome) =>
    known.get(genomeKey(genome)) ??
    measured.reduce((sum, near, i) => sum + (weights[i] ?? 0) * nearness(genome, near.genome), additive(genome));
}

function nearness(a: Genome, b: Genome): number {
  let steps = 0;
  for (const [i, choice] of a.entries()) steps += Math.abs(choice - (b[i] ?? choice));
  return Math.exp(-steps / REACH);
}

/** Least squares with a penalty on the size of the addends, over rows of which each names the columns that are 1. */
function ridge(rows: readonly (readonly number[])[], targets: readonly number[], columns: number): readonly number[] {
  const normal = Array.from({ length: columns }, (_, i) =>
    Array.from<unknown, number>({ length: columns }, (_, j) => (i === j ? SHRINKAGE : 0)),
  );
  const right = Array.from<unknown, number>({ length: columns }, () => 0);
  for (const [r, row] of rows.entries()) {
    for (const i of row) {
      right[i] = (right[i] ?? 0) + (targets[r] ?? 0);
      const line = normal[i];
      if (line !== undefined) for (const j of row) line[j] = (line[j] ?? 0) + 1;
    }
  }
  return solved(normal, right);
}

/** Solves a symmetric positive definite system (Cholesky). */
function solved(matrix: readonly (readonly number[])[], right: readonly number[]): readonly number[] {
  const size = right.length;
  const lower = matrix.map((row) => Float64Array.from(row));
  const at = (i: number, j: number): number => lower[i]?.[j] ?? 0;
  for (let j = 0; j < size; j++) {
    for (let i = j; i < size; i++) {
      let value = at(i, j);
      for (let k = 0; k < j; k++) value -= at(i, k) * at(j, k);
      const row = lower[i];
      if (row !== undefined) row[j] = i === j ? Math.sqrt(Math.max(1e-12, value)) : value / at(j, j);
    }
  }
  const solution = Float64Array.from(right);
  for (let i = 0; i < size; i++) {
    for (let k = 0; k < i; k++) solution[i] = (solution[i] ?? 0) - at(i, k) * (solution[k] ?? 0);
    solution[i] = (solution[i] ?? 0) / at(i, i);
  }
  for (let i = size - 1; i >= 0; i--) {
    for (let k = i + 1; k < size; k++) solution[i] = (solution[i] ?? 0) - at(k, i) * (solution[k] ?? 0);
    solution[i] = (solution[i] ?? 0) / at(i, i);
  }
  return [...solution];
}
