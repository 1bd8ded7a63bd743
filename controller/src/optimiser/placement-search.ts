/**
 * The search for a placement: one tree over all whole-number decisions where the exact model is small, else two in turn:
 * catalogues on a projected model (no copies), and for each catalogue worth it the copies and devices of that catalogue
 * alone. Every placement found is realised on the devices and checked before it counts.
 */
import { searchTree, type SearchProgress, type SearchTask } from './branching.js';
import type { Decision, SearchTree } from './search-tree.js';
import { bestCatalogue } from './catalogue-kernel.js';
import { buildExactModel, type ExactModel } from './exact-model.js';
import { pairKey, type Placement } from './placement.js';
import { PoolPricing } from './pool-pricing.js';
import type { Pooling } from './pools.js';
import type { PlacementProblem } from './problem.js';
import { type Realised, realise } from './realise.js';
import { roundedPlacement } from './rounding.js';
import type { LinearEngine } from './solver.js';

export interface SearchEffort {
  /** Relative gap at which a part of the search is closed. */
  readonly gap: number;
  /** Seconds left. */
  readonly left: () => number;
  readonly mostNodes: number;
  /** `root`: take what the first dive finds, prove only the root's bound. */
  readonly effort: 'full' | 'root';
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

/** Nodes that a first look at a catalogue may take. */
const LOOK_NODES = 300;
/** Every so many fractional points one is rounded. */
const ROUND_EVERY = 20;
/** Points that a pool has to gain for a column of its own. */
const WORTH = 1e-3;
/** Share of the gap to which copies of a catalogue are searched where pools are no proof. */
const PRIMAL_SHARE = 0.1;
/** Nodes for the copies of a catalogue where pools are no proof: fleets of many devices lose little by rounding. */
const meanNodes = (devices: number): number => Math.max(60, Math.ceil(100_000 / devices));
/** Columns up to which one tree over the whole exact model is quicker than two. */
const SMALL_COLUMNS = 1500;
/** Share of the time left that copies of one catalogue may take. */
const CATALOGUE_SHARE = 0.5;

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
  return isLarge && budgets.maxVariants !== null ? search.byCatalogue() : search.whole();
}

