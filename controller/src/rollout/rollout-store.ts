import type { RolloutRecord } from './rollout-record.js';

/** Keeps rollouts. */
export interface RolloutStore {
  /** Newest first. */
  load(): Promise<readonly RolloutRecord[]>;
  /** Adds or replaces them, and forgets the oldest ended ones beyond what is kept. */
  save(records: readonly RolloutRecord[]): Promise<void>;
}
