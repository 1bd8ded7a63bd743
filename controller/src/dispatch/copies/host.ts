import type { DeviceId } from '@fleetgate/shared/ids';
import type { Reported } from '@fleetgate/shared/protocol/twin';

import { concurrencyOf, type Device, presentReport } from '../../fleet/device.js';
import type { ProfiledCosts } from '../../telemetry/cost.js';
import type { DispatchFacts, Exclusion } from '../candidates.js';
import type { DeviceLoad } from '../device-load.js';
import type { CopyTable, PlacedVariant } from './copy-table.js';
import { type Pricing, UNPRICED } from './pricing.js';

const NO_ABILITIES: readonly string[] = [];

/** A device that the plan places something on: what changes only with its record or with what is learned of its costs. */
export class Host {
  readonly deviceId: DeviceId;
  /** Its copies are the rows of the table from `first` to before `end`. */
  readonly first: number;
  readonly end: number;
  /** Jobs that it runs at once. */
  concurrency = 1;

  // What the present request finds here.
  load: DeviceLoad | undefined;
  /** Why it may have nothing that is here. */
  fault: Exclusion | undefined;
  /** Whether the battery is down to its reserve. */
  isLow = false;
  /** Whether as many jobs wait as may. */
  isFull = false;
  rates = UNPRICED;

  readonly #variants: readonly PlacedVariant[];
  readonly #table: CopyTable;
  #device: Device | undefined;
  #learned: object | undefined;
  #isPresent = false;
  #fault: Exclusion | undefined;
  #abilities = NO_ABILITIES;

  constructor(deviceId: DeviceId, variants: readonly PlacedVariant[], table: CopyTable, first: number) {
    this.deviceId = deviceId;
    this.first = first;
    this.end = first + variants.length;
    this.#variants = variants;
    this.#table = table;
  }

  /** Takes up what a request finds here; of the device and its costs only what has changed since the last one looked. */
  look(facts: DispatchFacts, pricing: Pricing): void {
    const { control, costs, fleet, loadOf, maxQueuedPerDevice } = facts;
    const { deviceId } = this;
    const device = fleet.get(deviceId);
    this.#renew(device, costs);
    this.load = device && loadOf(device);
    this.fault = this.#faultFor(facts);
    this.isLow = control?.isLow(deviceId) === true;
    this.isFull = this.load !== undefined && this.load.occupied >= this.concurrency + maxQueuedPerDevice;
    this.rates = pricing.on(deviceId);
  }

  #renew(device: Device | undefined, costs: ProfiledCosts): void {
    const learned = costs.learnedOf(this.deviceId);
    if (device === this.#device && learned === this.#learned) return;
    this.#device = device;
    this.#learned = learned;
    const reported = device && presentReport(device);
    this.concurrency = concurrencyOf(device);
    this.#isPresent = reported !== undefined;
    this.#fault = reported && faultOf(reported);
    this.#abilities = reported?.engine.abilities ?? NO_ABILITIES;
    for (const [nth, placed] of this.#variants.entries()) {
      const { facts, id } = placed.variant;
      const desired = device?.desired?.variants.find(({ variantId }) => variantId === id);
      this.#table.put(this.first + nth, {
        ...placed,
        deviceId: this.deviceId,
        reported: device?.reported?.variants.find(({ variantId }) => variantId === id),
        contextTokens: desired?.contextTokens ?? facts.contextTokens,
        profile: costs.profileOf(this.deviceId, id),
      });
    }
  }

  #faultFor({ abilities, tried, unresponsive }: DispatchFacts): Exclusion | undefined {
    if (tried.has(this.deviceId)) return 'device-tried';
    if (!this.#isPresent) return 'device-offline';
    if (unresponsive.has(this.deviceId)) return 'device-unresponsive';
    if (this.#fault !== undefined) return this.#fault;
    if (abilities.length === 0) return undefined;
    return this.#isAbleTo(abilities) ? undefined : 'engine-cannot';
  }

  #isAbleTo(abilities: readonly string[]): boolean {
    return abilities.every((ability) => this.#abilities.includes(ability));
  }
}

function faultOf({ engine, state }: Reported): Exclusion | undefined {
  if (state === 'standby' || state === 'draining') return 'device-standby';
  return engine.state === 'ready' ? undefined : 'engine-down';
}
