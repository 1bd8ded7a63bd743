/**
 * Branch and bound over the whole-number decisions of a placement, on linear programs that stay warm.
 *
 * Catalogue decisions are branched on first (they move the bound most), then devices that are on and copies; within a
 * rank the one whose children are expected to fall most. Of two children the better is followed at once (a dive finds
 * placements early), then the open part with the best bound. After every branching the tree is a proof: its leaves, each
 * with its duals, bound every placement (`certificate.ts`).
 */
import { closeIn } from './close-in.js';
import { type OpenPart, OpenParts } from './open-parts.js';
import { PseudoCosts } from './pseudo-costs.js';
import type { SearchLimits, SearchResult, SearchTask } from './search-task.js';
import { brokenRow, type Decision, leafBound, narrowed, type SearchNode } from './search-tree.js';
import type { ColumnRange, OptimalAnswer, WarmBasis } from './solver.js';

/** Rounds of new columns at the root, and at each later node. */
const ROOT_ROUNDS = 60;
const NODE_ROUNDS = 6;
/** Larger programs take too long to be solved only to learn. */
const MOST_PROBED_COLUMNS = 3000;

export function searchTree(task: SearchTask & SearchLimits): SearchResult {
  return new TreeSearch(task).run(task);
}

/** Can be run again where time or nodes ran out: it goes on where it stopped, as long as its session is open. */
export class TreeSearch {
  readonly root: SearchNode = {
    ...{ ranges: new Map(), bound: Infinity, proof: undefined, split: undefined, graft: undefined },
  };
  readonly #task: SearchTask;
  readonly #open = new OpenParts();
  /** Ranges that the session has now, by column. */
  #applied: ReadonlyMap<number, ColumnRange> = new Map();
  /** Parts that time or nodes ran out for, and the bases to start them from. */
  readonly #unsolved = new Map<SearchNode, WarmBasis | undefined>([[this.root, undefined]]);
  #best = -Infinity;
  #limits: SearchLimits = { mostNodes: 0, incumbent: -Infinity, left: () => 0 };
  readonly #falls = new PseudoCosts();
  /** Largest bound of the parts that are looked into no more. */
  #settled = -Infinity;
  #nodes = 0;
  #isCut = false;
  #isComplete = true;

  constructor(task: SearchTask) {
    this.#task = task;
  }

  run(limits: SearchLimits): SearchResult {
    this.#limits = { ...limits, mostNodes: this.#nodes + limits.mostNodes };
    this.#best = Math.max(this.#best, limits.incumbent);
    this.#isCut = false;
    this.#reopen();
    let part = this.#next();
    while (part !== undefined && !this.#isCut) {
      part = this.#branch(part) ?? this.#next();
      this.#report(part);
    }
    if (part !== undefined) this.#open.add(part);
    return {
      root: this.root,
      objective: this.#best,
      bound: Math.max(this.#best, leafBound(this.root)),
      nodes: this.#nodes,
      isClosed: !this.#isCut && this.#isComplete,
      isCut: this.#isCut,
    };
  }

  #reopen(): void {
    const unsolved = [...this.#unsolved];
    this.#unsolved.clear();
    for (const [node, basis] of unsolved) {
      const part = this.#solve(node, basis);
      if (part === undefined) continue;
      if (node === this.root && node.proof?.duals !== undefined) {
        this.#improve(this.#task.onRoot?.(node.proof.duals, part.point));
      }
      this.#open.add(part);
    }
  }

  #improve(objective: number | undefined): void {
    if (objective === undefined) return;
    this.#best = Math.max(this.#best, objective);
  }

