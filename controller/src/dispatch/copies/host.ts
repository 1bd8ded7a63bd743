import type { DeviceId } from '@fleetgate/shared/ids';
import type { Reported } from '@fleetgate/shared/protocol/twin';

import { type Device, presentReport } from '../../fleet/device.js';
import type { ProfiledCosts } from '../../telemetry/cost.js';
import type { DispatchFacts, Exclusion } from '../candidates.js';
import { Copy, type PlacedVariant } from './copy.js';

const NO_ABILITIES: readonly string[] = [];

/** A device that the plan places something on: what changes only with its record or with what is learned of its costs. */
export class Host {
  readonly deviceId: DeviceId;
  readonly copies: readonly Copy[];
  #device: Device | undefined;
  #learned: object | undefined;
  #concurrency = 1;
  #isPresent = false;
  #fault: Exclusion | undefined;
  #abilities = NO_ABILITIES;

  constructor(deviceId: DeviceId, variants: readonly PlacedVariant[]) {
    this.deviceId = deviceId;
    this.copies = variants.map((placed) => new Copy(deviceId, placed));
  }

  /** Jobs that it runs at once. */
  get concurrency(): number {
    return this.#concurrency;
  }

  /** Takes up the device's present record and what is known of its costs; nothing is done where both are as before. */
  renew(device: Device | undefined, costs: ProfiledCosts): void {
    const learned = costs.learnedOf(this.deviceId);
    if (device === this.#device && learned === this.#learned) return;
    this.#device = device;
    this.#learned = learned;
    const reported = device && presentReport(device);
    this.#concurrency = device?.reported?.concurrency ?? 1;
    this.#isPresent = reported !== undefined;
    this.#fault = reported && faultOf(reported);
    this.#abilities = reported?.engine.abilities ?? NO_ABILITIES;
    for (const copy of this.copies) {
      const { facts, id } = copy.placed.variant;
      const desired = device?.desired?.variants.find(({ variantId }) => variantId === id);
      copy.reported = device?.reported?.variants.find(({ variantId }) => variantId === id);
      copy.contextTokens = desired?.contextTokens ?? facts.contextTokens;
      copy.profile = costs.profileOf(this.deviceId, id);
    }
  }

  /** Why nothing on it may be chosen for a request. */
  faultFor({
    abilities,
    tried,
    unresponsive,
  }: Pick<DispatchFacts, 'abilities' | 'tried' | 'unresponsive'>): Exclusion | undefined {
    if (tried.has(this.deviceId)) return 'device-tried';
    if (!this.#isPresent) return 'device-offline';
    if (unresponsive.has(this.deviceId)) return 'device-unresponsive';
    if (this.#fault !== undefined) return this.#fault;
    return abilities.every((ability) => this.#abilities.includes(ability)) ? undefined : 'engine-cannot';
  }
}

function faultOf({ engine, state }: Reported): Exclusion | undefined {
  if (state === 'standby' || state === 'draining') return 'device-standby';
  return engine.state === 'ready' ? undefined : 'engine-down';
}
