import type { Random } from '@fleetgate/shared/random';

import { allGenomes, type Genome, genomeCount, genomeKey, type GenomeShape, mutated, randomGenome } from './genome.js';
import { lossModel, type Measured } from './loss-model.js';
import { byRank, type Individual, nsga2, offspring } from './nsga2.js';
import { hypervolume, paretoFront } from './pareto.js';

/** What is searched: genomes whose loss has to be measured and whose costs are known without. */
export interface SearchProblem {
  readonly shape: GenomeShape;
  /** Costs, all to be small, and how badly constraints are broken (0: not at all; such genomes are never measured). */
  known(genome: Genome): { readonly costs: readonly number[]; readonly violation: number };
  /** A loss above this makes a variant useless: it counts as a broken constraint. */
  readonly worstLoss: number;
  /** Of the loss and of each cost, the value that the best can have and one that is worse than all of interest. */
  readonly ideal: readonly number[];
  readonly reference: readonly number[];
}

/**
 * `assisted`: NSGA-II runs on predicted losses, and what it finds is measured where it adds most. `plain`: NSGA-II with
 * every child measured. `random`: to compare with.
 */
export type SearchMethod = 'assisted' | 'plain' | 'random';

const POPULATION = 24;
const INNER = { population: 48, generations: 24 };
/** Every so many measurements one is spent where the prediction does not say: on a choice never made, or near the front. */
const EXPLORE_EVERY = 6;
const DRAWS = 200;
/** Measurements that the prediction is made of: its cost grows with their cube. */
const MOST_LEARNT = 300;
/** Shapes up to this size are walked through when chance finds nothing new. */
const MOST_WALKED = 200_000;

/**
 * The search for the Pareto front of loss and costs, one measurement at a time: `next` names the genome to measure,
 * `tell` takes the result. Deterministic: the same seed and results give the same questions, so a search that was cut off
 * is resumed by telling a new one what was measured, as it asks.
 */
export class FrontSearch {
  readonly #problem: SearchProblem;
  readonly #random: Random;
  readonly #method: SearchMethod;
  readonly #measured = new Map<string, Individual & Measured>();
  #queue: Genome[];

  constructor(problem: SearchProblem, random: Random, method: SearchMethod = 'assisted') {
    this.#problem = problem;
    this.#random = random;
    this.#method = method;
    this.#queue = method === 'assisted' ? firstGenomes(problem.shape) : [];
  }