class Search {
  #best: Realised | undefined;
  #nodes = 0;
  readonly #problem: PlacementProblem;
  readonly #pooling: Pooling;
  readonly #engine: LinearEngine;
  readonly #limits: SearchEffort;
  readonly #onProgress: (progress: SearchProgress) => void;
  /** Trees of catalogues already searched, by their variants. */
  readonly #searched = new Map<string, { readonly tree: SearchTree; readonly isClosed: boolean }>();

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
    const model = buildExactModel(this.#pooling.problem);
    const result = this.#searchModel(model, this.#limits.left, this.#limits.mostNodes);
    return { ...result, best: this.#best, nodes: this.#nodes };
  }

  /** Catalogues first. */
  byCatalogue(): PlacementSearch {
    const pooled = this.#pooling.problem;
    const model = buildExactModel(pooled, { projected: true });
    const session = this.#engine.open(model.program);
    const { gap, left, mostNodes, effort } = this.#limits;
    try {
      const result = searchTree({
        ...{ program: model.program, session, gap, left, incumbent: this.#objective },
        decisions: catalogueDecisions(model),
        mostNodes: effort === 'root' ? 1 : mostNodes,
        fullAt: pooled.budgets.maxVariants ?? Infinity,
        // What is proven of mean devices is not proven of the fleet: a catalogue's own tree proves it only for equal ones.
        ...(this.#pooling.isExact
          ? { refine: (point) => this.#within(chosenAt(model, point), 'prove') }
          : { price: this.#pricing(model) }),
        onRoot: (duals) => {
          const chosen = bestCatalogue(pooled, model.program, duals, () => left() <= 0);
          if (chosen !== undefined) this.#within(chosen, 'look');
          return this.#objective;
        },
        onPoint: (point, bound, wholeRank) => {
          if (wholeRank < 0 || bound <= this.#objective) return undefined;
          this.#within(chosenAt(model, point), 'look');
          return this.#objective;
        },
        onProgress: (progress) => this.#onProgress({ ...progress, nodes: this.#nodes + progress.nodes }),
      });
      const tree = { root: result.root, program: model.program };
      const { bound, isClosed } = result;
      return { best: this.#best, tree, bound, isClosed, nodes: this.#nodes + result.nodes };
    } finally {
      session.close();
    }
  }

  /** Bounds on the devices as they are, for pools of devices that differ. */
  #pricing(model: ExactModel): NonNullable<SearchTask['price']> {
    const pricing = new PoolPricing(this.#problem, this.#pooling, model.program);
    const columns = [...model.catalogue.entries()].filter(([, column]) => column >= 0);
    const most = this.#problem.budgets.maxVariants ?? Infinity;
    return (duals, ranges) => {
      const catalogue = new Int8Array(this.#problem.variants.length);
      let forced = 0;
      for (const [v, column] of columns) {
        const range = ranges.get(column);
        if ((range?.lower ?? 0) >= 1) forced++;
        catalogue[v] = (range?.lower ?? 0) >= 1 ? 1 : (range?.upper ?? 1) < 1 ? -1 : 0;
      }
      if (forced >= most) catalogue.forEach((state, v) => (catalogue[v] = state === 1 ? 1 : -1));
      return pricing.respond(duals, catalogue, WORTH);
    };
  }

  get #objective(): number {
    return this.#best?.check.objective ?? -Infinity;
  }

  /** Copies and devices for one catalogue: a look for a good placement, or all the way to a proof. */
  #within(catalogue: readonly number[], depth: 'look' | 'prove'): SearchTree | undefined {
    const key = catalogue.join(',');
    const known = this.#searched.get(key);
    if (known !== undefined && (depth === 'look' || known.isClosed)) return known.tree;
    const chosen = new Set(catalogue);
    const { problem, isExact } = this.#pooling;
    const restricted: PlacementProblem = {
      ...problem,
      arcs: problem.arcs.filter(({ v }) => chosen.has(v)),
      budgets: { ...problem.budgets, maxVariants: null },
    };
    const until = this.#limits.left() * (1 - CATALOGUE_SHARE);
    const left = () => this.#limits.left() - until;
    const most = isExact
      ? depth === 'look'
        ? LOOK_NODES
        : this.#limits.mostNodes
      : meanNodes(this.#problem.devices.length);
    const { tree, isClosed } = this.#searchModel(buildExactModel(restricted), left, most);
    this.#searched.set(key, { tree, isClosed });
    return tree;
  }

  #searchModel(model: ExactModel, left: () => number, mostNodes: number) {
    const { effort } = this.#limits;
    // Placements of mean devices are searched closer than their proof: what is lost by the mean is all that may be lost.
    const gap = this.#limits.gap * (this.#pooling.isExact ? 1 : PRIMAL_SHARE);
    const session = this.#engine.open(model.program);
    const seen = new Set<string>();
    let looked = 0;
    const before = this.#nodes;
    try {
      const result = searchTree({
        ...{ program: model.program, session, gap, left, mostNodes, incumbent: this.#objective },
        decisions: decisionsOf(this.#pooling.problem, model),
        stopAtFirst: effort === 'root',
        onRoot: (_, point) => {
          this.#realise(roundedPlacement(this.#pooling.problem, model, point));
          return this.#objective;
        },
        onPoint: (point, bound, wholeRank) => {
          if (wholeRank < 0 || bound <= this.#objective) return undefined;
          const isWhole = wholeRank === Infinity;
          if (!isWhole && ++looked % ROUND_EVERY !== 0) return undefined;
          const hosting = isWhole ? model.read(point) : roundedPlacement(this.#pooling.problem, model, point);
          const key = JSON.stringify([hosting.placement, hosting.modes ?? hosting.poweredOn]);
          if (!seen.has(key)) this.#realise(hosting);
          seen.add(key);
          return this.#objective;
        },
        onProgress: (progress) => this.#onProgress({ ...progress, nodes: before + progress.nodes }),
      });
      this.#nodes += result.nodes;
      const tree: SearchTree = { root: result.root, program: model.program };
      return { tree, bound: result.bound, isClosed: result.isClosed };
    } finally {
      session.close();
    }
  }

  #realise(pooled: Placement): void {
    const found = realise(this.#problem, this.#pooling, this.#engine, pooled);
    if (found !== undefined && found.check.objective > this.#objective) this.#best = found;
  }
}

/** Variants of the catalogue at a point whose catalogue decisions are whole. */
function chosenAt(model: ExactModel, point: Float64Array): number[] {
  return [...model.catalogue.entries()].filter(([, column]) => (point[column] ?? 0) > 0.5).map(([v]) => v);
}

function catalogueDecisions(model: ExactModel): Decision[] {
  return [...model.catalogue.entries()]
    .filter(([, column]) => column >= 0)
    .map(([v, column]) => ({ column, branch: { of: 'variant', v }, rank: 0, lower: 0, upper: 1 }) as const);
}

function decisionsOf(problem: PlacementProblem, model: ExactModel): Decision[] {
  const { upper } = model.program;
  const powered = model.powered.flatMap((columns, u) =>
    columns.map((column, m): Decision => {
      return { column, branch: { of: 'powered', u, m }, rank: 1, lower: 0, upper: upper[column] ?? 0 };
    }),
  );
  const copies = problem.devices.flatMap((_, u) =>
    problem.variants.flatMap((__, v): Decision[] => {
      const column = model.copies[pairKey(problem, u, v)] ?? -1;
      if (column < 0) return [];
      return [{ column, branch: { of: 'copies', u, v }, rank: 1, lower: 0, upper: upper[column] ?? 0 }];
    }),
  );
  return [...catalogueDecisions(model), ...powered, ...copies];
}
