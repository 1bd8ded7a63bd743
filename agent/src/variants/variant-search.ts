import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { Random } from '@fleetgate/shared/random';

import { type BitsByTask, meanOf } from './engine-scorer.js';
import { FrontSearch, type SearchMethod, type SearchProblem } from './front-search.js';
import { allGenomes, type Genome, genomeKey } from './genome.js';
import { type Scored, paretoFront } from './pareto.js';
import { type VariantCost, costOf, shapeOf, specOf, type VariantSpace } from './variant-space.js';

/** A build that was measured. */
export interface MeasuredVariant extends Scored {
  readonly genome: Genome;
  readonly cost: VariantCost;
  readonly bitsPerByte: BitsByTask;
}

export interface SearchLimits {
  /** Larger builds are of no use: they do not fit on the board. */
  readonly mostBytes: number;
  /** Bits per byte beyond the source, mean over tasks, from which a build is of no use. */
  readonly worstLoss: number;
}

/**
 * The problem of finding the front of loss, bytes and joules per token. `sourceBits` is the mean of the source's bits per
 * byte on the same texts.
 */
export function searchProblem(
  space: VariantSpace,
  board: BoardProfile,
  sourceBits: number,
  { mostBytes, worstLoss }: SearchLimits,
): SearchProblem {
  const shape = shapeOf(space);
  const costs = new Map<string, VariantCost>();
  const cost = (genome: Genome): VariantCost => {
    const known = costs.get(genomeKey(genome)) ?? costOf(space, specOf(space, genome), board);
    costs.set(genomeKey(genome), known);
    return known;
  };
  const least = cost(shape.map((choices) => choices - 1));
  const source = cost(shape.map(() => 0));
  return {
    shape,
    known: (genome) => {
      const { sizeBytes, decodeJPerToken } = cost(genome);
      return { costs: [sizeBytes, decodeJPerToken], violation: Math.max(0, sizeBytes / mostBytes - 1) };
    },
    worstLoss: sourceBits + worstLoss,
    ideal: [sourceBits, least.sizeBytes, least.decodeJPerToken],
    // A little beyond the source, which would else dominate nothing.
    reference: [sourceBits + worstLoss, source.sizeBytes * 1.02, source.decodeJPerToken * 1.02],
  };
}

export interface SearchRun {
  readonly measured: readonly MeasuredVariant[];
  /** What none of them dominates. */
  readonly front: readonly MeasuredVariant[];
  /** Share of the box between ideal and worst of interest that the front dominates. */
  readonly hypervolume: number;
}

/** Measures up to `evaluations` builds, chosen by `method`, and answers what was found. `tell` hears of every one. */
export async function searchVariants(
  {
    space,
    board,
    problem,
  }: { readonly space: VariantSpace; readonly board: BoardProfile; readonly problem: SearchProblem },
  evaluate: (genome: Genome) => Promise<BitsByTask>,
  {
    evaluations,
    method,
    random,
  }: { readonly evaluations: number; readonly method: SearchMethod | 'exhaustive'; readonly random: Random },
  tell: (genome: Genome, bits: BitsByTask, search: FrontSearch) => void,
): Promise<SearchRun> {
  const search = new FrontSearch(problem, random, method === 'exhaustive' ? 'random' : method);
  const all = method === 'exhaustive' ? allGenomes(problem.shape) : undefined;
  const bitsOf = new Map<string, BitsByTask>();
  for (let i = 0; i < evaluations; i++) {
    const genome = all === undefined ? search.next() : nextFeasible(all, problem);
    if (genome === undefined) break;
    const bits = await evaluate(genome);
    bitsOf.set(genomeKey(genome), bits);
    search.tell(genome, meanOf(bits));
    tell(genome, bits, search);
  }
  const measured = search.measured.map(({ genome, objectives, violation }) => ({
    genome,
    objectives,
    violation,
    cost: costOf(space, specOf(space, genome), board),
    bitsPerByte: bitsOf.get(genomeKey(genome)) ?? {},
  }));
  return { measured, front: paretoFront(measured), hypervolume: search.volume };
}

function nextFeasible(all: Iterator<Genome>, problem: SearchProblem): Genome | undefined {
  for (;;) {
    const { value, done } = all.next();
    if (done === true) return undefined;
    if (problem.known(value).violation === 0) return value;
  }
}
