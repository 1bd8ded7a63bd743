import type { Observable } from 'rxjs';

import type { DeviceId } from '@fleetgate/shared/ids';

/** A telemetry message as it came, undecoded. */
export interface TelemetryMessage {
  readonly deviceId: DeviceId;
  readonly payload: Uint8Array;
}

/** Where telemetry comes from: the broker in this process, or a connection to another. */
export interface TelemetrySource {
  /** Subscribes at the broker on the first subscriber. Never fails: a source that loses its broker waits for it. */
  readonly messages$: Observable<TelemetryMessage>;
  close(): Promise<void>;
}
