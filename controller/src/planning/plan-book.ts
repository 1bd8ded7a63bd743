import type { PlanView } from '@fleetgate/shared/api/operations';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { PlanId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { BehaviorSubject, type Observable, Subject } from 'rxjs';

import { diffPlan } from './diff-plan.js';
import type { PlanRecord } from './plan-record.js';
import type { PlanStore } from './plan-store.js';
import { planView } from './plan-view.js';

export interface PlanBookParts {
  readonly plans: PlanStore;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The plans of a fleet and which one is in force. Anyone may read it; only the planner writes. */
export class PlanBook {
  readonly #parts: PlanBookParts;
  readonly #active = new BehaviorSubject<PlanRecord | undefined>(undefined);
  readonly #changed = new Subject<PlanRecord>();
  #records: readonly PlanRecord[] = [];

  constructor(parts: PlanBookParts) {
    this.#parts = parts;
  }

  /** Reads the kept plans, also such as another controller has kept meanwhile; the one that is in force is so here. */
  async load(): Promise<void> {
    const before = new Map(this.#records.map(({ id, state }) => [id, state]));
    this.#records = await this.#parts.plans.load();
    const active = this.#records.find(({ state }) => state === 'active');
    const isNews = active?.id !== this.active()?.id || active?.activatedAt !== this.active()?.activatedAt;
    if (active !== undefined && isNews) this.#active.next(active);
    if (before.size === 0) return;
    for (const record of this.#records) if (before.get(record.id) !== record.state) this.#changed.next(record);
  }

  /** The plan in force; undefined before the first. */
  active(): PlanRecord | undefined {
    return this.#active.value;
  }

  /** The plan in force, at once and after every change. */
  get active$(): Observable<PlanRecord | undefined> {
    return this.#active;
  }

  /** Every plan that was made or whose state changed. */
  get changes$(): Observable<PlanRecord> {
    return this.#changed;
  }

  /** Kept plans, newest first. */
  records(): readonly PlanRecord[] {
    return this.#records;
  }

  views(): readonly PlanView[] {
    return this.#records.map(planView);
  }

  /** Throws `plan.unknown`. */
  record(id: PlanId): PlanRecord {
    const record = this.#records.find((each) => each.id === id);
    if (record !== undefined) return record;
    throw new FleetError('plan.unknown', `there is no plan ${id}`, {
      hint: 'fleetgate plan show lists the kept plans',
    });
  }

  /** The plan that was in force before the present one. Throws `plan.unknown` when there is none. */
  previous(): PlanRecord {
    const [previous] = this.#records
      .filter(({ state, activatedAt }) => state === 'superseded' && activatedAt !== undefined)
      .toSorted((a, b) => (b.activatedAt ?? 0) - (a.activatedAt ?? 0));
    if (previous !== undefined) return previous;
    throw new FleetError('plan.unknown', 'there is no earlier plan to go back to');
  }

  /** Puts a plan in force in place of the present one. Rejects with what the store says, and then nothing has changed. */
  async activate(record: PlanRecord): Promise<PlanRecord> {
    const old = this.active();
    const active: PlanRecord = Object.freeze({ ...record, state: 'active', activatedAt: this.#parts.clock.now() });
    const superseded =
      old === undefined || old.id === record.id ? [] : [Object.freeze({ ...old, state: 'superseded' as const })];
    await this.keep([...superseded, active]);
    this.#active.next(active);
    const moves = diffPlan(old, active);
    this.#parts.log.info('plan.applied', {
      planId: active.id,
      trigger: active.trigger,
      status: active.solution.status,
      objective: active.solution.objective,
      devicesChanged: moves.length,
      loads: moves.reduce((total, { load }) => total + load.length, 0),
    });
    return active;
  }

  /** The store first: what is shown must outlive a crash. */
  async keep(records: readonly PlanRecord[]): Promise<void> {
    await this.#parts.plans.save(records);
    this.#records = await this.#parts.plans.load();
    for (const record of records) this.#changed.next(record);
  }
}
