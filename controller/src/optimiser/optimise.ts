/**
 * Entry of the optimiser: problem in, verified plan out. Never throws for a hard or infeasible problem.
 */
import { type Clock, systemClock } from '@fleetgate/shared/clock';
import { messageOf } from '@fleetgate/shared/errors';
import { elapsed } from '@fleetgate/shared/units/quantity';

import { DeadlineSolver } from './deadline-solver.js';
import { explainInfeasible } from './explain-infeasible.js';
import { explainLargeInfeasible } from './explain-infeasible-large.js';
import { finished, type Found, withoutPlan } from './finish-plan.js';
import { leastPower } from './least-power.js';
import { milpPlacement } from './milp-placement.js';
import type { Placement } from './placement.js';
import type { PlacementPlan } from './plan.js';
import { type PlacementSearch, searchPlacement } from './placement-search.js';
import { exactPools, identicalDevices, noPools, type Pooling } from './pools.js';
import { quantilePools } from './quantile-pools.js';
import type { PlacementProblem } from './problem.js';
import type { SolveProgress } from './progress.js';
import { FREE_PRICES, NO_PRICES } from './prices.js';
import type { Certificate } from './certificate.js';
import { certify } from './certify.js';
import type { SearchTree } from './search-tree.js';
import { secondOpinion } from './second-opinion.js';
import type { LinearEngine, Solvers } from './solver.js';
import { verifyPlacement } from './verify.js';
import { boundColumns } from './bound-columns.js';
import { partBound, verifyBound } from './verify-bound.js';

export interface OptimiseLimits {
  readonly timeLimitS: number;
  /** Relative gap at which to stop; absent: `defaultGap` of the fleet's size. */
  readonly gap?: number;
  /**
   * `monotonic`: branching on the catalogue, then on copies. `milp`: a mixed-integer solver finds the placement,
   * branching proves it. `heuristic`: what a first look finds, with the bound that it leaves. `auto`: monotonic.
   */
  readonly method: 'auto' | 'monotonic' | 'milp' | 'heuristic';
  /** Of equally good placements take the one that draws the least power. Costs a second solve. */
  readonly tieBreak?: 'least-power';
  readonly onProgress?: (progress: SolveProgress) => void;
}

/** Fleets of fewer devices have real integrality gaps, and close them in time. */
const SMALL_FLEET = 30;

/** Measured figures carry about 1 % of noise: a fleet's plan is good when it is within a hundredth of that. */
function defaultGap(problem: PlacementProblem, { isExact }: Pooling): number {
  const devices = problem.devices.reduce((sum, { count = 1 }) => sum + count, 0);
  return devices < SMALL_FLEET ? 1e-7 : isExact ? 1e-4 : 1e-3;
}

/** Solves, verifies, prices and explains. The answer's bound is never below its objective. */
export async function optimise(
  problem: PlacementProblem,
  limits: OptimiseLimits,
  solvers: Solvers,
  clock: Clock = systemClock,
): Promise<PlacementPlan> {
  const started = clock.now();
  const seconds = () => elapsed(started, clock.now()) / 1000;
  const run: Run = { problem, limits, solvers, seconds, left: () => limits.timeLimitS - seconds() };
  const plan = await solve(run);
  return { ...plan, seconds: seconds() };
}

interface Run {
  readonly problem: PlacementProblem;
  readonly limits: OptimiseLimits;
  readonly solvers: Solvers;
  readonly seconds: () => number;
  readonly left: () => number;
}

async function solve(run: Run): Promise<PlacementPlan> {
  const { problem, solvers } = run;
  if (problem.arcs.length === 0) return nothingToRoute(run);
  let engine: LinearEngine | undefined;
  let reason = `${solvers.exact.name} keeps no programs warm`;
  try {
    engine = await solvers.exact.engine?.();
  } catch (error) {
    reason = messageOf(error);
  }
  if (engine === undefined) return withoutEngine(run, reason);
  const pooling = poolsFor(problem);
  const found = await search(run, engine, pooling);
  const last = isLost(problem, found) ? await search(run, engine, noPools(problem)) : found;
  return conclude(run, engine, last.pooling, last.search, last.notes);
}

/**
 * Whether pools led nowhere, and devices have to be searched one by one: pools are a relaxation where a device holds
 * several variants, and what one device can do the mean of those that differ may not.
 */
