import { joules, milliseconds } from '@fleetgate/shared/units/quantity';

import { variantQuality } from '../../catalogue/variant-quality.js';
import type { Candidate, DispatchFacts, Exclusion } from '../candidates.js';
import type { RequestControl } from '../control/request-control.js';
import type { Prices } from '../select.js';
import type { Host } from './host.js';
import { type PlacedCopies, placedCopies } from './placed-copies.js';
import { Pricing } from './pricing.js';
import { Prospects } from './prospects.js';

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
    this.#price();
    this.#exclude();
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

  /** Quality, cost, wait and value of every copy. */
  #price(): void {
    const { promptTokens } = this.#facts;
    const { bias, hasSlabLosses, outputTokens } = this.#prospects;
    const { hosts, table } = this.placed;
    const { baseJ, baseMs, outputJ, outputMs, promptJ, promptMs, variantAt } = table;
    const { energy, latency, quality, value, wait } = table;
    for (const { concurrency, end, first, load, rates } of hosts) {
      const { perJoule, perMs, perWaitMs } = rates.compared;
      // Behind what is there: none while fewer jobs run than may at once.
      const isFree = load === undefined || load.occupied < concurrency;
      for (let row = first; row < end; row++) {
        const at = variantAt[row] ?? 0;
        const output = outputTokens[at] ?? 0;
        const good = hasSlabLosses[at] === true ? this.#presentQuality(row) : (this.#prospects.quality[at] ?? 0);
        const ms = (baseMs[row] ?? 0) + (promptMs[row] ?? 0) * promptTokens + (outputMs[row] ?? 0) * output;
        const joule = (baseJ[row] ?? 0) + (promptJ[row] ?? 0) * promptTokens + (outputJ[row] ?? 0) * output;
        const before = isFree ? 0 : load.freeIn + (load.foreign * ms) / concurrency;
        const net = good + (bias[at] ?? 0) - perJoule * joule - perMs * ms - perWaitMs * before;
        const hasCost = !Number.isNaN(ms);
        quality[row] = good;
        latency[row] = hasCost ? ms : 0;
        energy[row] = hasCost ? joule : 0;
        wait[row] = hasCost ? before : 0;
        value[row] = hasCost ? net : -Infinity;
      }
    }
  }

  /** Why each copy may not be chosen. */
  #exclude(): void {
    const { control, promptTokens } = this.#facts;
    const { fault: ofVariant, isOnTrial } = this.#prospects;
    const { hosts, table } = this.placed;
    const { contextTokens, excluded, fault, variantAt } = table;
    const isBounded = this.#isBounded();
    const isJudged = control !== undefined && control.served < Infinity;
    for (const host of hosts) {
      const late = host.isLow ? 'battery-low' : host.isFull ? 'queue-full' : undefined;
      for (let row = host.first; row < host.end; row++) {
        const at = variantAt[row] ?? 0;
        // The count of prompt tokens is an estimate: only what is surely too long is kept from the agent.
        const isTooLong = promptTokens > 1.25 * (contextTokens[row] ?? 0);
        excluded[row] =
          ofVariant[at] ??
          host.fault ??
          (isTooLong ? 'context-too-small' : fault[row]) ??
          (isBounded ? this.#costFault(row, host) : late) ??
          (isOnTrial[at] === true ? 'on-trial' : undefined) ??
          (isJudged && this.#isPricedOut(row, host, control) ? 'priced-out' : undefined);
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

  /**
   * What costs more, at the present prices, than answering is worth is not done: drift-plus-penalty's rule of admission
   * (docs/formulation.md). Whatever the mode, for budgets hold for all.
   */
  #isPricedOut(row: number, { rates: { admission, compared } }: Host, { served }: RequestControl): boolean {
    const { energy, latency, quality, value, variantAt, wait } = this.placed.table;
    if (admission === compared) return (value[row] ?? 0) + served < 0;
    const { perJoule, perMs, perWaitMs } = admission;
    const benefit = (quality[row] ?? 0) + (this.#prospects.bias[variantAt[row] ?? 0] ?? 0);
    const work = benefit - perJoule * (energy[row] ?? 0) - perMs * (latency[row] ?? 0);
    return work - perWaitMs * (wait[row] ?? 0) + served < 0;
  }
}