  /** Every genome measured so far. */
  get measured(): readonly (Individual & Measured)[] {
    return [...this.#measured.values()];
  }

  get front(): readonly (Individual & Measured)[] {
    return paretoFront(this.measured);
  }

  /** Share of the box from ideal to reference that the front dominates. */
  get volume(): number {
    return hypervolume(
      this.front.map(({ objectives }) => this.#scaled(objectives)),
      this.#problem.reference.map(() => 1),
    );
  }

  /** The genome to measure next; undefined when none is left. */
  next(): Genome | undefined {
    while (this.#queue.length > 0) {
      const genome = this.#queue.shift();
      if (genome !== undefined && this.#isNew(genome)) return genome;
    }
    switch (this.#method) {
      case 'random':
        return this.#anyNew();
      case 'plain':
        if (this.#measured.size < POPULATION) return this.#anyNew();
        this.#queue = this.#children();
        return this.#queue.shift() ?? this.#anyNew();
      case 'assisted':
        return (
          (this.#measured.size % EXPLORE_EVERY === 0 ? this.#unexplored() : this.#mostPromising()) ?? this.#anyNew()
        );
    }
  }

  tell(genome: Genome, loss: number): void {
    const { costs, violation } = this.#problem.known(genome);
    const tooBad = Math.max(0, loss - this.#problem.worstLoss);
    this.#measured.set(genomeKey(genome), {
      genome,
      loss,
      objectives: [loss, ...costs],
      violation: violation + tooBad,
    });
  }

  #isNew(genome: Genome): boolean {
    return !this.#measured.has(genomeKey(genome)) && this.#problem.known(genome).violation === 0;
  }

  #children(): Genome[] {
    const ranked = byRank(this.measured).slice(0, POPULATION);
    const found = new Map<string, Genome>();
    for (let i = 0; i < DRAWS && found.size < POPULATION; i++) {
      const child = offspring(ranked, this.#problem.shape, this.#random);
      if (this.#isNew(child)) found.set(genomeKey(child), child);
    }
    return [...found.values()];
  }

  #mostPromising(): Genome | undefined {
    const { shape, worstLoss } = this.#problem;
    const predict = lossModel(shape, byRank(this.measured).slice(0, MOST_LEARNT));
    const score = (genome: Genome): Omit<Individual, 'genome'> => {
      const { costs, violation } = this.#problem.known(genome);
      const loss = predict(genome);
      return { objectives: [loss, ...costs], violation: violation + Math.max(0, loss - worstLoss) };
    };
    const start = this.front.map(({ genome }) => genome).slice(0, INNER.population);
    const found = nsga2(shape, score, start, INNER, this.#random).filter(
      ({ genome, violation }) => violation === 0 && this.#isNew(genome),
    );
    const front = this.front.map(({ objectives }) => this.#scaled(objectives));
    const edge = front[0]?.map(() => 1) ?? [];
    const before = hypervolume(front, edge);
    let best: { readonly genome: Genome; readonly gain: number } | undefined;
    for (const { genome, objectives } of found) {
      const gain = hypervolume([...front, this.#scaled(objectives)], edge) - before;
      if (gain > 0 && gain > (best?.gain ?? 0)) best = { genome, gain };
    }
    return best?.genome ?? this.#nearFront();
  }

  /** The original with a choice that no genome measured so far has made, which predictions know nothing of. */
  #unexplored(): Genome | undefined {
    const { shape } = this.#problem;
    const seen = shape.map((_, gene) => new Set(this.measured.map(({ genome }) => genome[gene])));
    for (const [gene, choices] of shape.entries()) {
      for (let choice = 1; choice < choices; choice++) {
        const genome = shape.map((_, i) => (i === gene ? choice : 0));
        if (seen[gene]?.has(choice) === false && this.#isNew(genome)) return genome;
      }
    }
    return this.#nearFront();
  }

  #nearFront(): Genome | undefined {
    const { front } = this;
    for (let i = 0; i < DRAWS && front.length > 0; i++) {
      const parent = front[Math.floor(this.#random.uniform() * front.length)];
      const child = parent === undefined ? undefined : mutated(parent.genome, this.#problem.shape, this.#random);
      if (child !== undefined && this.#isNew(child)) return child;
    }
    return undefined;
  }

  #anyNew(): Genome | undefined {
    const { shape } = this.#problem;
    for (let i = 0; i < DRAWS; i++) {
      const genome = randomGenome(shape, this.#random);
      if (this.#isNew(genome)) return genome;
    }
    if (genomeCount(shape) > MOST_WALKED) return undefined;
    for (const genome of allGenomes(shape)) if (this.#isNew(genome)) return genome;
    return undefined;
  }

  #scaled(objectives: readonly number[]): readonly number[] {
    const { ideal, reference } = this.#problem;
    return objectives.map((value, i) => {
      const [best = 0, worst = 1] = [ideal[i], reference[i]];
      return worst > best ? (value - best) / (worst - best) : 0;
    });
  }
}

/** The original, the other end, and each gene moved by itself to its middle and its end: what the prediction starts from. */
function firstGenomes(shape: GenomeShape): Genome[] {
  const original = shape.map(() => 0);
  const end = shape.map((choices) => choices - 1);
  const single = (gene: number, choice: number): Genome => original.map((zero, i) => (i === gene ? choice : zero));
  const moved = shape.flatMap((choices, gene) =>
    choices < 2 ? [] : [single(gene, choices - 1), single(gene, Math.floor((choices - 1) / 2))],
  );
  return [original, end, ...moved];
}
