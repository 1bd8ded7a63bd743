/**
 * The search for a placement: one tree over all whole-number decisions where the exact model is small, else two in turn:
 * catalogues on a projected model (no copies), and for each catalogue worth it the copies and devices of that catalogue
 * alone. Every placement found is realised on the devices and checked before it counts.
 */
import { TreeSearch } from './branching.js';
import { diveToCatalogue } from './catalogue-dive.js';
import { bestCatalogue } from './catalogue-kernel.js';
import { cataloguePricing } from './catalogue-pricing.js';
import { catalogueDecisions } from './decisions.js';
import { buildExactModel, type ExactModel } from './exact-model.js';
import { ModelSearch } from './model-search.js';
import type { Placement } from './placement.js';
import type { Pooling } from './pools.js';
import type { PlacementProblem } from './problem.js';
import { type Realised, realise } from './realise.js';
import type { SearchProgress, SearchResult } from './search-task.js';
import { leafBound, type SearchNode, type SearchTree } from './search-tree.js';
import type { LinearEngine } from './solver.js';

export interface SearchEffort {
  /** Relative gap at which a part of the search is closed. */
  readonly gap: number;
  /** Seconds left. */
  readonly left: () => number;
  readonly mostNodes: number;
  /** `look`: take what a first look at a few catalogues finds, prove what comes of it. */
  readonly effort: 'full' | 'look';
}

export interface PlacementSearch {
  /** The best placement found; undefined: none. */
  readonly best: Realised | undefined;
  /** Undefined when not even the first linear program was solved. */
  readonly tree: SearchTree | undefined;
  /** Largest bound of any open or closed part, by the linear programs' word, for pools. */
  readonly bound: number;
  readonly nodes: number;
  readonly isClosed: boolean;
}

/** Nodes of the catalogue's tree that a search which is only to look may take; one where each of them is priced anew. */
const DIVE_NODES = 30;
/** Nodes that a first look at a catalogue may take. */
const LOOK_NODES = 60;
/** The same where there is one tree. */
const WHOLE_LOOK_NODES = 300;
/** Share of the gap to which copies of a catalogue are searched where pools are no proof. */
const PRIMAL_SHARE = 0.1;
/** Nodes for the copies of a catalogue where pools are no proof: fleets of many devices lose little by rounding. */
const meanNodes = (devices: number): number => Math.max(60, Math.ceil(100_000 / devices));
/** Columns up to which one tree over the whole exact model is quicker than two. */
const SMALL_COLUMNS = 1500;
/** Share of the time left that copies of one catalogue may take. */
const CATALOGUE_SHARE = 0.5;
/** s; less is not shared. */
const LEAST_SHARE_S = 0.2;
/** Catalogues whose searches could go on. Each keeps a linear program and its open parts in memory. */
const MOST_OPEN = 8;

export function searchPlacement(
  problem: PlacementProblem,
  pooling: Pooling,
  engine: LinearEngine,
  limits: SearchEffort,
  onProgress: (progress: SearchProgress) => void,
  start?: Realised,
): PlacementSearch {
  const search = new Search(problem, pooling, engine, limits, onProgress, start);
  const { budgets, variants, devices, arcs } = pooling.problem;
  const isLarge = arcs.length + devices.length * variants.length > SMALL_COLUMNS;
  // What a linear program of mean devices says is not so of the fleet until it is priced, which is done by catalogue.
  const isByCatalogue = !pooling.isExact || (isLarge && budgets.maxVariants !== null);
  return isByCatalogue ? search.byCatalogue() : search.whole();
}

class Search {
  #best: Realised | undefined;
  /** Linear programs solved, by tree. */
  readonly #nodes = new Map<unknown, number>();
  /** Bound of all that is not being searched right now. */
  #rest = Infinity;
  readonly #problem: PlacementProblem;
  readonly #pooling: Pooling;
  readonly #engine: LinearEngine;
  readonly #limits: SearchEffort;
  readonly #onProgress: (progress: SearchProgress) => void;
  /** By the catalogue's variants. */
  readonly #catalogues = new Map<string, ModelSearch>();
  /** Catalogues whose trees are part of the proof. */
  readonly #grafted = new Set<ModelSearch>();

