import type { DeviceId } from '@fleetgate/shared/ids';
import type { Metric } from '@fleetgate/shared/protocol/telemetry';
import type { Milliseconds, UnixMs } from '@fleetgate/shared/units/quantity';

/** Aggregate of a metric over one minute (or a coarser step, when read). */
export interface Rollup {
  readonly deviceId: DeviceId;
  readonly metric: Metric;
  readonly start: UnixMs;
  readonly n: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
}

/** Where telemetry rests. One writer (the ingest process), any number of readers. */
export interface TelemetryStore {
  /** Adds rollups to what is stored for the same device, metric and minute. Atomic: all or none. */
  add(rollups: readonly Rollup[]): Promise<void>;
  /** Rollups of one metric in [from, to), merged to `step` (a multiple of a minute), oldest first, at most `limit`. */
  read(query: {
    readonly deviceId: DeviceId;
    readonly metric: Metric;
    readonly from: UnixMs;
    readonly to: UnixMs;
    readonly step: Milliseconds;
    readonly limit: number;
  }): Promise<readonly Rollup[]>;
  /** Removes rollups that started before `before`; returns how many. */
  expire(before: UnixMs): Promise<number>;
  close(): Promise<void>;
}
