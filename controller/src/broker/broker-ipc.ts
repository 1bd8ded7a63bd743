import type { ErrorCode } from '@fleetgate/shared/errors';
import type { FleetId, ReplicaId } from '@fleetgate/shared/ids';

import type { BrokerLogin } from '../platform/mqtt-broker-link.js';
import type { TelemetryPlace } from '../telemetry/open-telemetry-store.js';
import type { TelemetryObservation } from '../telemetry/telemetry-event.js';
import type { TlsEndpoint } from './aedes-broker.js';
import type { TlsMaterial } from './aedes-tls-listener.js';
import type { BrokerEvent } from './broker-event.js';
import type { BrokerUser } from './broker-user.js';

/** A broker that somebody else runs: only its telemetry is ours to take. */
export interface ExternalBroker extends BrokerLogin {
  readonly url: string;
  /** One of several controllers: they store telemetry by turns, and each has its newest values. */
  readonly replica?: ReplicaId;
}

export interface BrokerStart {
  readonly host: string;
  readonly port: number | 'none';
  readonly tls?: TlsEndpoint;
  readonly fleet: FleetId;
  readonly telemetry: TelemetryPlace;
  readonly retentionMs: number;
  readonly external?: ExternalBroker;
}

/** What the controller tells its broker process. */
export type ToBroker =
  | {
      readonly kind: 'start';
      readonly start: BrokerStart;
      readonly users: readonly BrokerUser[];
      readonly version: number;
    }
  | { readonly kind: 'users'; readonly users: readonly BrokerUser[]; readonly version: number }
  | { readonly kind: 'material'; readonly material: TlsMaterial }
  | { readonly kind: 'ping' }
  | { readonly kind: 'stop' };

/** What the broker process tells its controller. `version` is that of the users now in force. */
export type FromBroker =
  | {
      readonly kind: 'started';
      readonly host: string;
      readonly port: number;
      readonly tlsPort: number;
      readonly version: number;
    }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string; readonly hint: string | undefined }
  | { readonly kind: 'users-set'; readonly version: number }
  | { readonly kind: 'pong' }
  | { readonly kind: 'observations'; readonly observations: readonly TelemetryObservation[] }
  | { readonly kind: 'events'; readonly events: readonly BrokerEvent[] };