function isLost(
  problem: PlacementProblem,
  { search: { best, isClosed, tree, bound }, pooling }: Awaited<ReturnType<typeof search>>,
): boolean {
  if (best !== undefined || !isClosed || tree === undefined) return false;
  return bound > -Infinity || !isEmpty(problem, certified(problem, pooling, tree));
}

/** More kinds of devices than this are pooled by likeness. */
const MOST_EXACT_POOLS = 64;
/** Pools of like devices: the fewer devices, the more a mean of them loses. */
const quantiles = (kinds: number): number => (kinds <= 300 ? 40 : 24);

function poolsFor(problem: PlacementProblem): Pooling {
  const kinds = identicalDevices(problem).members.length;
  return kinds <= MOST_EXACT_POOLS ? exactPools(problem) : quantilePools(problem, quantiles(kinds));
}

async function search(run: Run, engine: LinearEngine, pooling: Pooling) {
  const { problem, limits, solvers } = run;
  const gap = limits.gap ?? defaultGap(problem, pooling);
  const notes: string[] = [];
  const start =
    limits.method === 'milp'
      ? await milpPlacement(problem, pooling, engine, solvers, { timeLimitS: run.left() / 2, gap }, notes)
      : undefined;
  const effort = {
    gap,
    left: () => run.left() - CHECK_SHARE * limits.timeLimitS,
    mostNodes: MOST_NODES,
    effort: limits.method === 'heuristic' ? 'look' : 'full',
  } as const;
  const report = (progress: { objective: number; bound: number; nodes: number }) => {
    const objective = Number.isFinite(progress.objective) ? progress.objective : null;
    const bound = Number.isFinite(progress.bound) ? progress.bound : null;
    const gapNow = objective === null || bound === null ? null : (bound - objective) / Math.max(1, Math.abs(objective));
    limits.onProgress?.({
      seconds: run.seconds(),
      objective,
      bound,
      gap: gapNow,
      nodes: progress.nodes,
      stage: 'branching',
    });
  };
  return { search: searchPlacement(problem, pooling, engine, effort, report, start), pooling, notes };
}

/** Share of the time that the checker takes for a large tree. */
const CHECK_SHARE = 0.04;
/** Their leaves are kept: this many fit into memory. */
const MOST_NODES = 50_000;

async function conclude(
  run: Run,
  engine: LinearEngine,
  pooling: Pooling,
  result: PlacementSearch,
  notes: readonly string[],
): Promise<PlacementPlan> {
  const { problem, limits } = run;
  const certificate = result.tree === undefined ? undefined : certified(problem, pooling, result.tree);
  const found: Found = {
    certificate,
    method: methodName(run),
    isTimedOut: !result.isClosed && limits.method !== 'heuristic',
    nodes: result.nodes,
    notes,
  };
  if (result.best === undefined && hasNoPlacement(problem, result, certificate)) return infeasible(run, found, pooling);
  const second = await secondOpinion(problem, run.solvers, Math.max(0.1, run.left()));
  let best = result.best ?? (second === undefined ? undefined : { ...second, prices: NO_PRICES });
  if (best === undefined) {
    return withoutPlan(problem, found, [
      run.left() > 0
        ? 'No placement was found, nor proven that there is none, and time was left: the figures lie too far apart for the solver. Check their units.'
        : `No placement was found within ${limits.timeLimitS} s. Give more time, or fewer devices, variants or classes.`,
    ]);
  }
  if (limits.tieBreak === 'least-power')
    best = await leastPower(problem, pooling, engine, run.solvers.exact, best, run.left());
  return finished(problem, best, found, second);
}

function certified(problem: PlacementProblem, { poolOf, problem: pooled }: Pooling, tree: SearchTree) {
  const columns = boundColumns(problem, poolOf);
  return certify(tree, {
    pools: poolOf,
    capacityOf: (u) => pooled.devices[u]?.maxUtil ?? 1,
    emptySum: (prices, domain) => partBound(columns, prices, domain, 0),
  });
}

/** No placement at all: every part of the tree is empty, and the checker agrees. */
function hasNoPlacement(
  problem: PlacementProblem,
  result: PlacementSearch,
  certificate: Certificate | undefined,
): boolean {
  return result.isClosed && result.bound === -Infinity && isEmpty(problem, certificate);
}

