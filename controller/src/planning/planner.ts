/**
 * The slow loop: looks at the fleet, decides when to plan, has it solved, verifies the answer against the newest fleet
 * and puts it in force. The only writer of plans (`PlanBook`) and budgets; nothing here talks to a device.
 */
import { isDeepStrictEqual } from 'node:util';

import type { Budgets } from '@fleetgate/shared/api/operations';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { PlanId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Random } from '@fleetgate/shared/random';
import { after, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';
import { BehaviorSubject, type Observable } from 'rxjs';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { FleetSnapshot } from '../fleet/device.js';
import type { Gate } from '../gating/gate.js';
import type { PlanExplanation } from '../optimiser/explain-plan.js';
import type { CostEstimator } from '../telemetry/cost.js';
import type { WorkloadEstimator } from '../telemetry/workload-model.js';
import { buildProblem, type ProblemFacts } from './build-problem.js';
import { DEFAULT_BUDGETS, parseBudgets } from './budgets.js';
import type { BudgetStore } from './budget-store.js';
import { circumstancesOf } from './circumstances.js';
import type { Demand } from './demand.js';
import { explainQuestion, type ExplainRequest } from './explain-request.js';
import type { PlacementOptimiser } from './placement-optimiser.js';
import { PlanBook } from './plan-book.js';
import { neededPairs, placementsOf, type PlanRecord } from './plan-record.js';
import type { PlanStore } from './plan-store.js';
import { hasWork, proposePlan, withoutFloors } from './propose-plan.js';
import { measurementsAwaited } from './readiness.js';
import type { Trigger } from './replan-trigger.js';
import { ReplanWatch } from './replan-watch.js';
import { planFaults } from './verify-plan.js';

const LOOK = milliseconds(1000);
/** After the solver broke down. */
const RETRY = milliseconds(30_000);
/** After the fleet changed under every attempt. */
const SETTLE = milliseconds(3000);
/** The fleet may change while a plan is solved; then it is solved again. */
const MOST_TRIES = 3;
const MOST_WAITING = 16;
/** The optimiser does one thing at a time, and plans matter more than reasons. */
const EXPLAIN_LIMITS = { timeLimitS: 10 };

export interface PlannerParts {
  readonly fleet: { snapshot(): FleetSnapshot };
  readonly catalogue: () => Catalogue;
  /** Undefined while none is trained: then there are no classes to plan for. */
  readonly gate: () => Gate | undefined;
  readonly costs: CostEstimator;
  readonly workloads: WorkloadEstimator;
  readonly demand: Demand;
  readonly plans: PlanStore;
  readonly budgets: BudgetStore;
  readonly optimiser: PlacementOptimiser;
  /** Whether plans are made here by themselves; absent: they are. What a person asks for is done anywhere. */
  readonly leads?: () => boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export class Planner {
  readonly plans: PlanBook;
  readonly #parts: PlannerParts;
  readonly #budgetsChanged = new BehaviorSubject<Budgets>(DEFAULT_BUDGETS);
  #watch: ReplanWatch;
  #notBefore: UnixMs;
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #isLooking = false;
  #isStopped = false;
  #stop: () => void = () => {};

  constructor(parts: PlannerParts) {
    this.#parts = parts;
    this.plans = new PlanBook(parts);
    this.#notBefore = parts.clock.now();
    this.#watch = new ReplanWatch(this.#notBefore, undefined);
  }

  /** Reads plans and budgets back and begins to look; the plan that was in force stays so. */
  async start(): Promise<void> {
    const { clock } = this.#parts;
    await this.#load();
    this.#stop = clock.every(LOOK, () => this.#look());
    this.#look();
  }

  /** Takes up what another controller has planned or was told. Rejects with `store.unavailable`. */
  reload(): Promise<void> {
    return this.#exclusively(() => this.#load());
  }

  async #load(): Promise<void> {
    const { budgets, clock } = this.#parts;
    const active = this.plans.active();
    await this.plans.load();
    const kept = (await budgets.load()) ?? DEFAULT_BUDGETS;
    if (!isDeepStrictEqual(kept, this.budgets())) this.#budgetsChanged.next(kept);
    const now = this.plans.active();
    if (active === undefined || active.id !== now?.id) this.#watch = new ReplanWatch(clock.now(), now?.circumstances);
  }

  /**
   * Stops looking and waits for what is being solved; what comes of that is dropped, for the fleet may be going as well. The
   * optimiser is its owner's to close.
   */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#stop();
    this.#stop = () => {};
    await this.#turn;
  }

  budgets(): Budgets {
    return this.#budgetsChanged.value;
  }

  get budgets$(): Observable<Budgets> {
    return this.#budgetsChanged;
  }

  /** Sets the budgets for good; a new plan follows if they call for one. Throws `budget.invalid`. */
  async setBudgets(value: unknown): Promise<Budgets> {
    const budgets = parseBudgets(value);
    await this.#parts.budgets.save(budgets);
    this.#budgetsChanged.next(budgets);
    this.#look();
    return budgets;
  }

  /**
   * Makes a plan and puts nothing in force: `proposed`, or `rejected` with the conflict. `budgets` asks what-if. Rejects
   * with `dispatch.no-plan` while there is nothing to plan for, `solver.failed` and `solver.timeout`.
   */
  propose(trigger: string, budgets?: Budgets): Promise<PlanRecord> {
    return this.#exclusively(async () => {
      const facts = this.#facts(budgets);
      if (facts === undefined || !hasWork(buildProblem(facts))) {
        throw new FleetError(
          'dispatch.no-plan',
          'there is nothing to plan with: no trained gate, or no device that could host an expert',
          {
            retryable: true,
            hint: 'fleetgate devices shows what each device is doing',
          },
        );
      }
      const record = await this.#propose(facts, undefined, trigger);
      await this.plans.keep([record]);
      return record;
    });
  }

  /**
   * What is asked about a plan, as far as solving again tells in ten seconds; the next plan waits for it. Throws
   * `plan.unknown` and `request.invalid`; rejects with `solver.failed` and `solver.timeout`.
   */
  async explain(id: PlanId, request: ExplainRequest): Promise<PlanExplanation> {
    const record = this.plans.record(id);
    const asked = explainQuestion(record, request);
    const { problem, solution: plan } = record;
    return this.#parts.optimiser.explain({ kind: 'explain', problem, plan, asked, limits: EXPLAIN_LIMITS });
  }

  /** Puts a proposed or superseded plan in force. Throws `plan.unknown`, `plan.infeasible` (rejected) or `plan.stale`. */
  apply(id: PlanId): Promise<PlanRecord> {
    return this.#exclusively(() => this.#apply(this.plans.record(id)));
  }

  /** Puts the plan in force again that was before this one. Throws `plan.unknown` when there is none, or `plan.stale`. */
  rollback(): Promise<PlanRecord> {
    return this.#exclusively(() => this.#apply(this.plans.previous()));
  }

  async #apply(record: PlanRecord): Promise<PlanRecord> {
    if (record.state === 'active') return record;
    if (record.state === 'rejected') {
      throw new FleetError(
        'plan.infeasible',
        `plan ${record.id} was rejected: ${record.solution.explanation[0] ?? ''}`,
        {
          hint: record.solution.relaxations?.map(({ text }) => text).join('; ') ?? 'propose a new one',
        },
      );
    }
    const faults = planFaults(record, this.#parts.fleet.snapshot(), this.#parts.catalogue());
    if (faults.length > 0) {
      throw new FleetError('plan.stale', `plan ${record.id} no longer fits the fleet: ${faults.join('; ')}`, {
        hint: 'propose a new one',
      });
    }
    const active = await this.plans.activate(record);
    const facts = this.#facts();
    // A person chose this plan: only what changes from here on calls for another.
    if (facts !== undefined) this.#watch.considered(circumstancesOf(facts), this.#parts.clock.now());
    return active;
  }

  /** One look at a time; a look that is due meanwhile is made by the next tick. */
  #look(): void {
    if (this.#isLooking) return;
    const due = this.#due();
    if (due === undefined) return;
    this.#isLooking = true;
    void this.#exclusively(() => this.#replan(due))
      .catch((error: unknown) => {
        this.#notBefore = after(this.#parts.clock.now(), RETRY);
        this.#parts.log.error('plan.failed', {
          trigger: due.text,
          code: isFleetError(error) ? error.code : 'internal.invariant',
          message: messageOf(error),
        });
      })
      .finally(() => {
        this.#isLooking = false;
      });
  }

  /** The reason to plan right now, if any. */
  #due(): Trigger | undefined {
    const now = this.#parts.clock.now();
    const facts = this.#facts();
    const mayPlan = !this.#isStopped && this.#parts.leads?.() !== false;
    if (!mayPlan || facts === undefined || now < this.#notBefore) return undefined;
    if (this.plans.active() === undefined && !hasWork(buildProblem(facts))) return undefined;
    return this.#watch.due({
      now,
      circumstances: circumstancesOf(facts),
      placed: neededPairs(this.plans.active()),
      awaited: measurementsAwaited(facts.fleet, facts.catalogue),
    });
  }

  async #replan(first: Trigger): Promise<void> {
    let trigger: Trigger | undefined = first;
    for (let attempt = 1; attempt <= MOST_TRIES; attempt++) {
      const facts = this.#facts();
      if (facts === undefined) return;
      const considered = circumstancesOf(facts);
      const record = await this.#proposeOrServeLess(facts, trigger);
      if (this.#isStopped) return;
      if (record.state === 'rejected') {
        await this.plans.keep([record]);
        this.#parts.log.warn('plan.rejected', {
          planId: record.id,
          trigger: trigger.text,
          reason: record.solution.explanation[0],
        });
        this.#watch.considered(considered, this.#parts.clock.now());
        return;
      }
      const faults = planFaults(record, this.#parts.fleet.snapshot(), this.#parts.catalogue());
      if (faults.length === 0) {
        await this.plans.activate(record);
        this.#watch.considered(considered, this.#parts.clock.now());
        return;
      }
      this.#parts.log.info('plan.stale', { attempt, faults });
      // A device has left: the reason may be gone with it, or wait a moment until it is back.
      trigger = this.#due();
      if (trigger === undefined) return;
    }
    // The fleet does not hold still; look again when it has had a moment.
    this.#notBefore = after(this.#parts.clock.now(), SETTLE);
  }

  /**
   * Floors that a person asks too much of leave the old plan in force, with the conflict told. Where nobody asked, but more
   * is in demand, answers cost more or a device has gone, serving less than the floors is better than a plan for what was.
   */
  async #proposeOrServeLess(facts: ProblemFacts, trigger: Trigger): Promise<PlanRecord> {
    const old = this.plans.active();
    const proposal = await this.#propose(facts, old, trigger.text);
    if (proposal.state !== 'rejected' || proposal.solution.status !== 'infeasible') return proposal;
    const isOldUsable = old !== undefined && planFaults(old, facts.fleet, facts.catalogue).length === 0;
    const isAsked = trigger.kind === 'budget-changed';
    if ((isOldUsable && isAsked) || !hasWork(proposal.problem)) return proposal;
    const text = `${trigger.text}; served share and replicas given up`;
    const less = await this.#propose(withoutFloors(facts), isOldUsable ? old : undefined, text);
    if (this.#isStopped || less.state === 'rejected' || less.solution.placement.length === 0) return proposal;
    await this.plans.keep([proposal]);
    return less;
  }

  #propose(facts: ProblemFacts, old: PlanRecord | undefined, trigger: string): Promise<PlanRecord> {
    return proposePlan(this.#parts, facts, old, trigger, this.#parts.clock.now());
  }

  /** Undefined while there is no gate. */
  #facts(budgets: Budgets = this.budgets()): ProblemFacts | undefined {
    const { fleet, catalogue, gate, costs, workloads, demand, clock } = this.#parts;
    const trained = gate();
    if (trained === undefined || trained.classes.length === 0) return undefined;
    const active = this.plans.active();
    return {
      fleet: fleet.snapshot(),
      catalogue: catalogue(),
      gate: trained,
      costs,
      workloads,
      demand: demand.rates(trained.classes, clock.now()),
      budgets,
      placed: active === undefined ? new Map() : placementsOf(active),
    };
  }

  /** Everything that changes plans happens one after the other. */
  #exclusively<T>(work: () => Promise<T> | T): Promise<T> {
    if (this.#waiting >= MOST_WAITING) {
      const message = `${this.#waiting} planning requests are waiting`;
      return Promise.reject(
        new FleetError('solver.failed', message, { retryable: true, hint: 'try again in a moment' }),
      );
    }
    this.#waiting++;
    const result = this.#turn.then(work).finally(() => this.#waiting--);
    this.#turn = result.catch(() => {});
    return result;
  }
}
