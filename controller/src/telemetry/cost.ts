import type { DeviceId, VariantId } from '@fleetgate/shared/ids';
import type { JobUsage } from '@fleetgate/shared/protocol/job';
import type { Measurement } from '@fleetgate/shared/protocol/twin';
import type { Joules, Milliseconds } from '@fleetgate/shared/units/quantity';

/** Predicted cost of one request on an idle device: waiting comes on top. */
export interface CostEstimate {
  readonly latency: Milliseconds;
  readonly latencySd: Milliseconds;
  /** Time to the first token. */
  readonly firstToken: Milliseconds;
  /** Above idle. */
  readonly energy: Joules;
  readonly energySd: Joules;
  /** `measured` by the device itself; `predicted` from size and board profile. */
  readonly basis: 'measured' | 'predicted';
}

/** What a request asks for, as far as it is known before it runs. */
export interface Workload {
  readonly promptTokens: number;
  readonly outputTokens: number;
}

/**
 * What any workload costs with one variant on one device, as far as that is known at a moment: `base` and so much for each
 * token read and written. Never changes.
 */
export interface CostProfile {
  readonly baseMs: number;
  readonly promptMs: number;
  readonly outputMs: number;
  readonly baseJ: number;
  readonly promptJ: number;
  readonly outputJ: number;
  /** The same, and how sure it is. */
  estimate(workload: Workload): CostEstimate;
}

/** Cost of (device, variant, workload), learned from enrolment benchmarks and every finished job. */
export interface CostEstimator {
  estimate(device: DeviceId, variant: VariantId, workload: Workload): CostEstimate | undefined;
  observeMeasurement(device: DeviceId, measurement: Measurement): void;
  /** `latency`: from sending the job to its end, as the controller saw it. */
  observeJob(device: DeviceId, variant: VariantId, usage: JobUsage, latency?: Milliseconds): void;
}

/** An estimator whose knowledge can be kept: who compares many copies for every prompt does not ask for each. */
export interface ProfiledCosts extends CostEstimator {
  /** Undefined where `estimate` is. */
  profileOf(device: DeviceId, variant: VariantId): CostProfile | undefined;
  /** The same object until more is learned of the device: so long its profiles hold, if what is reported of it has not changed either. */
  learnedOf(device: DeviceId): object;
}
