import type { DeviceId, ExpertId } from '@fleetgate/shared/ids';

import type { JobRun } from './request.js';

/** Jobs of one expert, at all devices. */
export interface ExpertJobs {
  readonly running: number;
  readonly waiting: number;
}

/**
 * How many jobs of each expert run and wait: a device works on as many as it can at once, those that were sent first.
 * `runs` in the order sent.
 */
export function expertLoads(
  runs: Iterable<Pick<JobRun, 'choice'>>,
  concurrencyOf: (device: DeviceId) => number,
): ReadonlyMap<ExpertId, ExpertJobs> {
  const jobsAt = new Map<DeviceId, number>();
  const loads = new Map<ExpertId, ExpertJobs>();
  for (const { choice } of runs) {
    const before = jobsAt.get(choice.deviceId) ?? 0;
    jobsAt.set(choice.deviceId, before + 1);
    const isRunning = before < concurrencyOf(choice.deviceId);
    const { running, waiting } = loads.get(choice.expertId) ?? { running: 0, waiting: 0 };
    loads.set(choice.expertId, isRunning ? { running: running + 1, waiting } : { running, waiting: waiting + 1 });
  }
  return loads;
}
