import type { DeviceId } from '@fleetgate/shared/ids';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import type { CostEstimate } from '../../telemetry/cost.js';

/** What a device's own budgets add to the price of asking it. */
export interface Surcharge {
  readonly perJoule: number;
  /** Quality that a second of the device's work has to earn. */
  readonly perBusySecond: number;
}

/** Of a device that no budget of its own binds. */
export const FREE: Surcharge = { perJoule: 0, perBusySecond: 0 };

/** What the budgets make one request pay, and which of them have no room for it. */
export interface RequestControl {
  readonly qualityPerJoule: number;
  readonly qualityPerSecond: number;
  /** What answering at all is worth to the class, besides the quality of the answer: it is short of its served share. */
  readonly served: number;
  readonly surchargeOf: (device: DeviceId) => Surcharge;
  /** How much less a joule has to earn after a second in which nothing is asked; 0 where it does not cost anything. */
  readonly reliefPerS: number;
  /** Whether a device's battery is down to its reserve. */
  readonly isLow: (device: DeviceId) => boolean;
  /** Whether there are usage budgets at all. */
  readonly isMetered: boolean;
  /** A usage budget that has no room for a job of such a cost on a device. */
  readonly spent: (device: DeviceId, cost: Pick<CostEstimate, 'energy' | 'latency'>) => SpentBudget | undefined;
}

export interface SpentBudget {
  readonly id: string;
  /** When its next window begins. */
  readonly until: UnixMs;
}

/** For a request that was taken up already: it pays the same prices and is not turned away in the middle. */
export function withoutAdmission(control: RequestControl | undefined): RequestControl | undefined {
  return control && { ...control, served: Infinity, isMetered: false, spent: () => undefined };
}

/** For what is evaluated rather than answered, which is no demand of its class: only budgets that are spent stop it. */
export function forEvaluation(control: RequestControl | undefined): RequestControl | undefined {
  return control && { ...control, served: Infinity };
}
