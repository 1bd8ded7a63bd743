import type { Clock } from '@fleetgate/shared/clock';
import { messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import { after, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { Reading, SensorAdapter, SensorReader, Sensors } from './sensors.js';

/** A sensor may fail this often in a row before it is dropped: one unreadable sample is no news. */
const FAILURES = 3;
/** Absent or dropped sensors are looked for again: an app is installed, a driver comes back. */
const RETRY = milliseconds(5 * 60_000);

interface Slot {
  readonly adapter: SensorAdapter;
  reader: SensorReader | undefined;
  failures: number;
  retryAt: UnixMs | undefined;
}

/**
 * Reads all adapters of a device; where two give the same quantity, the earlier one wins.
 *
 * An adapter that throws three times in a row is dropped with one warning and tried again after five minutes.
 */
export class SensorSet implements Sensors {
  readonly #slots: readonly Slot[];
  readonly #clock: Clock;
  readonly #log: Logger;

  constructor(adapters: readonly SensorAdapter[], clock: Clock, log: Logger) {
    this.#slots = adapters.map((adapter) => ({ adapter, reader: undefined, failures: 0, retryAt: undefined }));
    this.#clock = clock;
    this.#log = log;
  }

  async read(): Promise<Reading> {
    const readings = await Promise.all(this.#slots.map((slot) => this.#readOne(slot)));
    return Object.assign({}, ...readings.toReversed()) as Reading;
  }

  async #readOne(slot: Slot): Promise<Reading> {
    try {
      if (slot.reader === undefined) {
        if (slot.retryAt !== undefined && this.#clock.now() < slot.retryAt) return {};
        slot.reader = await slot.adapter.open();
        if (slot.reader === undefined) {
          slot.retryAt = this.#later();
          return {};
        }
      }
      const reading = await slot.reader();
      slot.failures = 0;
      return reading;
    } catch (error) {
      slot.failures += 1;
      if (slot.failures >= FAILURES) {
        this.#log.warn('sensor.dropped', { sensor: slot.adapter.name, reason: messageOf(error), retryMs: RETRY });
        slot.reader = undefined;
        slot.failures = 0;
        slot.retryAt = this.#later();
      }
      return {};
    }
  }

  #later(): UnixMs {
    return after(this.#clock.now(), RETRY);
  }
}