  constructor(
    problem: PlacementProblem,
    pooling: Pooling,
    engine: LinearEngine,
    limits: SearchEffort,
    onProgress: (progress: SearchProgress) => void,
    start: Realised | undefined,
  ) {
    this.#problem = problem;
    this.#pooling = pooling;
    this.#engine = engine;
    this.#limits = limits;
    this.#onProgress = onProgress;
    this.#best = start;
  }

  /** One tree over the exact model. */
  whole(): PlacementSearch {
    const search = this.#open(buildExactModel(this.#pooling.problem));
    this.#rest = -Infinity;
    try {
      const { effort, left, mostNodes } = this.#limits;
      const { bound, isClosed } = this.#run(search, effort === 'look' ? WHOLE_LOOK_NODES : mostNodes, left);
      return { tree: search.tree, bound, isClosed, best: this.#best, nodes: this.#total() };
    } finally {
      search.close();
    }
  }

  /** Catalogues first. */
  byCatalogue(): PlacementSearch {
    const pooled = this.#pooling.problem;
    const model = buildExactModel(pooled, { projected: true });
    const session = this.#engine.open(model.program);
    const { gap, left, mostNodes, effort } = this.#limits;
    const search: TreeSearch = new TreeSearch({
      ...{ program: model.program, session, gap },
      decisions: catalogueDecisions(model),
      fullAt: pooled.budgets.maxVariants ?? Infinity,
      // What is proven of mean devices is not proven of the fleet: a catalogue's own tree proves it only for equal ones.
      ...(this.#pooling.isExact
        ? { refine: (point, others) => this.#prove(chosenAt(model, point), others) }
        : { price: cataloguePricing(this.#problem, this.#pooling, model) }),
      onRoot: (duals, point) => {
        this.#rest = search.root.bound;
        if (pooled.budgets.maxVariants === null) return this.#objective;
        const chosen = bestCatalogue(pooled, model.program, duals, () => left() <= 0);
        if (chosen !== undefined) this.#look(chosen);
        const near = diveToCatalogue(model, session, point, left);
        if (near !== undefined) this.#look(near);
        return this.#objective;
      },
      onPoint: (point, bound, wholeRank) => {
        if (wholeRank < 0 || bound <= this.#objective) return undefined;
        this.#look(chosenAt(model, point));
        return this.#objective;
      },
      onProgress: (progress) => {
        this.#rest = progress.bound;
        this.#report(search, progress);
      },
    });
    try {
      const dive = this.#pooling.isExact ? DIVE_NODES : 1;
      const result = search.run({
        left,
        incumbent: this.#objective,
        mostNodes: effort === 'look' ? dive : mostNodes,
      });
      this.#nodes.set(search, result.nodes);
      this.#finish(search.root);
      const tree = { root: search.root, program: model.program };
      const bound = Math.max(this.#objective, leafBound(search.root));
      const isClosed = result.isClosed && this.#unfinished().length === 0;
      return { best: this.#best, tree, bound, isClosed, nodes: this.#total() };
    } finally {
      session.close();
      for (const catalogue of this.#catalogues.values()) catalogue.close();
    }
  }

  get #objective(): number {
    return this.#best?.check.objective ?? -Infinity;
  }

  /** A first look at the copies and devices of one catalogue, for a good placement. */
  #look(catalogue: readonly number[]): void {
    const search = this.#of(catalogue);
    if (search.nodes > 0) return;
    const { isExact } = this.#pooling;
    this.#run(search, isExact ? LOOK_NODES : meanNodes(this.#problem.devices.length), this.#share());
  }

  /** Copies and devices of one catalogue, as far as half of the time goes. */
  #prove(catalogue: readonly number[], others: number): SearchTree {
    const search = this.#of(catalogue);
    this.#rest = others;
    if (!search.isDone) this.#run(search, this.#limits.mostNodes, this.#share());
    this.#grafted.add(search);
    return search.tree;
  }

  /** What time was too short for at first, the most promising catalogue first, for as long as there is time. */
  #finish(root: SearchNode): void {
    for (;;) {
      const [search] = this.#unfinished()
        .filter(({ isDone }) => !isDone)
        .sort((a, b) => b.bound - a.bound);
      if (search === undefined || this.#limits.left() < LEAST_SHARE_S || this.#total() >= this.#limits.mostNodes)
        return;
      this.#rest = leafBound(root, search.tree);
      this.#run(search, this.#limits.mostNodes, this.#share());
    }
  }

  #unfinished(): ModelSearch[] {
    const cut = this.#objective + this.#limits.gap * Math.max(1, Math.abs(this.#objective));
    return [...this.#grafted].filter((search) => !search.isClosed && search.bound > cut);
  }

  /** Half of the time that is left, or all where that is too little to share. */
  #share(): () => number {
    const all = this.#limits.left();
    const kept = all * CATALOGUE_SHARE < LEAST_SHARE_S ? 0 : all * (1 - CATALOGUE_SHARE);
    return () => this.#limits.left() - kept;
  }

  /** Those that have waited longest are searched no further where too many would be open. */
  #of(catalogue: readonly number[]): ModelSearch {
    const key = catalogue.join(',');
    const known = this.#catalogues.get(key);
    if (known !== undefined) return known;
    const open = [...this.#catalogues.values()].filter(({ isDone }) => !isDone);
    if (open.length >= MOST_OPEN) (open.find((search) => !this.#grafted.has(search)) ?? open[0])?.close();
    const chosen = new Set(catalogue);
    const { problem } = this.#pooling;
    const search = this.#open(
      buildExactModel({
        ...problem,
        arcs: problem.arcs.filter(({ v }) => chosen.has(v)),
        budgets: { ...problem.budgets, maxVariants: null },
      }),
    );
    this.#catalogues.set(key, search);
    return search;
  }

  #run(search: ModelSearch, mostNodes: number, left: () => number): SearchResult {
    const result = search.run(mostNodes, left);
    this.#nodes.set(search, result.nodes);
    return result;
  }

  #total(): number {
    return [...this.#nodes.values()].reduce((sum, nodes) => sum + nodes, 0);
  }

  #report(of: unknown, { objective, bound, nodes }: SearchProgress): void {
    this.#nodes.set(of, nodes);
    this.#onProgress({ objective, bound: Math.max(bound, this.#rest), nodes: this.#total() });
  }

  #open(model: ExactModel): ModelSearch {
    const { gap } = this.#limits;
    const pooled = this.#pooling.problem;
    const search: ModelSearch = new ModelSearch(pooled, model, this.#engine, {
      // Placements of mean devices are searched closer than their proof: what is lost by the mean is all that may be lost.
      gap: gap * (this.#pooling.isExact ? 1 : PRIMAL_SHARE),
      onHosting: (hosting) => {
        this.#realise(hosting);
        return this.#objective;
      },
      objective: () => this.#objective,
      onProgress: (progress) => this.#report(search, progress),
    });
    return search;
  }

  #realise(pooled: Placement): void {
    const found = realise(this.#problem, this.#pooling, this.#engine, pooled);
    if (found !== undefined && found.check.objective > this.#objective) this.#best = found;
  }
}

/** Variants of the catalogue at a point whose catalogue decisions are whole; all, where its size has no bound. */
function chosenAt(model: ExactModel, point: Float64Array): number[] {
  return [...model.catalogue.entries()]
    .filter(([, column]) => column < 0 || (point[column] ?? 0) > 0.5)
    .map(([v]) => v);
}
