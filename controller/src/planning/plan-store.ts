import { FleetError } from '@fleetgate/shared/errors';
import type { PlanId } from '@fleetgate/shared/ids';

import type { PlanRecord } from './plan-record.js';

/** Plans that are kept besides the active one; the oldest go first. */
export const KEPT_PLANS = 50;

/** Where plans rest. One writer, the planner. */
export interface PlanStore {
  /** All kept plans, newest first. */
  load(): Promise<readonly PlanRecord[]>;
  /** Adds or replaces plans, all or none, then forgets the oldest beyond `KEPT_PLANS`; never the active one. */
  save(records: readonly PlanRecord[]): Promise<void>;
}

/** Plans by id, newest first; of one instant, the one saved later comes first. */
export function newestFirst(records: Iterable<PlanRecord>): PlanRecord[] {
  return [...records].toReversed().sort((a, b) => b.createdAt - a.createdAt);
}

/** In memory: for tests, with the same contract. */
export class MemoryPlanStore implements PlanStore {
  #records = new Map<PlanId, PlanRecord>();
  /** Makes the next save fail, as a full disk would. */
  failNextSave = false;

  async load(): Promise<readonly PlanRecord[]> {
    return newestFirst(this.#records.values());
  }

  async save(records: readonly PlanRecord[]): Promise<void> {
    if (this.failNextSave) {
      this.failNextSave = false;
      throw new FleetError('store.unavailable', 'the plan store was told to fail');
    }
    const next = new Map(this.#records);
    for (const record of records) next.set(record.id, record);
    const forgotten = newestFirst(next.values()).slice(KEPT_PLANS);
    for (const record of forgotten) if (record.state !== 'active') next.delete(record.id);
    this.#records = next;
  }
}
