import type { Clock } from '@fleetgate/shared/clock';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import type { EnergyMeter } from '../sensors/energy-meter.js';
import type { Reading, Sensors } from '../sensors/sensors.js';
import { type Batch, type Sample, toBatch } from './batch.js';

/** While jobs run on a board with a power sensor, power is read this often: jobs are shorter than a sample period. */
const BUSY_PERIOD = milliseconds(250);

export interface Activity {
  readonly queuedJobs: number;
  readonly runningJobs: number;
  /** Tokens given out since the start. */
  readonly outputTokens: number;
  readonly engineMemoryBytes: number;
  readonly standby: boolean;
}

export interface ReporterOptions {
  readonly sensors: Sensors;
  readonly meter: EnergyMeter;
  readonly activity: () => Activity;
  readonly onBatch: (batch: Batch) => void;
  /** Called with what every sample is made of. */
  readonly onReading?: (reading: Reading) => void;
  readonly clock: Clock;
}

/** Samples the device at a steady pace and cuts the samples into batches. Sensors slower than the pace leave gaps. */
export class Reporter {
  readonly #options: ReporterOptions;
  #sampleMs: Milliseconds = milliseconds(1000);
  #batchMs: Milliseconds = milliseconds(5000);
  #samples: Sample[] = [];
  #t0Ms = 0;
  #reading: Reading = {};
  #isReading = false;
  #tokensBefore = 0;
  #cancel: (() => void)[] = [];

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  start(): void {
    const { clock } = this.#options;
    this.#tokensBefore = this.#options.activity().outputTokens;
    this.#cancel = [
      clock.every(this.#sampleMs, () => void this.#sample()),
      clock.every(BUSY_PERIOD, () => void this.#whileBusy()),
    ];
  }

  /** The controller's wish; takes effect with a new batch. */
  setPace(sampleMs: number, batchMs: number): void {
    if (sampleMs === this.#sampleMs && batchMs === this.#batchMs) return;
    this.stop();
    this.#sampleMs = milliseconds(sampleMs);
    this.#batchMs = milliseconds(Math.max(sampleMs, batchMs));
    this.start();
  }

  /** Hands out what was sampled so far and samples no more. */
  stop(): void {
    for (const cancel of this.#cancel) cancel();
    this.#cancel = [];
    this.#cut();
  }

  async #sample(): Promise<void> {
    const { clock, meter, activity } = this.#options;
    await this.#read();
    if (this.#cancel.length === 0) return;
    this.#options.onReading?.(this.#reading);
    const now = activity();
    meter.setStandby(now.standby ? 'standby' : 'awake');
    const tokens = now.outputTokens - this.#tokensBefore;
    this.#tokensBefore = now.outputTokens;
    const { temperatureC, memoryUsedBytes, batteryRatio, throttled, cpuRatio } = this.#reading;
    if (this.#samples.length === 0) this.#t0Ms = clock.now();
    this.#samples.push({
      powerW: meter.power().powerW,
      ...(temperatureC === undefined ? {} : { temperatureC }),
      ...(memoryUsedBytes === undefined ? {} : { memoryUsedBytes }),
      ...(batteryRatio === undefined ? {} : { batteryRatio }),
      ...(throttled === undefined ? {} : { throttled: throttled ? 1 : 0 }),
      ...(cpuRatio === undefined ? {} : { cpuRatio }),
      engineMemoryBytes: now.engineMemoryBytes,
      queuedJobs: now.queuedJobs,
      runningJobs: now.runningJobs,
      outputTokensPerS: (tokens * 1000) / this.#sampleMs,
    });
    const isFull = this.#samples.length * this.#sampleMs >= this.#batchMs || this.#samples.length >= 3600;
    if (isFull) this.#cut();
  }

  async #whileBusy(): Promise<void> {
    const { meter } = this.#options;
    if (meter.isBusy && meter.origin.source === 'measured') await this.#read();
  }

  /** One read at a time: a slow sensor skips a beat. */
  async #read(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      this.#reading = await this.#options.sensors.read();
      this.#options.meter.sample(this.#reading);
    } finally {
      this.#isReading = false;
    }
  }

  #cut(): void {
    if (this.#samples.length === 0) return;
    const { meter, onBatch } = this.#options;
    const head = { t0Ms: this.#t0Ms, dtMs: this.#sampleMs, powerSource: meter.origin.source };
    onBatch(toBatch(this.#samples, head));
    this.#samples = [];
  }
}
