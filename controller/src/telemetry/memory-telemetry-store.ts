import { type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';

import type { Rollup, TelemetryStore } from './telemetry-store.js';
import { mergeRollups } from './window.js';

/** Telemetry that lasts as long as the process: for tests and simulation. */
export class MemoryTelemetryStore implements TelemetryStore {
  readonly #rollups = new Map<string, Rollup>();

  add(rollups: readonly Rollup[]): Promise<void> {
    for (const rollup of rollups) {
      const key = `${rollup.deviceId} ${rollup.metric} ${rollup.start}`;
      const known = this.#rollups.get(key);
      this.#rollups.set(key, known === undefined ? rollup : mergeRollups(known, rollup));
    }
    return Promise.resolve();
  }

  read(query: Parameters<TelemetryStore['read']>[0]): Promise<readonly Rollup[]> {
    const steps = new Map<UnixMs, Rollup>();
    for (const rollup of this.#rollups.values()) {
      if (rollup.deviceId !== query.deviceId || rollup.metric !== query.metric) continue;
      if (rollup.start < query.from || rollup.start >= query.to) continue;
      const start = unixMs(rollup.start - (rollup.start % query.step));
      const known = steps.get(start);
      steps.set(start, known === undefined ? { ...rollup, start } : mergeRollups(known, rollup));
    }
    return Promise.resolve([...steps.values()].sort((a, b) => a.start - b.start).slice(0, query.limit));
  }

  expire(before: UnixMs): Promise<number> {
    let expired = 0;
    for (const [key, rollup] of this.#rollups) {
      if (rollup.start >= before) continue;
      this.#rollups.delete(key);
      expired += 1;
    }
    return Promise.resolve(expired);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
