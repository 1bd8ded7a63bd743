import { joules, type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import { variantQuality } from '../../catalogue/variant-quality.js';
import type { Candidate, DispatchFacts, Exclusion } from '../candidates.js';
import { FREE, type Surcharge } from '../control/request-control.js';
import type { DeviceLoad } from '../device-load.js';
import { netQuality, type PricedCost, type Prices } from '../select.js';
import type { Copy } from './copy.js';
import type { Host } from './host.js';
import { type PlacedCopies, placedCopies } from './placed-copies.js';
import { type Prospect, prospectsOf } from './prospects.js';

/** What is the same for all copies on a device. */
interface Here {
  readonly host: Host;
  readonly load: DeviceLoad | undefined;
  readonly fault: Exclusion | undefined;
  readonly isLow: boolean;
  readonly surcharge: Surcharge;
}

const NO_WAIT = milliseconds(0);
const NO_COST: PricedCost = { energy: joules(0), latency: milliseconds(0), wait: NO_WAIT };

/**
 * Every placed copy as one request sees it: quality, cost, wait, what it is worth at the request's prices, and the first
 * reason why it may not be chosen. What is excluded never changes the figures of the others. Candidates are made only of
 * copies that somebody looks at. Holds until the next decision by the same placements. O(n).
 */
export class Weighing {
  readonly placed: PlacedCopies;
  readonly #facts: DispatchFacts;
  readonly #prices: Prices;
  readonly #prospects: readonly Prospect[];

  constructor(facts: DispatchFacts, prices: Prices) {
    this.#facts = facts;
    this.#prices = prices;
    this.placed = placedCopies(facts.policy.placements, facts.catalogue);
    this.#prospects = prospectsOf(facts, this.placed);
    for (const host of this.placed.hosts) this.#weighHost(host);
  }

  /** Lets copies be chosen whose experts are on trial; whether there are any. */
  admitTrials(): boolean {
    const onTrial = this.placed.copies.filter(({ excluded }) => excluded === 'on-trial');
    for (const copy of onTrial) copy.excluded = undefined;
    return onTrial.length > 0;
  }

  candidateOf(copy: Copy): Candidate {
    const { deviceId, excluded, placed, profile, quality, reported, wait } = copy;
    const { bias, expert, isAsked, workload } = this.#prospectOf(copy);
    return {
      expertId: placed.variant.expertId,
      variantId: placed.variant.id,
      deviceId,
      quality,
      qualitySd: expert.sd,
      doubt: expert.doubt,
      bias,
      cost: isAsked ? profile?.estimate(workload) : undefined,
      wait: milliseconds(wait),
      progress: reported?.progress,
      excluded,
    };
  }

  #weighHost(host: Host): void {
    const { control, costs, fleet, loadOf } = this.#facts;
    const device = fleet.get(host.deviceId);
    host.renew(device, costs);
    const here: Here = {
      host,
      load: device && loadOf(device),
      fault: host.faultFor(this.#facts),
      isLow: control?.isLow(host.deviceId) === true,
      surcharge: control?.surchargeOf(host.deviceId) ?? FREE,
    };
    for (const copy of host.copies) this.#weigh(copy, here);
  }

  #weigh(copy: Copy, here: Here): void {
    const prospect = this.#prospectOf(copy);
    const quality = this.#presentQuality(copy, prospect);
    const benefit = quality + (prospect.bias ?? 0);
    const cost = costOf(copy, prospect, here);
    const { energy, latency, wait } = cost ?? NO_COST;
    copy.quality = quality;
    copy.latency = latency;
    copy.energy = energy;
    copy.wait = wait;
    const surcharge = this.#prices.surchargeOf === undefined ? FREE : here.surcharge;
    copy.value = cost === undefined ? -Infinity : netQuality(benefit, cost, this.#prices, surcharge);
    copy.excluded =
      prospect.fault ??
      here.fault ??
      this.#copyFault(copy) ??
      (cost === undefined ? 'cost-unknown' : this.#costFault(cost, here)) ??
      (prospect.isOnTrial ? 'on-trial' : undefined) ??
      (cost !== undefined && this.#isPricedOut(benefit, cost, here) ? 'priced-out' : undefined);
  }

  /** A strained device may serve a variant with fewer active slabs. */
  #presentQuality({ placed, reported }: Copy, { expert, quality }: Prospect): number {
    const slabsPerToken = reported?.slabs?.slabsPerToken;
    if (slabsPerToken === undefined || placed.variant.made?.lossAtSlabs === undefined) return quality;
    return variantQuality(expert.mean, placed.variant, this.#facts.score?.classId, slabsPerToken);
  }

  #copyFault({ contextTokens, reported }: Copy): Exclusion | undefined {
    // The count of prompt tokens is an estimate: only what is surely too long is kept from the agent.
    if (this.#facts.promptTokens > 1.25 * contextTokens) return 'context-too-small';
    return reported?.residency === 'resident' ? undefined : 'not-resident';
  }

  #costFault(cost: PricedCost, { host, isLow, load }: Here): Exclusion | undefined {
    const { control, limits, maxQueuedPerDevice } = this.#facts;
    const { energy, latency } = limits;
    if (energy !== undefined && cost.energy > energy) return 'over-energy-budget';
    if (latency !== undefined && cost.latency > latency) return 'over-latency-budget';
    if (isLow) return 'battery-low';
    if (control?.spent(host.deviceId, cost) !== undefined) return 'budget-spent';
    if (load !== undefined && load.occupied >= host.concurrency + maxQueuedPerDevice) return 'queue-full';
    if (latency !== undefined && cost.latency + cost.wait > latency) return 'wait-too-long';
    return undefined;
  }

  /**
   * What costs more, at the present prices, than answering is worth is not done: drift-plus-penalty's rule of admission
   * (docs/formulation.md). Whatever the mode, for budgets hold for all. A busy device is nobody's budget: it makes others
   * preferred, and what waiting costs is in the price of latency.
   */
  #isPricedOut(benefit: number, cost: PricedCost, { surcharge }: Here): boolean {
    const { control } = this.#facts;
    if (control === undefined || control.served === Infinity) return false;
    const own = { perJoule: surcharge.perJoule, perBusySecond: 0 };
    return netQuality(benefit, cost, control, own) + control.served < 0;
  }

  #prospectOf({ placed }: Copy): Prospect {
    const prospect = this.#prospects[placed.variantAt];
    if (prospect === undefined) throw new RangeError(`${placed.variant.id} is not among what is placed`);
    return prospect;
  }
}

function costOf({ profile }: Copy, { isAsked, workload }: Prospect, { host, load }: Here): PricedCost | undefined {
  if (!isAsked || profile === undefined) return undefined;
  const latency = profile.latency(workload);
  return { energy: profile.energy(workload), latency, wait: waitFor(latency, load, host.concurrency) };
}

/** Waiting behind what is there: none while fewer jobs run than may at once. */
function waitFor(latency: Milliseconds, load: DeviceLoad | undefined, concurrency: number): Milliseconds {
  if (load === undefined || load.occupied < concurrency) return NO_WAIT;
  return milliseconds(load.freeIn + (load.foreign * latency) / concurrency);
}
