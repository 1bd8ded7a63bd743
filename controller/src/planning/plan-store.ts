import { FleetError } from '@fleetgate/shared/errors';
import type { PlanId } from '@fleetgate/shared/ids';

import type { PlanRecord } from './plan-record.js';

/** Plans that are kept besides the active one; the oldest go first. */
export interface KeptPlans {
  readonly most: number;
  /** Of their documents together, which have about 10,000 for each device: kept plans are in memory, too. */
  readonly mostCharacters: number;
}

export const KEPT_PLANS: KeptPlans = Object.freeze({ most: 50, mostCharacters: 16 * 2 ** 20 });
/** Kept whatever they weigh: one to go back to, and what was proposed since. */
export const LEAST_PLANS = 4;

/** Where plans rest. One writer, the planner. */
export interface PlanStore {
  /** All kept plans, newest first. */
  load(): Promise<readonly PlanRecord[]>;
  /** Adds or replaces plans, all or none, then forgets the oldest that are too many, or too large together; never the active one. */
  save(records: readonly PlanRecord[]): Promise<void>;
}

/** Plans by id, newest first; of one instant, the one saved later comes first. */
export function newestFirst(records: Iterable<PlanRecord>): PlanRecord[] {
  return [...records].toReversed().sort((a, b) => b.createdAt - a.createdAt);
}

/** All of a plan that is large. */
export function documentOf({ budgets, problem, solution, circumstances }: PlanRecord): string {
  return JSON.stringify({ budgets, problem, solution, circumstances });
}

/** In memory: for tests, with the same contract. */
export class MemoryPlanStore implements PlanStore {
  readonly #kept: KeptPlans;
  #records = new Map<PlanId, PlanRecord>();
  readonly #characters = new Map<PlanId, number>();
  /** Makes the next save fail, as a full disk would. */
  failNextSave = false;

  constructor(kept = KEPT_PLANS) {
    this.#kept = kept;
  }

  async load(): Promise<readonly PlanRecord[]> {
    return newestFirst(this.#records.values());
  }

  async save(records: readonly PlanRecord[]): Promise<void> {
    if (this.failNextSave) {
      this.failNextSave = false;
      throw new FleetError('store.unavailable', 'the plan store was told to fail');
    }
    const next = new Map(this.#records);
    for (const record of records) {
      next.set(record.id, record);
      this.#characters.set(record.id, documentOf(record).length);
    }
    let characters = 0;
    for (const [at, record] of newestFirst(next.values()).entries()) {
      characters += this.#characters.get(record.id) ?? 0;
      const isKept = at < this.#kept.most && (at < LEAST_PLANS || characters <= this.#kept.mostCharacters);
      if (isKept || record.state === 'active') continue;
      next.delete(record.id);
      this.#characters.delete(record.id);
    }
    this.#records = next;
  }
}
