import type { DeviceId } from '@fleetgate/shared/ids';

import type { Candidate } from '../dispatch/candidates.js';

/** How a fleet is dispatched: Fleetgate's way, or one that it is compared with. All use the same plans and registry. */
export const POLICIES = [
  'fleetgate',
  'best-quality',
  'best-single',
  'cheapest',
  'least-loaded',
  'round-robin',
] as const;
export type PolicyName = (typeof POLICIES)[number];

export const POLICY_TITLES: Readonly<Record<PolicyName, string>> = {
  fleetgate: 'quality less priced joules and seconds; prices follow the budgets',
  'best-quality': 'greedy: highest predicted quality, budgets unseen',
  'best-single': 'one expert for all, whichever does best, with plans of its own; sooner device first',
  cheapest: 'least energy',
  'least-loaded': 'shortest predicted wait',
  'round-robin': 'device that was asked longest ago',
};

/** What a candidate is worth to a policy; undefined: what Fleetgate says. `lastSent`: when each device was last asked, 0 for never. */
export function worthOf(
  policy: PolicyName,
  lastSent: (device: DeviceId) => number,
): ((candidate: Candidate) => number) | undefined {
  switch (policy) {
    case 'fleetgate':
      return undefined;
    case 'best-quality':
      return ({ quality }) => quality;
    case 'best-single':
      return () => 0;
    case 'cheapest':
      return ({ cost }) => -(cost?.energy ?? Infinity);
    case 'least-loaded':
      return ({ wait }) => 0 - wait;
    case 'round-robin':
      return ({ deviceId }) => (deviceId === undefined ? -Infinity : -lastSent(deviceId));
  }
}
