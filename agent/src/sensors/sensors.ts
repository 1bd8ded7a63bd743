import type { PowerSource, Reported } from '@fleetgate/shared/protocol/twin';

export type NetworkKind = NonNullable<NonNullable<Reported['conditions']>['network']>;

/** What could be read just now. A quantity without a working sensor is left out, never 0. */
export interface Reading {
  /** Power of the whole device as far as its sensor sees it, watts. */
  readonly powerW?: number;
  /** Which sensor and rails, for example `jetson-ina3221 VDD_IN`. Set with powerW. */
  readonly powerFrom?: string;
  readonly temperatureC?: number;
  readonly memoryUsedBytes?: number;
  /** 0 empty .. 1 full. */
  readonly batteryRatio?: number;
  /** Whether it runs on its battery, off the charger. */
  readonly onBattery?: boolean;
  /** True while the board slows itself down (heat, low voltage). */
  readonly throttled?: boolean;
  /** Share of all cores that was busy since the read before. */
  readonly cpuRatio?: number;
  /** What carries its traffic to others. */
  readonly network?: NetworkKind;
}

/** A device's sensors together. Never throws: a sensor that fails is left out until it works again. */
export interface Sensors {
  read(): Promise<Reading>;
}

/** Reads one sensor. Throws when it stopped working; the message says what was expected. */
export type SensorReader = () => Promise<Reading>;

/** One kind of sensor. `open` gives its reader, or undefined when this machine has no such sensor. */
export interface SensorAdapter {
  readonly name: string;
  open(): Promise<SensorReader | undefined>;
}

/** Power to account with: measured where a sensor says so, else modelled. */
export interface PowerReading {
  readonly powerW: number;
  readonly source: PowerSource;
  readonly from: string;
}

/** Says what it was told; for tests. */
export class FixedSensors implements Sensors {
  constructor(public reading: Reading = {}) {}
  read(): Promise<Reading> {
    return Promise.resolve(this.reading);
  }
}
