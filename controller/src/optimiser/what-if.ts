import type { Clock } from '@fleetgate/shared/clock';
import { elapsed, type UnixMs } from '@fleetgate/shared/units/quantity';

import { applyRepair } from './bound-change.js';
import { findConflict } from './conflict.js';
import { buildExactModel } from './exact-model.js';
import { exactAnswer, INFEASIBLE, type Outcome } from './exact-answer.js';
import { optimise, type OptimiseLimits } from './optimise.js';
import { route } from './route.js';
import type { Placement } from './placement.js';
import type { ConstraintGroup } from './plan.js';
import type { PlacementProblem } from './problem.js';
import { findRepair } from './repair.js';
import { buildRoutingModel } from './routing-lp.js';
import { type RowPrices, rowPrices } from './routing-prices.js';
import type { Solvers } from './solver.js';

export interface WhatIfParts {
  readonly solvers: Solvers;
  readonly clock: Clock;
  /** For all questions together. */
  readonly timeLimitS: number;
  /** For each question. */
  readonly stepLimitS: number;
}

/** Finer than what is shown, coarse enough not to spend the time on the last digit. */
const GAP = 1e-6;
/** Times the limit of one question, for one that others build on. */
const PATIENCE = 4;

interface Asked extends Pick<OptimiseLimits, 'tieBreak'> {
  readonly mayFail?: boolean;
  /** Others build on this question, so it may take longer. */
  readonly isPatient?: boolean;
}

/** Asks the optimiser about changed problems, all under one deadline. */
export class WhatIf {
  readonly #parts: WhatIfParts;
  readonly #started: UnixMs;

  constructor(parts: WhatIfParts) {
    this.#parts = parts;
    this.#started = parts.clock.now();
  }

  get isOver(): boolean {
    return this.#leftS() <= 0;
  }

  /**
   * The best plan of a changed problem, as far as the time for one question goes; undefined when all time is spent. What
   * may well be infeasible is checked for that before the optimiser is
   * asked: nobody wants to know why here, and it would go on to explain it.
   */
  async best(
    problem: PlacementProblem,
    { mayFail = false, isPatient = false, ...more }: Asked = {},
  ): Promise<Outcome | undefined> {
    if (this.isOver) return undefined;
    const timeLimitS = Math.min((isPatient ? PATIENCE : 1) * this.#parts.stepLimitS, this.#leftS());
    const limits = { timeLimitS, gap: GAP };
    const exact = await exactAnswer(problem, this.#parts.solvers.exact, limits, more.tieBreak);
    if (exact !== undefined) return exact;
    if (mayFail && (await this.isFeasible(problem)) === false) return INFEASIBLE;
    // No second opinions: what is asked here is never put in force.
    const { tiny: _, ...solvers } = this.#parts.solvers;
    // What was asked first has taken of the time of all.
    const left = Math.min(timeLimitS, this.#leftS());
    if (left <= 0) return undefined;
    return optimise(problem, { ...limits, timeLimitS: left, method: 'auto', ...more }, solvers, this.#parts.clock);
  }

  /** The best routing of a placement in a changed problem: its objective, null when the placement does not fit any more. */
  async kept(problem: PlacementProblem, placement: Omit<Placement, 'routing'>): Promise<number | null | undefined> {
    if (this.isOver) return undefined;
    const { solvers, stepLimitS, clock } = this.#parts;
    const limits = { timeLimitS: Math.min(stepLimitS, this.#leftS()), gap: GAP, method: 'auto' } as const;
    return (await route(problem, placement, limits, { exact: solvers.exact }, clock)).objective;
  }

  /** Duals of the routing of a placement that is kept, by name of row; undefined when there are none. */
  async rowPrices(problem: PlacementProblem, placement: Omit<Placement, 'routing'>): Promise<RowPrices | undefined> {
    if (this.isOver) return undefined;
    const model = buildRoutingModel(problem, placement);
    const answer = await this.#parts.solvers.exact.solve(model.program, {
      timeLimitS: Math.min(this.#parts.stepLimitS, this.#leftS()),
      gap: 0,
    });
    const duals = answer.status === 'optimal' ? answer.rowDuals : undefined;
    return duals === undefined ? undefined : rowPrices(model, duals);
  }

  /** Groups that cannot hold together, of an infeasible problem. */
  async conflict(problem: PlacementProblem): Promise<readonly ConstraintGroup[]> {
    if (this.isOver) return [];
    const limits = { timeLimitS: Math.min(this.#parts.stepLimitS, this.#leftS()) / 4, gap: GAP };
    return (await findConflict(problem, this.#parts.solvers.exact, limits)).groups;
  }

  /** Whether any plan meets the bounds; undefined when time ran out. */
  async isFeasible(problem: PlacementProblem): Promise<boolean | undefined> {
    if (this.isOver) return undefined;
    const { program } = buildExactModel(problem, { elastic: new Set() });
    const timeLimitS = Math.min(this.#parts.stepLimitS, this.#leftS());
    const { status } = await this.#parts.solvers.exact.solve(program, { timeLimitS, gap: GAP });
    if (status === 'infeasible') return false;
    return status === 'optimal' || status === 'feasible' ? true : undefined;
  }

  /** The problem with the bounds of one group moved as little as makes it feasible; undefined when none was found. */
  async repaired(problem: PlacementProblem, group: ConstraintGroup): Promise<PlacementProblem | undefined> {
    if (this.isOver) return undefined;
    const limits = { timeLimitS: Math.min(PATIENCE * this.#parts.stepLimitS, this.#leftS()), gap: GAP };
    const repair = await findRepair(problem, new Set([group]), this.#parts.solvers.exact, limits);
    return repair === undefined ? undefined : applyRepair(problem, repair);
  }

  #leftS(): number {
    return this.#parts.timeLimitS - elapsed(this.#started, this.#parts.clock.now()) / 1000;
  }
}
