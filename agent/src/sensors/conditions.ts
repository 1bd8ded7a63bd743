import type { Reported } from '@fleetgate/shared/protocol/twin';

import type { Reading } from './sensors.js';

export type Conditions = NonNullable<Reported['conditions']>;

/** What a device is attached to, by its last reading. A machine without a battery does not say whether it charges. */
export function conditionsOf({ onBattery, network }: Reading): Conditions {
  return {
    ...(onBattery === undefined ? {} : { charging: !onBattery }),
    ...(network === undefined ? {} : { network }),
  };
}

export const areSame = (one: Conditions, other: Conditions): boolean =>
  one.charging === other.charging && one.network === other.network;
