import { TreeSearch } from './branching.js';
import type { SearchProgress, SearchResult } from './search-task.js';
import { decisionsOf } from './decisions.js';
import type { ExactModel } from './exact-model.js';
import type { Placement } from './placement.js';
import type { PlacementProblem } from './problem.js';
import { roundedPlacement } from './rounding.js';
import type { SearchTree } from './search-tree.js';
import type { LinearEngine, LinearSession } from './solver.js';

/** Every so many fractional points one is rounded. */
const ROUND_EVERY = 20;

export interface ModelSearchTask {
  /** Relative gap at which a part is closed. */
  readonly gap: number;
  /** Told of every placement of the model; returns the objective of the best one known, also from elsewhere. */
  readonly onHosting: (hosting: Placement) => number;
  readonly objective: () => number;
  readonly onProgress: (progress: SearchProgress) => void;
}

/** The tree over all whole-number decisions of one exact model. Can be run again until it is closed. */
export class ModelSearch {
  readonly tree: SearchTree;
  /** Nothing more comes of another run. */
  isDone = false;
  isClosed = false;
  bound = Infinity;
  nodes = 0;
  readonly #problem: PlacementProblem;
  readonly #model: ExactModel;
  readonly #task: ModelSearchTask;
  readonly #session: LinearSession;
  readonly #search: TreeSearch;
  readonly #seen = new Set<string>();
  #looked = 0;

  constructor(problem: PlacementProblem, model: ExactModel, engine: LinearEngine, task: ModelSearchTask) {
    this.#problem = problem;
    this.#model = model;
    this.#task = task;
    this.#session = engine.open(model.program);
    const decisions = decisionsOf(problem, model);
    this.#search = new TreeSearch({
      ...{ program: model.program, session: this.#session, gap: task.gap, decisions },
      onRoot: (_, point) => this.#take(roundedPlacement(problem, model, point)),
      onPoint: (point, bound, wholeRank) => this.#onPoint(point, bound, wholeRank),
      onProgress: (progress) => task.onProgress(progress),
    });
    this.tree = { root: this.#search.root, program: model.program };
  }

  /** Closes the session once nothing more comes of it. */
  run(mostNodes: number, left: () => number): SearchResult {
    const result = this.#search.run({ mostNodes, left, incumbent: this.#task.objective() });
    this.isClosed = result.isClosed;
    this.bound = result.bound;
    this.nodes = result.nodes;
    if (!result.isCut) this.close();
    return result;
  }

  /** What is known stays; it is not searched on. */
  close(): void {
    if (this.isDone) return;
    this.isDone = true;
    this.#session.close();
  }

  #onPoint(point: Float64Array, bound: number, wholeRank: number): number | undefined {
    if (wholeRank < 0 || bound <= this.#task.objective()) return undefined;
    if (wholeRank === Infinity) return this.#take(this.#model.read(point));
    if (++this.#looked % ROUND_EVERY !== 0) return undefined;
    return this.#take(roundedPlacement(this.#problem, this.#model, point));
  }

  /** The best objective known, also from elsewhere. */
  #take(hosting: Placement): number {
    const key = JSON.stringify([hosting.placement, hosting.modes ?? hosting.poweredOn]);
    if (this.#seen.has(key)) return this.#task.objective();
    this.#seen.add(key);
    return this.#task.onHosting(hosting);
  }
}
