import type { Clock } from '@fleetgate/shared/clock';
import type { DeviceId } from '@fleetgate/shared/ids';
import { elapsed, type Milliseconds, milliseconds, type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';

import type { JobRun } from './request.js';
import { isSuspect, othersHeard, usualSilence } from './silence.js';

const LOOK_EVERY = milliseconds(500);
/** Silence counts while another device was heard within this time. */
const OTHERS_WITHIN = milliseconds(1_000);
const NONE = milliseconds(0);

type WatchedJob = Pick<JobRun, 'phase' | 'predicted'>;

export interface SilenceWatchParts {
  readonly clock: Clock;
  /** Jobs that were sent and are waited for, in the order sent. */
  readonly jobs: () => ReadonlyMap<DeviceId, readonly WatchedJob[]>;
  readonly concurrencyOf: (device: DeviceId) => number;
  readonly heartbeatOf: (device: DeviceId) => Milliseconds;
  /** Called at every look while a device is suspected. */
  readonly onSuspected: (device: DeviceId, silent: Milliseconds, isNew: boolean) => void;
}

interface Silence {
  /** Since its last sign of life, as far as it counts. */
  silent: Milliseconds;
  usual: Milliseconds | undefined;
}

/**
 * Suspects devices that have jobs and say nothing at all (`silence.ts`), before their leases are over. Whatever a suspect
 * says clears it.
 *
 * Time is counted by looks, and only while others are heard: neither a broker that restarts nor a stop of this process
 * makes the fleet suspect. Looks while there are jobs only.
 */
export class SilenceWatch {
  readonly #parts: SilenceWatchParts;
  readonly #heardAt = new Map<DeviceId, UnixMs>();
  readonly #telemetryAt = new Map<DeviceId, UnixMs>();
  /** Of devices that were sent jobs. */
  readonly #silences = new Map<DeviceId, Silence>();
  readonly #suspects = new Set<DeviceId>();
  #stopLooking: (() => void) | undefined;

  constructor(parts: SilenceWatchParts) {
    this.#parts = parts;
  }

  get suspects(): ReadonlySet<DeviceId> {
    return this.#suspects;
  }

  /** A job has been sent to a device. */
  watch(device: DeviceId): void {
    if (!this.#silences.has(device)) this.#silences.set(device, { silent: NONE, usual: undefined });
    this.#stopLooking ??= this.#parts.clock.every(LOOK_EVERY, () => this.#look());
  }

  /** A device has given a sign of life. */
  heard(device: DeviceId, how: 'telemetry' | 'otherwise'): void {
    const now = this.#parts.clock.now();
    this.#heardAt.set(device, now);
    if (how === 'telemetry') this.#telemetryAt.set(device, now);
    this.#suspects.delete(device);
    const silence = this.#silences.get(device);
    if (silence === undefined) return;
    silence.usual = usualSilence(silence.usual, silence.silent, this.#parts.heartbeatOf(device));
    silence.silent = NONE;
  }

  /** A device is offline: there is nothing left to suspect. */
  forget(device: DeviceId): void {
    this.#heardAt.delete(device);
    this.#telemetryAt.delete(device);
    this.#silences.delete(device);
    this.#suspects.delete(device);
  }

  stop(): void {
    this.#stopLooking?.();
    this.#stopLooking = undefined;
  }

  #look(): void {
    const { clock, jobs, onSuspected } = this.#parts;
    const now = clock.now();
    const atWork = jobs();
    if (atWork.size === 0) this.stop();
    const areOthersHeard = othersHeard(this.#heardAt, unixMs(now - OTHERS_WITHIN));
    for (const [device, silence] of this.#silences) {
      const its = atWork.get(device);
      if (its === undefined) silence.silent = NONE;
      else if (areOthersHeard(device)) silence.silent = milliseconds(silence.silent + LOOK_EVERY);
      if (its === undefined || !this.#isSuspect(device, silence, its, now)) continue;
      const isNew = !this.#suspects.has(device);
      this.#suspects.add(device);
      onSuspected(device, silence.silent, isNew);
    }
  }

  /** Without telemetry nothing is known of its pace, and the lease is over soon. */
  #isSuspect(device: DeviceId, silence: Silence, jobs: readonly WatchedJob[], now: UnixMs): boolean {
    const telemetryAt = this.#telemetryAt.get(device);
    if (telemetryAt === undefined) return false;
    const { concurrencyOf, heartbeatOf } = this.#parts;
    const unsaid = jobs.filter(({ phase }) => phase !== 'streaming');
    const places = Math.max(0, concurrencyOf(device) - (jobs.length - unsaid.length));
    return isSuspect({
      ...silence,
      sinceTelemetry: elapsed(telemetryAt, now),
      heartbeat: heartbeatOf(device),
      reading: unsaid.slice(0, places).map(({ predicted }) => predicted),
    });
  }
}