const isEmpty = (problem: PlacementProblem, certificate: Certificate | undefined): boolean =>
  certificate !== undefined && verifyBound(boundColumns(problem, certificate.pools), certificate).bound === -Infinity;

function methodName({ limits, solvers }: Run): string {
  if (limits.method === 'milp') return `milp/${solvers.exact.name}, proven by branching`;
  return `${limits.method === 'heuristic' ? 'heuristic' : 'monotonic'}/${solvers.exact.name}`;
}

/** Without a single arc nothing can be served: the empty plan, if no floor forbids it. */
async function nothingToRoute(run: Run): Promise<PlacementPlan> {
  const { problem } = run;
  const placement: Placement = { placement: [], poweredOn: [], routing: [] };
  const check = verifyPlacement(problem, placement);
  const certificate = { pools: problem.devices.map((_, d) => d), tree: { prices: {} } };
  const found: Found = { certificate, method: 'none', isTimedOut: false, nodes: 0, notes: [] };
  if (!check.ok) return infeasible(run, { ...found, certificate: undefined });
  return finished(problem, { placement, prices: FREE_PRICES, check }, found, undefined);
}

/** The exact solver is gone: what javascript-lp-solver makes of a tiny problem is better than nothing, and proves nothing. */
async function withoutEngine(run: Run, reason: string): Promise<PlacementPlan> {
  const { problem } = run;
  const notes = [`The exact solver gave no answer (${reason}).`];
  const second = await secondOpinion(problem, run.solvers, run.left());
  const found: Found = {
    certificate: undefined,
    method: 'milp/javascript-lp-solver',
    isTimedOut: true,
    nodes: 0,
    notes,
  };
  if (second === undefined) return withoutPlan(problem, found, []);
  return finished(problem, { ...second, prices: NO_PRICES }, found, undefined);
}

async function infeasible(run: Run, found: Found, pooling = exactPools(run.problem)): Promise<PlacementPlan> {
  const { problem, solvers } = run;
  // To say why is worth a second even where the proof took all the time.
  const until = run.seconds() + Math.max(1, run.left());
  const left = () => until - run.seconds();
  const atMost = (seconds: number) => {
    const end = Math.min(until, run.seconds() + seconds);
    return () => end - run.seconds();
  };
  const limits = { timeLimitS: left() / 4, gap: 1e-4 };
  const exact = new DeadlineSolver(solvers.exact, left);
  const tiny = solvers.tiny === undefined ? {} : { tiny: new DeadlineSolver(solvers.tiny, left) };
  const nothing = withoutPlan(problem, found, []);
  const isSmall = problem.arcs.length <= SMALL_ARCS && problem.devices.length < MOST_EXACT_POOLS;
  const engine = isSmall ? undefined : await solvers.exact.engine?.();
  const why =
    engine === undefined
      ? await explainInfeasible(problem, { exact, ...tiny }, limits)
      : await explainLargeInfeasible(pooling.problem, exact, limits, (changed) =>
          hasPlacement(changed, engine, atMost(limits.timeLimitS)),
        );
  const isCut = exact.isCut || left() <= 0;
  const explanation = [...why.explanation, ...(isCut ? [OUT_OF_TIME] : [])];
  return { ...nothing, status: 'infeasible', bound: null, ...why, explanation };
}

const OUT_OF_TIME =
  'Time was over before everything was tried: more time may find more ways out, and fewer bounds in conflict.';

/** Whether a first dive finds a placement; it ends after so many solves, or when no time is left. */
function hasPlacement(problem: PlacementProblem, engine: LinearEngine, timeLeft: () => number): boolean {
  let calls = 0;
  const mostNodes = feasibleNodes(problem);
  const left = () => (calls++ < mostNodes ? timeLeft() : 0);
  const effort = { gap: 1, left, mostNodes, effort: 'full' } as const;
  return searchPlacement(problem, noPools(problem), engine, effort, () => {}).best !== undefined;
}

/** Arcs up to which mixed-integer programs explain an infeasible problem. */
const SMALL_ARCS = 1000;
/** Nodes that a look for any placement may take. */
const feasibleNodes = (problem: PlacementProblem): number => (problem.arcs.length <= 3000 ? 2000 : 800);
