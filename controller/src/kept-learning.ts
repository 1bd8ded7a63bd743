/** Puts together what the gate learns from use: its store, the loop that learns, and the gate with what was learned. */
import type { Clock } from '@fleetgate/shared/clock';
import type { Logger } from '@fleetgate/shared/logger';

import { withCorrections } from './gating/adapted-gate.js';
import type { Gate } from './gating/gate.js';
import { fingerprintOf } from './gating/gate-fingerprint.js';
import { GateLearning } from './gating/gate-learning.js';
import type { LearningStore } from './gating/learning-store.js';
import { LearningWriter } from './gating/learning-writer.js';
import type { LiveGate } from './gating/live-gate.js';
import { SqliteLearningStore } from './gating/sqlite-learning-store.js';
import type { Database } from './platform/database.js';

export interface OpenLearning {
  readonly learning: GateLearning;
  readonly store: LearningStore;
  readonly writer: LearningWriter;
  /** The gate without corrections, and which one that is. */
  readonly trained: () => Gate | undefined;
  readonly fingerprint: () => string;
  /** `trained` with the corrections in use; undefined as long as that is. */
  readonly gate: () => Gate | undefined;
  /** Stops learning and writes what is left. */
  close(): Promise<void>;
}

/** `trained` is the gate that is corrected; `live` tells which one that is. */
export async function openLearning(
  database: Database,
  live: LiveGate,
  trained: () => Gate | undefined,
  clock: Clock,
  log: Logger,
): Promise<OpenLearning> {
  const store = new SqliteLearningStore(database);
  const writer = new LearningWriter(store, clock, log);
  const fingerprint = fingerprintOf(() => live);
  const learning = await GateLearning.open({ store, writer, fingerprint, clock, log });
  let adapted: { readonly from: Gate; readonly gate: Gate } | undefined;
  return {
    learning,
    store,
    writer,
    trained,
    fingerprint,
    gate: () => {
      const from = trained();
      if (from === undefined) return undefined;
      if (adapted?.from !== from) {
        adapted = { from, gate: withCorrections(from, fingerprint, () => learning.corrections()) };
      }
      return adapted.gate;
    },
    close: async () => {
      learning.close();
      await writer.flush();
    },
  };
}
