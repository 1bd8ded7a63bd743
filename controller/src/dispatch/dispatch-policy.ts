import type { ClassId, DeviceId, PlanId, VariantId } from '@fleetgate/shared/ids';
import type { Joules, Milliseconds } from '@fleetgate/shared/units/quantity';

import type { PlannedShares } from './balance.js';
import type { ControlFacts } from './control/control-facts.js';

/** What dispatch needs of the active plan; planning makes it. */
export interface DispatchPolicy {
  readonly planId: PlanId;
  /** Variants a prompt may be sent to, by device. What a plan leaves behind is among them while it lingers. */
  readonly placements: ReadonlyMap<DeviceId, ReadonlySet<VariantId>>;
  /** Quality (0..1) that a joule above idle has to earn, by class; 0 when no energy budget of it binds. */
  readonly qualityPerJouleByClass: ReadonlyMap<ClassId, number>;
  /** The same for a request of no known class: the mean over the planned demand. */
  readonly qualityPerJoule: number;
  /** Quality that a second of latency has to earn, by class; 0 when the class's bound does not bind. */
  readonly qualityPerSecond: ReadonlyMap<ClassId, number>;
  /** Shares of each class's requests that the plan gives each expert; absent where it says nothing of them. */
  readonly shares?: PlannedShares;
  /** What keeps the budgets while requests come; absent: the prices above do, as they are. */
  readonly control?: ControlFacts;
  readonly limits: ReadonlyMap<ClassId, { readonly latencyMean: Milliseconds; readonly energy: Joules | undefined }>;
}
