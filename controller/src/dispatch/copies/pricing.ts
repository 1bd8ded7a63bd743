import type { DeviceId } from '@fleetgate/shared/ids';

import { FREE, type RequestControl } from '../control/request-control.js';
import { type Prices, type Rates, ratesOf } from '../select.js';

/** What a request pays on one device. */
export interface DeviceRates {
  /** By these values are compared. */
  readonly compared: Rates;
  /** By these it is judged whether to answer at all. */
  readonly admission: Rates;
}

const NOTHING: Rates = { perJoule: 0, perMs: 0, perWaitMs: 0 };
export const UNPRICED: DeviceRates = { compared: NOTHING, admission: NOTHING };

/** What a request pays wherever it goes; the same object for all devices that no budget of their own binds. */
export class Pricing {
  readonly #prices: Prices;
  readonly #control: RequestControl | undefined;
  readonly #common: DeviceRates;

  constructor(prices: Prices, control: RequestControl | undefined) {
    this.#prices = prices;
    this.#control = control;
    const compared = ratesOf(prices);
    this.#common = { compared, admission: control === undefined || prices === control ? compared : ratesOf(control) };
  }

  on(device: DeviceId): DeviceRates {
    const surcharge = this.#control?.surchargeOf(device) ?? FREE;
    if (this.#control === undefined || surcharge === FREE) return this.#common;
    // A busy device is nobody's budget: it makes others preferred, and what waiting costs is in the price of latency.
    const ofBudgets = { ...surcharge, perBusySecond: 0 };
    return {
      compared: ratesOf(this.#prices, this.#prices.surchargeOf === undefined ? FREE : surcharge),
      admission: ratesOf(this.#control, ofBudgets),
    };
  }
}
