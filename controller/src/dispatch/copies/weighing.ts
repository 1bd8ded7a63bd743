import { joules, milliseconds } from '@fleetgate/shared/units/quantity';

import { variantQuality } from '../../catalogue/variant-quality.js';
import type { Candidate, DispatchFacts, Exclusion } from '../candidates.js';
import type { Prices, Rates } from '../select.js';
import type { Host } from './host.js';
import { type PlacedCopies, placedCopies } from './placed-copies.js';
import { Pricing } from './pricing.js';
import { Prospects } from './prospects.js';

/** The count of prompt tokens is an estimate: only what is surely too long is kept from the agent. */
const CONTEXT_MARGIN = 1.25;

/**
 * Every placed copy as one request sees it: quality, cost, wait, what it is worth at the request's prices, and the first
 * reason why it may not be chosen. What is excluded never changes the figures of the others. Candidates are made only of
 * copies that somebody looks at. Holds until the next decision by the same placements. O(n).
 */
export class Weighing {
  readonly placed: PlacedCopies;
  readonly #facts: DispatchFacts;
  readonly #prospects: Prospects;

  constructor(facts: DispatchFacts, prices: Prices) {
    this.#facts = facts;
    this.placed = placedCopies(facts.policy.placements, facts.catalogue);
    this.#prospects = new Prospects(facts, this.placed);
    const pricing = new Pricing(prices, facts.control);
    for (const host of this.placed.hosts) host.look(facts, pricing);
    this.#weigh();
  }

  /** Lets copies be chosen whose experts are on trial; whether there are any. */
  admitTrials(): boolean {
    const { excluded } = this.placed.table;
    const onTrial = excluded.flatMap((reason, row) => (reason === 'on-trial' ? [row] : []));
    for (const row of onTrial) excluded[row] = undefined;
    return onTrial.length > 0;
  }

  candidateAt(row: number): Candidate {
    const { biasOf, promptTokens } = this.#facts;
    const { table } = this.placed;
    const { deviceId, profile, reported, variant, variantAt } = table.copyAt(row);
    const { doubt, sd } = this.#prospects.expert(variantAt);
    const outputTokens = this.#prospects.outputTokens[variantAt] ?? NaN;
    const isAsked = !Number.isNaN(outputTokens);
    return {
      expertId: variant.expertId,
      variantId: variant.id,
      deviceId,
      quality: table.quality[row] ?? 0,
      qualitySd: sd,
      doubt,
      bias: isAsked ? biasOf?.(variant.expertId) : undefined,
      cost: isAsked ? profile?.estimate({ promptTokens, outputTokens }) : undefined,
      wait: milliseconds(table.wait[row] ?? 0),
      progress: reported?.progress,
      excluded: table.excluded[row],
    };
  }

  /**
   * Quality, cost, wait, value and the first reason of exclusion of every copy.
   *
   * What costs more, at the present prices, than answering is worth is not done: drift-plus-penalty's rule of admission
   * (docs/formulation.md). Whatever the mode, for budgets hold for all.
   */
  #weigh(): void {
    const { control, promptTokens } = this.#facts;
    const { bias, fault: ofVariant, hasSlabLosses, isOnTrial, outputTokens } = this.#prospects;
    const { hosts, table } = this.placed;
    const { baseJ, baseMs, contextTokens, fault, outputJ, outputMs, promptJ, promptMs, variantAt } = table;
    const { energy, excluded, latency, quality, value, wait } = table;
    const isBounded = this.#isBounded();
    const served = control?.served ?? Infinity;
    for (const host of hosts) {
      const { concurrency, end, first, load } = host;
      const { admission, compared } = host.rates;
      const { perJoule, perMs, perWaitMs } = compared;
      // Behind what is there: none while fewer jobs run than may at once.
      const isFree = load === undefined || load.occupied < concurrency;
      const unfit = host.isLow ? 'battery-low' : host.isFull ? 'queue-full' : undefined;
      for (let row = first; row < end; row++) {
        const at = variantAt[row] ?? 0;
        const output = outputTokens[at] ?? 0;
        const good = hasSlabLosses[at] === true ? this.#presentQuality(row) : (this.#prospects.quality[at] ?? 0);
        const ms = (baseMs[row] ?? 0) + (promptMs[row] ?? 0) * promptTokens + (outputMs[row] ?? 0) * output;
        const joule = (baseJ[row] ?? 0) + (promptJ[row] ?? 0) * promptTokens + (outputJ[row] ?? 0) * output;
        const before = isFree ? 0 : load.freeIn + (load.foreign * ms) / concurrency;
        const benefit = good + (bias[at] ?? 0);
        const net = benefit - perJoule * joule - perMs * ms - perWaitMs * before;
        const hasCost = !Number.isNaN(ms);
        quality[row] = good;
        latency[row] = hasCost ? ms : 0;
        energy[row] = hasCost ? joule : 0;
        wait[row] = hasCost ? before : 0;
        value[row] = hasCost ? net : -Infinity;
        const isTooLong = promptTokens > CONTEXT_MARGIN * (contextTokens[row] ?? 0);
        const admitted = admission === compared ? net : this.#admissionValue(row, benefit, admission);
        excluded[row] =
          ofVariant[at] ??
          host.fault ??
          (isTooLong ? 'context-too-small' : fault[row]) ??
          (isBounded ? this.#costFault(row, host) : unfit) ??
          (isOnTrial[at] === true ? 'on-trial' : admitted + served < 0 ? 'priced-out' : undefined);
      }
    }
  }

  /** A strained device may serve a variant with fewer active slabs. */
  #presentQuality(row: number): number {
    const { reported, variant, variantAt } = this.placed.table.copyAt(row);
    const { mean } = this.#prospects.expert(variantAt);
    return variantQuality(mean, variant, this.#facts.score?.classId, reported?.slabs?.slabsPerToken);
  }

  /** Whether something bounds what a single answer may cost. */
  #isBounded(): boolean {
    const { control, limits } = this.#facts;
    return limits.energy !== undefined || limits.latency !== undefined || control?.isMetered === true;
  }

  #costFault(row: number, { deviceId, isFull, isLow }: Host): Exclusion | undefined {
    const { control, limits } = this.#facts;
    const { table } = this.placed;
    const energy = joules(table.energy[row] ?? 0);
    const latency = milliseconds(table.latency[row] ?? 0);
    const mostLatency = limits.latency ?? Infinity;
    if (energy > (limits.energy ?? Infinity)) return 'over-energy-budget';
    if (latency > mostLatency) return 'over-latency-budget';
    if (isLow) return 'battery-low';
    if (control?.spent(deviceId, { energy, latency }) !== undefined) return 'budget-spent';
    if (isFull) return 'queue-full';
    return latency + (table.wait[row] ?? 0) > mostLatency ? 'wait-too-long' : undefined;
  }

  #admissionValue(row: number, benefit: number, { perJoule, perMs, perWaitMs }: Rates): number {
    const { energy, latency, wait } = this.placed.table;
    return benefit - perJoule * (energy[row] ?? 0) - perMs * (latency[row] ?? 0) - perWaitMs * (wait[row] ?? 0);
  }
}
