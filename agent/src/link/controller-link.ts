import type { FleetError } from '@fleetgate/shared/errors';
import type { Job, JobCancel, JobName, JobNext, JobOut } from '@fleetgate/shared/protocol/job';
import type { DeviceEvent, Telemetry } from '@fleetgate/shared/protocol/telemetry';
import type { Channel } from '@fleetgate/shared/protocol/topics';
import type { Desired, Reported } from '@fleetgate/shared/protocol/twin';

/**
 * What the controller says, decoded. `refused` is a message that could not be taken, with the reason; `unread-job` one
 * that is a job and says which.
 */
export type Incoming =
  | { readonly kind: 'desired'; readonly desired: Desired }
  | { readonly kind: 'job'; readonly job: Job }
  | { readonly kind: 'cancel'; readonly cancel: JobCancel }
  | { readonly kind: 'next'; readonly next: JobNext }
  | { readonly kind: 'unread-job'; readonly job: JobName; readonly error: FleetError }
  | { readonly kind: 'refused'; readonly channel: Channel; readonly error: FleetError };

export type Outgoing =
  | { readonly kind: 'reported'; readonly reported: Reported }
  | { readonly kind: 'telemetry'; readonly telemetry: Telemetry }
  | { readonly kind: 'event'; readonly event: DeviceEvent }
  | { readonly kind: 'job-out'; readonly job: JobName; readonly out: JobOut };

/** `epoch` numbers the newest session; it only grows, over restarts too. 0 before the first. */
export interface LinkState {
  readonly state: 'connected' | 'disconnected';
  readonly epoch: number;
}

export interface LinkListener {
  /** Called in the order of arrival. */
  onMessage(message: Incoming): void;
  /** Called after presence was published (connected), and when a session ends (disconnected). */
  onState(state: LinkState): void;
}

/** The agent's line to its controller: one session at a time, made again by itself whenever it breaks. */
export interface ControllerLink {
  start(listener: LinkListener): void;
  state(): LinkState;
  /**
   * Resolves when the broker has taken the message. Rejects with `broker.unreachable` (retryable) when there is no
   * session, when it ends first, or when more than a few MiB wait already; with `protocol.too-large` for a message
   * that no broker would take.
   */
  send(message: Outgoing): Promise<void>;
  /** Says goodbye (presence `offline`, reason `shutdown`) and ends the session; idempotent, bounded by a few seconds. */
  close(): Promise<void>;
}
