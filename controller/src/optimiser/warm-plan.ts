/**
 * A plan that is kept warm, for what cannot wait for a new search: a device is gone, has joined, or rates have moved.
 *
 * Routing is solved again at once over the copies that are left. A new placement keeps the catalogue: devices and copies
 * are decided again from where their linear program ended; where that is not good enough the old copies are tried as well. Its bound costs no search either: the old certificate's prices bound any problem, and bound a
 * problem nearby nearly as well.
 */
import type { Certificate } from './certificate.js';
import { buildExactModel, type ExactModel } from './exact-model.js';
import { finished } from './finish-plan.js';
import type { PlacementPlan } from './plan.js';
import { exactPools, type Pooling, poolsLike } from './pools.js';
import type { PlacementProblem } from './problem.js';
import { fitting, realise, type Realised, routeOn } from './realise.js';
import { roundedPlacement } from './rounding.js';
import type { LinearEngine, WarmBasis } from './solver.js';
import { boundColumns } from './bound-columns.js';
import { verifyBound } from './verify-bound.js';

interface Warm {
  readonly problem: PlacementProblem;
  readonly plan: PlacementPlan;
  readonly certificate: Certificate;
  readonly pooling: Pooling;
  readonly catalogue: ReadonlySet<number>;
  readonly routing: WarmBasis | undefined;
  readonly counts: WarmBasis | undefined;
}

export class WarmPlan {
  readonly #engine: LinearEngine;
  #warm: Warm;

  private constructor(engine: LinearEngine, warm: Warm) {
    this.#engine = engine;
    this.#warm = warm;
  }

  /** Undefined for a plan without placement or certificate, and for fleets in which devices differ one by one. */
  static of(problem: PlacementProblem, plan: PlacementPlan, engine: LinearEngine): WarmPlan | undefined {
    const { certificate } = plan;
    if (plan.objective === null || certificate === undefined) return undefined;
    const pooling = exactPools(problem);
    if (pooling.poolOf.some((u, d) => certificate.pools[d] !== u)) return undefined;
    const catalogue = new Set(plan.placement.map(([, v]) => v));
    const routing = routeOn(problem, plan, engine, pooling.poolOf)?.basis;
    const counts = solveCounts(engine, modelOf(pooling.problem, catalogue), undefined)?.basis;
    return new WarmPlan(engine, { problem, plan, certificate, pooling, catalogue, routing, counts });
  }

  /** The best routing over the copies on all devices but the lost ones; undefined when some bound cannot be kept so. */
  reroute(lost: ReadonlySet<number>): Realised | undefined {
    const { problem, plan, pooling, routing } = this.#warm;
    const { modes } = plan;
    const hosting = {
      placement: plan.placement.filter(([d]) => !lost.has(d)),
      poweredOn: plan.poweredOn.filter(([d]) => !lost.has(d)),
      ...(modes === undefined ? {} : { modes: modes.filter(([d]) => !lost.has(d)) }),
    };
    return routeOn(problem, hosting, this.#engine, pooling.poolOf, { basis: routing });
  }

  /**
   * A plan with the same catalogue for a problem nearby, with its certified gap, which is more than `gap` only where
   * nothing better was found (0: the best of both ways); the next call starts from it. Undefined where the fleet has a kind of device that it had
   * not, or no placement was found: then search.
   */
  replan(problem: PlacementProblem, gap = 0): PlacementPlan | undefined {
    const { pooling, catalogue, certificate, counts, routing, problem: before, plan: last } = this.#warm;
    const pools = poolsLike(problem, pooling, before);
    if (pools === undefined) return undefined;
    const model = modelOf(pools.problem, catalogue);
    const solved = solveCounts(this.#engine, model, counts);
    if (solved === undefined) return undefined;
    const moved = { pools: pools.poolOf, tree: certificate.tree };
    // Checked on the pools, which takes a fiftieth of the time: their bound is the devices' as they are equal.
    const whole = { pools: pools.members.map((_, u) => u), tree: certificate.tree };
    const proven = verifyBound(boundColumns(pools.problem, whole.pools), whole);
    const rounded = roundedPlacement(pools.problem, model, solved.point);
    let best = realise(problem, pools, this.#engine, rounded, routing);
    if (best === undefined || !isWithin(gap, best, proven.bound)) {
      const hosting = keptHosting(before, last, problem);
      const kept = routeOn(problem, hosting, this.#engine, pools.poolOf, { basis: routing });
      if (kept !== undefined && kept.check.objective > (best?.check.objective ?? -Infinity)) best = kept;
    }
    if (best === undefined) return undefined;
    const proof = { certificate: moved, proven, method: 'warm', isTimedOut: false, nodes: 1, notes: [] };
    const plan = finished(problem, best, proof, undefined);
    this.#warm = {
      ...{ problem, plan, certificate: moved, pooling: pools, catalogue },
      ...{ routing: best.basis, counts: solved.basis },
    };
    return plan;
  }
}

const isWithin = (gap: number, { check: { objective } }: Realised, bound: number): boolean =>
  bound - objective <= gap * Math.max(1, Math.abs(objective));

/** What devices that are still there hold, by their names. */
function keptHosting(before: PlacementProblem, { placement, poweredOn, modes }: PlacementPlan, now: PlacementProblem) {
  const places = new Map(now.devices.map(({ id }, d) => [id, d]));
  const place = (d: number) => places.get(before.devices[d]?.id ?? '');
  const kept = <Rest extends readonly number[]>(entries: readonly (readonly [number, ...Rest])[]) =>
    entries.flatMap(([d, ...rest]) => {
      const own = place(d);
      return own === undefined ? [] : [[own, ...rest] as [number, ...Rest]];
    });
  const hosting = { placement: kept(placement), poweredOn: kept(poweredOn) };
  return modes === undefined ? hosting : { ...hosting, modes: kept(modes) };
}

function modelOf(pooled: PlacementProblem, catalogue: ReadonlySet<number>): ExactModel {
  return buildExactModel({
    ...pooled,
    arcs: pooled.arcs.filter(({ v }) => catalogue.has(v)),
    budgets: { ...pooled.budgets, maxVariants: null },
  });
}

function solveCounts(engine: LinearEngine, model: ExactModel, basis: WarmBasis | undefined) {
  const session = engine.open(model.program);
  try {
    const answer = session.solve(10, fitting(basis, model.program));
    return answer.status === 'optimal' ? answer : undefined;
  } finally {
    session.close();
  }
}
