import type { DeviceId } from '@fleetgate/shared/ids';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import { RateQueue } from './rate-queue.js';

interface Queues {
  /** Device-seconds beyond the utilisation cap. */
  readonly busy: RateQueue;
  /** Joules beyond the pace of a battery's charge. */
  readonly charge: RateQueue;
  /** Of its jobs, decayed. */
  meanBusyS: number | undefined;
}

/** A job counts 1/e after so many in the mean. */
const MEMORY = 16;

/** Virtual queues of each device. */
export class DeviceQueues {
  readonly #byDevice = new Map<DeviceId, Queues>();
  readonly #since: UnixMs;

  constructor(since: UnixMs) {
    this.#since = since;
  }

  busy(device: DeviceId, capacity: number, now: UnixMs): number {
    return this.#byDevice.get(device)?.busy.backlog(capacity, now) ?? 0;
  }

  /** Time that a job takes there in the mean; undefined before the first. */
  meanBusyS(device: DeviceId): number | undefined {
    return this.#byDevice.get(device)?.meanBusyS;
  }

  charge(device: DeviceId, paceW: number, now: UnixMs): number {
    return this.#byDevice.get(device)?.charge.backlog(paceW, now) ?? 0;
  }

  /** A new job's time, or a correction of an earlier one's. */
  useBusy(device: DeviceId, seconds: number, isNew: boolean, capacity: number, now: UnixMs): void {
    const queues = this.#of(device);
    queues.busy.use(seconds, capacity, now);
    if (isNew) queues.meanBusyS = (queues.meanBusyS ?? seconds) + (seconds - (queues.meanBusyS ?? seconds)) / MEMORY;
  }

  useCharge(device: DeviceId, energyJ: number, paceW: number, now: UnixMs): void {
    this.#of(device).charge.use(energyJ, paceW, now);
  }

  forget(device: DeviceId): void {
    this.#byDevice.delete(device);
  }

  keys(): Iterable<DeviceId> {
    return this.#byDevice.keys();
  }

  #of(device: DeviceId): Queues {
    const known = this.#byDevice.get(device);
    if (known !== undefined) return known;
    const fresh = { busy: new RateQueue(this.#since), charge: new RateQueue(this.#since), meanBusyS: undefined };
    this.#byDevice.set(device, fresh);
    return fresh;
  }
}
