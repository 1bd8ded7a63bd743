import type { DeviceId } from '@fleetgate/shared/ids';
import type { Metric } from '@fleetgate/shared/protocol/telemetry';

/** Newest values of one device, by metric, since they were last told. */
export interface TelemetryObservation {
  readonly deviceId: DeviceId;
  readonly epoch: number;
  readonly last: Readonly<Partial<Record<Metric, number>>>;
  /** When the newest sample was taken, by our clock. */
  readonly sampledAtMs: number;
  readonly receivedAtMs: number;
}

/** Why a batch, or some samples of one, did not count. */
export type TelemetryRefusal =
  | 'too-large'
  | 'malformed'
  | 'unsupported-version'
  | 'old-epoch'
  | 'duplicate'
  | 'from-the-future'
  | 'too-long'
  | 'too-old'
  | 'absurd-value'
  | 'too-many-devices';

/** What telemetry ingestion tells besides values. `count` says how often it happened since it was last told. */
export type TelemetryEvent =
  | {
      readonly kind: 'telemetry-refused';
      readonly deviceId: DeviceId;
      readonly reason: TelemetryRefusal;
      readonly count: number;
    }
  | {
      readonly kind: 'telemetry-store';
      /** `replaced`: the file was corrupt, lies aside, and a fresh one was begun. `lost`: rollups that had no room to wait. */
      readonly state: 'failing' | 'recovered' | 'replaced' | 'lost';
      readonly message: string;
      readonly count: number;
    };