  /** Splits a part in two and returns the child to follow; undefined when neither is worth following. */
  #branch(part: OpenPart): OpenPart | undefined {
    const { node, point, basis } = part;
    if (!this.#isBeaten(node)) this.#probe(part);
    const fractional = this.#falls.mostPromising(this.#task.decisions, point);
    const objective = this.#task.onPoint(point, node.bound, (fractional?.rank ?? Infinity) - 1);
    this.#improve(objective);
    if (this.#isCut) {
      this.#open.add(part);
      return undefined;
    }
    const decision = this.#isBeaten(node) ? undefined : (fractional ?? this.#undecided(node, point));
    if (decision === undefined) {
      if (!this.#isBeaten(node)) this.#graft(node, point);
      this.#settle(node);
      return undefined;
    }
    const value = point[decision.column] ?? 0;
    // A whole value of 1 that may still become 0 is split just below it.
    const at = fractional === undefined && value >= 0.5 ? Math.round(value) - 1 : Math.floor(value);
    const child = (from: number, to: number): SearchNode => {
      // Until it is solved a child is bounded by its parent's proof.
      const known = { bound: node.bound, proof: node.proof, split: undefined, graft: undefined };
      return { ranges: narrowed(node, decision, from, to), ...known };
    };
    const [low, high] = [child(-Infinity, at), child(at + 1, Infinity)];
    const parts = [this.#solve(high, basis), this.#solve(low, basis)].filter((each) => each !== undefined);
    if (fractional !== undefined && !this.#unsolved.has(low) && !this.#unsolved.has(high)) {
      this.#falls.learn(decision.column, value - at, { parent: node.bound, low: low.bound, high: high.bound });
    }
    node.split = { decision, at, low, high };
    node.proof = undefined;
    const alive = parts.filter((each) => !this.#isBeaten(each.node)).sort((a, b) => a.node.bound - b.node.bound);
    for (const child of [low, high]) {
      if (!alive.some((each) => each.node === child) && !this.#unsolved.has(child)) this.#settle(child);
    }
    const follow = alive.pop();
    for (const each of alive) this.#open.add(each);
    return follow;
  }

  /** Solves both children of decisions that seem promising but of which little is known yet, only to learn how they fall. */
  #probe({ node, point, basis }: OpenPart): void {
    const { decisions, price, program, session } = this.#task;
    if (price !== undefined || program.cost.length > MOST_PROBED_COLUMNS) return;
    for (const { decision, value } of this.#falls.unsure(decisions, point)) {
      const at = Math.floor(value);
      const bounds = [narrowed(node, decision, -Infinity, at), narrowed(node, decision, at + 1, Infinity)].map(
        (ranges) => {
          const left = this.#limits.left();
          if (left <= 0 || this.#nodes >= this.#limits.mostNodes) return undefined;
          this.#nodes++;
          this.#apply(ranges);
          const answer = session.solve(left, basis);
          return answer.status === 'stopped' ? undefined : answer.status === 'optimal' ? answer.objective : -Infinity;
        },
      );
      const [low, high] = bounds;
      if (low === undefined || high === undefined) return;
      this.#falls.learn(decision.column, value - at, { parent: node.bound, low, high });
    }
  }

  /** A decision that has only by chance a whole value; undefined when none is left, or nobody would search on. */
  #undecided(node: SearchNode, point: Float64Array): Decision | undefined {
    const { refine, decisions, fullAt = Infinity } = this.#task;
    if (refine === undefined) return undefined;
    let ones = 0;
    for (const { lower } of node.ranges.values()) if (lower >= 1) ones++;
    if (ones >= fullAt) return undefined;
    const free = decisions.filter(({ column, lower, upper }) => {
      const range = node.ranges.get(column) ?? { lower, upper };
      return range.lower < range.upper;
    });
    return free.find(({ column }) => (point[column] ?? 0) >= 0.5) ?? free[0];
  }

  #graft(node: SearchNode, point: Float64Array): void {
    const tree = this.#task.refine?.(point, this.#openBound(undefined));
    if (tree === undefined) return;
    node.graft = tree;
    node.bound = Math.min(node.bound, leafBound(tree.root));
  }

  /** Undefined when the part is empty, or nothing more can be learned of it. */
  #solve(node: SearchNode, basis: WarmBasis | undefined): OpenPart | undefined {
    const left = this.#limits.left();
    if (left <= 0 || this.#nodes >= this.#limits.mostNodes) this.#isCut = true;
    if (this.#isCut) {
      this.#unsolved.set(node, basis);
      return undefined;
    }
    this.#nodes++;
    this.#apply(node.ranges);
    const answer = this.#task.session.solve(left, basis);
    switch (answer.status) {
      case 'optimal':
        return this.#priced(node, answer);
      case 'infeasible':
        this.#proveEmpty(node, brokenRow(this.#task.program, node.ranges) ?? answer.ray);
        return undefined;
      case 'stopped':
        if (this.#limits.left() <= 0) {
          this.#isCut = true;
          this.#unsolved.set(node, basis);
          return undefined;
        }
        // The simplex lost its way: the part keeps its parent's bound and is not looked into.
        this.#isComplete = false;
        return undefined;
    }
  }

  /** The part's bound and proof; where the program is an approximation it is brought closer first. */
  #priced(node: SearchNode, first: OptimalAnswer): OpenPart {
    const { price, session, gap } = this.#task;
    const { left } = this.#limits;
    if (price === undefined) {
      // Rounding may lift a child above its parent; the parent's bound holds for both.
      node.bound = Math.min(node.bound, first.objective);
      node.proof = { duals: first.rowDuals };
      return { node, point: first.point, basis: first.basis };
    }
    const rounds = this.#nodes === 1 ? ROOT_ROUNDS : NODE_ROUNDS;
    const { answer, bound, duals } = closeIn(first, {
      ...{ session, left, gap, rounds, cut: this.#cut },
      price: (at) => price(at, node.ranges),
    });
    if (bound < node.bound) {
      node.bound = bound;
      node.proof = { duals };
    }
    return { node, point: answer.point, basis: answer.basis };
  }

  /** Without a ray nothing is proven: the parent's proof stays. */
  #proveEmpty(node: SearchNode, ray: Float64Array | undefined): void {
    if (ray === undefined) {
      this.#isComplete = false;
      return;
    }
    node.bound = -Infinity;
    node.proof = { duals: node.proof?.duals, ray };
  }

  #apply(ranges: ReadonlyMap<number, ColumnRange>): void {
    const changes: ColumnRange[] = [];
    for (const column of this.#applied.keys()) {
      if (ranges.has(column)) continue;
      const decision = this.#byColumn.get(column);
      if (decision !== undefined) changes.push({ column, lower: decision.lower, upper: decision.upper });
    }
    for (const [column, range] of ranges) if (this.#applied.get(column) !== range) changes.push(range);
    this.#task.session.restrict(changes);
    this.#applied = ranges;
  }

  get #byColumn(): ReadonlyMap<number, Decision> {
    return (this.#columns ??= new Map(this.#task.decisions.map((decision) => [decision.column, decision])));
  }
  #columns: ReadonlyMap<number, Decision> | undefined;

  #isBeaten(node: SearchNode): boolean {
    return node.bound <= this.#cut;
  }

  get #cut(): number {
    return this.#best + this.#task.gap * Math.max(1, Math.abs(this.#best));
  }

  /** The open part with the best bound; undefined when none is worth opening, or nothing more may be done. */
  #next(): OpenPart | undefined {
    if (this.#isCut) return undefined;
    const part = this.#open.takeBest();
    if (part === undefined || !this.#isBeaten(part.node)) return part;
    this.#settle(part.node);
    return undefined;
  }

  #settle({ bound }: SearchNode): void {
    this.#settled = Math.max(this.#settled, bound);
  }

  #report(followed: OpenPart | undefined): void {
    const { onProgress } = this.#task;
    if (onProgress === undefined) return;
    const bound = Math.max(this.#best, this.#openBound(followed));
    onProgress({ objective: this.#best, bound, nodes: this.#nodes });
  }

  /** Bound of all parts but those that were taken from the open ones, other than `followed`. */
  #openBound(followed: OpenPart | undefined): number {
    const nodes = [followed?.node, this.#open.best?.node, ...this.#unsolved.keys()];
    return Math.max(this.#settled, ...nodes.map((node) => node?.bound ?? -Infinity));
  }
}
