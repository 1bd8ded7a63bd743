import type { Clock } from '@fleetgate/shared/clock';
import type { PowerSource } from '@fleetgate/shared/protocol/twin';
import { type Joules, joules, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { PowerReading, Reading } from './sensors.js';

/** Board power by its profile, watts. */
export interface PowerProfile {
  readonly idleW: number;
  readonly loadW: number;
  readonly standbyW: number;
}

/** A measured sample speaks for the time since the one before, but not for longer than this. */
const FRESH_MS = 5000;

interface Account {
  energyJ: number;
  measured: boolean;
}

/**
 * Splits the device's energy above idle among the jobs that use its engine.
 *
 * Time is cut at every start, stop and sample. In a piece, power above idle is the latest measured power less idle
 * (never below 0), or `loadW - idleW` where nothing was measured; it is shared equally by the jobs that run. A job's
 * source is `measured` only when all of its pieces were.
 */
export class EnergyMeter {
  readonly #profile: PowerProfile;
  readonly #clock: Clock;
  readonly #running = new Map<string, Account>();
  #cut: UnixMs;
  #measured: { readonly powerW: number; readonly from: string; readonly at: UnixMs } | undefined;
  #standby = false;
  #windowStart: UnixMs;
  #busyMs = 0;

  constructor(profile: PowerProfile, clock: Clock) {
    this.#profile = profile;
    this.#clock = clock;
    this.#cut = clock.now();
    this.#windowStart = this.#cut;
  }

  /** Where power comes from at present. */
  get origin(): { readonly source: PowerSource; readonly from: string } {
    const measured = this.#fresh();
    return measured === undefined
      ? { source: 'modelled', from: 'board profile' }
      : { source: 'measured', from: measured.from };
  }

  get isBusy(): boolean {
    return this.#running.size > 0;
  }

  /** `standby`: nothing is resident, so that modelled power is the profile's standby power. */
  setStandby(state: 'standby' | 'awake'): void {
    this.#standby = state === 'standby';
  }

  /** Takes a sensor reading in. */
  sample(reading: Reading): void {
    if (reading.powerW === undefined) return;
    // The sample tells of the time before it: account for that time with the new figure.
    this.#measured = { powerW: reading.powerW, from: reading.powerFrom ?? 'sensor', at: this.#clock.now() };
    this.#account();
  }

  /** Power since the last call: measured, or modelled as idle + (load - idle) x busy share of the engine. */
  power(): PowerReading {
    this.#account();
    const now = this.#clock.now();
    const window = now - this.#windowStart;
    const share = window <= 0 ? (this.isBusy ? 1 : 0) : Math.min(1, this.#busyMs / window);
    this.#windowStart = now;
    this.#busyMs = 0;
    const measured = this.#fresh();
    if (measured !== undefined) return { powerW: measured.powerW, source: 'measured', from: measured.from };
    const { idleW, loadW, standbyW } = this.#profile;
    const rest = this.#standby && share === 0 ? standbyW : idleW;
    return { powerW: rest + (loadW - idleW) * share, source: 'modelled', from: 'board profile' };
  }

  /** Begins to account for the engine use of `id`. */
  start(id: string): void {
    this.#account();
    this.#running.set(id, { energyJ: 0, measured: true });
  }

  /** Energy above idle since `start`; 0 for an id that was never started. */
  stop(id: string): { readonly energy: Joules; readonly source: PowerSource } {
    this.#account();
    const account = this.#running.get(id);
    this.#running.delete(id);
    const measured = account?.measured === true && this.#fresh() !== undefined;
    return { energy: joules(account?.energyJ ?? 0), source: measured ? 'measured' : 'modelled' };
  }

  #fresh() {
    const measured = this.#measured;
    return measured !== undefined && this.#clock.now() - measured.at <= FRESH_MS ? measured : undefined;
  }

  #account(): void {
    const now = this.#clock.now();
    const duration = Math.max(0, now - this.#cut);
    this.#cut = now;
    if (duration === 0 || this.#running.size === 0) return;
    this.#busyMs += duration;
    const measured = this.#fresh();
    const { idleW, loadW } = this.#profile;
    const above = measured === undefined ? loadW - idleW : Math.max(0, measured.powerW - idleW);
    for (const account of this.#running.values()) {
      account.energyJ += (above * duration) / 1000 / this.#running.size;
      account.measured &&= measured !== undefined;
    }
  }
}
