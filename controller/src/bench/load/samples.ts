import type { DeviceView, ListBody } from '@fleetgate/shared/api/operations';
import { messageOf } from '@fleetgate/shared/errors';

import type { HttpFleetClient } from '../http-fleet-client.js';
import { metricSum } from '../metrics-text.js';

const EVERY_MS = 1000;

/** A second of the fleet under load. */
export interface Sample {
  /** performance.now() */
  readonly at: number;
  readonly inFlight: number;
  readonly running: number;
  readonly waiting: number;
  readonly recordsWaiting: number;
  /** Jobs at a device by its own telemetry: running and queued there. */
  readonly deviceJobs: ReadonlyMap<string, number>;
  readonly residentBytes: ReadonlyMap<string, number>;
}

export interface SamplerParts {
  readonly client: HttpFleetClient;
  readonly residentBytes: () => Promise<ReadonlyMap<string, number>>;
}

/** Looks at the fleet each second until it is stopped. */
export class Sampler {
  readonly #parts: SamplerParts;
  readonly #timer: NodeJS.Timeout;
  readonly #samples: Sample[] = [];
  readonly #failures = new Map<string, number>();
  #looking = false;

  constructor(parts: SamplerParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => void this.#look(), EVERY_MS);
  }

  /** Seconds that could not be looked at, by why. */
  get failures(): ReadonlyMap<string, number> {
    return this.#failures;
  }

  /** What was seen since the last call. */
  taken(): readonly Sample[] {
    return this.#samples.splice(0);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    if (this.#looking) {
      this.#failed('the look before took longer than a second');
      return;
    }
    this.#looking = true;
    try {
      this.#samples.push(await look(this.#parts));
    } catch (error) {
      this.#failed(messageOf(error));
    } finally {
      this.#looking = false;
    }
  }

  #failed(why: string): void {
    this.#failures.set(why, (this.#failures.get(why) ?? 0) + 1);
  }
}

export async function look({ client, residentBytes }: SamplerParts): Promise<Sample> {
  const at = performance.now();
  const [metrics, devices, bytes] = await Promise.all([
    client.text('/metrics'),
    client.get<ListBody<DeviceView>>('/api/v1/devices'),
    residentBytes(),
  ]);
  return {
    at,
    inFlight: metricSum(metrics, 'fleetgate_requests_in_flight'),
    running: metricSum(metrics, 'fleetgate_jobs', { state: 'running' }),
    waiting: metricSum(metrics, 'fleetgate_jobs', { state: 'waiting' }),
    recordsWaiting: metricSum(metrics, 'fleetgate_records_waiting'),
    deviceJobs: new Map(
      devices.items.map(({ id, last }) => [id, (last.runningJobs ?? 0) + (last.queuedJobs ?? 0)] as const),
    ),
    residentBytes: bytes,
  };
}
