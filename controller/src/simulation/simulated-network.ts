import type { Clock } from '@fleetgate/shared/clock';
import type { DeviceId, JobId } from '@fleetgate/shared/ids';
import type { Job, JobOut } from '@fleetgate/shared/protocol/job';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';
import type { Desired, Reported } from '@fleetgate/shared/protocol/twin';
import type { Random } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { BehaviorSubject, NEVER, type Observable, Subject } from 'rxjs';

import type { ExpertLink } from '../dispatch/expert-link.js';
import type { Fleet } from '../fleet/fleet.js';
import type { DesiredStateLink } from '../rollout/desired-state-link.js';
import type { SimulatedDevice } from './simulated-device.js';

/** What goes wrong on the way, each a share (0..1) of the messages of jobs. */
export interface NetworkFaults {
  readonly loss: number;
  readonly duplicate: number;
  /** Messages that are as much late as a round trip takes, so that later ones pass them. */
  readonly reorder: number;
}

/** Messages between the controller and simulated devices: late by half a round trip, and lost, doubled or passed as told. */
export class SimulatedNetwork implements ExpertLink, DesiredStateLink {
  readonly connected$: Observable<boolean> = new BehaviorSubject(true);
  /** Nobody else makes documents here. */
  readonly told$ = NEVER;
  /** When each device was last sent a job. */
  readonly lastSent = new Map<DeviceId, number>();
  readonly #out = new Subject<{ readonly deviceId: DeviceId; readonly out: JobOut }>();
  readonly #devices = new Map<DeviceId, SimulatedDevice>();
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #faults: NetworkFaults;
  readonly #fleet: Fleet;
  #sent = 0;

  constructor(parts: {
    readonly clock: Clock;
    readonly random: Random;
    readonly faults: NetworkFaults;
    readonly fleet: Fleet;
  }) {
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#faults = parts.faults;
    this.#fleet = parts.fleet;
  }

  get out$(): Observable<{ readonly deviceId: DeviceId; readonly out: JobOut }> {
    return this.#out;
  }

  add(device: SimulatedDevice): void {
    this.#devices.set(device.id, device);
  }

  send(deviceId: DeviceId, job: Job): Promise<void> {
    this.lastSent.set(deviceId, ++this.#sent);
    this.#deliver(deviceId, (device) => device.receive(job));
    return Promise.resolve();
  }

  cancel(deviceId: DeviceId, job: JobId): void {
    this.#deliver(deviceId, (device) => device.cancel(job));
  }

  next(): void {}

  publish(deviceId: DeviceId, desired: Desired): Promise<void> {
    this.#later(deviceId, () => this.#devices.get(deviceId)?.desire(desired));
    return Promise.resolve();
  }

  clear(): Promise<void> {
    return Promise.resolve();
  }

  told(deviceId: DeviceId, out: JobOut): void {
    this.#withFaults(deviceId, () => this.#out.next({ deviceId, out }));
  }

  reported(deviceId: DeviceId, reported: Reported): void {
    this.#later(deviceId, () => this.#fleet.record({ kind: 'reported', deviceId, reported, at: this.#clock.now() }));
  }

  /** `will`: the broker has noticed that the connection is gone; a device that loses power may also just fall silent. */
  presence(deviceId: DeviceId, state: 'online' | 'offline'): void {
    const epoch = this.#devices.get(deviceId)?.epoch ?? 1;
    const reason = state === 'online' ? 'connected' : 'will';
    const presence = { v: PROTOCOL_VERSION, state, epoch, reason, agentVersion: 'simulated' } as const;
    this.#later(deviceId, () => this.#fleet.record({ kind: 'presence', deviceId, presence, at: this.#clock.now() }));
  }

  /** What an agent's telemetry tells. */
  observed(device: SimulatedDevice): void {
    const { epoch, id: deviceId, queuedJobs, runningJobs } = device;
    const sampledAt = this.#clock.now();
    this.#later(deviceId, () =>
      this.#fleet.record({
        kind: 'observed',
        deviceId,
        epoch,
        last: { queuedJobs, runningJobs },
        sampledAt,
        at: this.#clock.now(),
      }),
    );
  }

  #deliver(deviceId: DeviceId, run: (device: SimulatedDevice) => void): void {
    this.#withFaults(deviceId, () => {
      const device = this.#devices.get(deviceId);
      if (device?.isOn === true) run(device);
    });
  }

  #withFaults(deviceId: DeviceId, run: () => void): void {
    const { duplicate, loss, reorder } = this.#faults;
    if (this.#random.uniform() < loss) return;
    const extra = this.#random.uniform() < reorder ? this.#rttMs(deviceId) : 0;
    this.#later(deviceId, run, extra);
    if (this.#random.uniform() < duplicate) this.#later(deviceId, run, extra);
  }

  #later(deviceId: DeviceId, run: () => void, extraMs = 0): void {
    this.#clock.after(milliseconds(this.#rttMs(deviceId) / 2 + extraMs), run);
  }

  #rttMs(deviceId: DeviceId): number {
    return this.#devices.get(deviceId)?.board.rttMs ?? 10;
  }
}
