import type { Observable } from 'rxjs';
import type { DeviceId, JobId } from '@fleetgate/shared/ids';
import type { Job, JobOut } from '@fleetgate/shared/protocol/job';

/** Carries jobs to agents and their answers back. */
export interface ExpertLink {
  /** Resolves when the broker has taken the job; rejects with `broker.unreachable`. Delivery shows as an `accepted`. */
  send(device: DeviceId, job: Job): Promise<void>;
  /** Best effort, at once: the agent stops generating. */
  cancel(device: DeviceId, job: JobId, reason: string): void;
  /** The token chosen for `step` of a `mix` job. Best effort, at once: an agent that does not hear it gives the job up. */
  next(device: DeviceId, job: JobId, step: number, token: number): void;
  /** Everything agents say of their jobs, in order per job; duplicates included. */
  readonly out$: Observable<{ readonly deviceId: DeviceId; readonly out: JobOut }>;
}
