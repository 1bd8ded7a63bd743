/** What a decision has to come to, said as plainly as it can be: every candidate is made, and all are sorted. */
import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { DeviceId, ExpertId, VariantId } from '@fleetgate/shared/ids';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { variantQuality } from '../../catalogue/variant-quality.js';
import { type Device, presentReport } from '../../fleet/device.js';
import type { Candidate, DispatchFacts, Exclusion } from '../candidates.js';
import { isAskedFor } from '../model-target.js';
import { plannedPrices, pricesFor, type Ranked, type Selection, valueOf } from '../select.js';

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export interface PlainDecision {
  readonly selection: Selection;
  /** In the plan's order, as the first selection saw them. */
  readonly candidates: readonly Candidate[];
}

export function decidePlainly(facts: DispatchFacts): PlainDecision {
  const present = facts.control ?? plannedPrices(facts.policy, facts.score?.classId);
  const prices = pricesFor(facts.target.mode, present);
  const candidates = plainCandidates(facts).map((candidate) => {
    if (candidate.excluded !== undefined || facts.control === undefined) return candidate;
    const { control } = facts;
    const surchargeOf = (device: DeviceId) => ({ ...control.surchargeOf(device), perBusySecond: 0 });
    const value = valueOf(candidate, { ...control, surchargeOf }) ?? 0;
    return value + control.served < 0 ? { ...candidate, excluded: 'priced-out' as const } : candidate;
  });
  const choose = (of: readonly Candidate[]): Selection => {
    const ranked = of.map((candidate) => ({ candidate, value: valueOf(candidate, prices) })).sort(plainOrder);
    const eligible = of.filter(({ excluded }) => excluded === undefined).length;
    return { prices, ranked, eligible, chosen: eligible > 0 ? ranked[0] : undefined };
  };
  const first = choose(candidates);
  if (first.chosen !== undefined) return { selection: first, candidates };
  const second = choose(candidates.map((one) => (one.excluded === 'on-trial' ? { ...one, excluded: undefined } : one)));
  return { selection: second.chosen === undefined ? first : second, candidates };
}

function plainOrder(a: Ranked, b: Ranked): number {
  const [one, other] = [a.candidate, b.candidate];
  const timeOf = ({ cost, wait }: Candidate): number => (cost?.latency ?? 0) + wait;
  const byValue = a.value === b.value ? 0 : (b.value ?? -Infinity) - (a.value ?? -Infinity);
  return (
    Number(one.excluded !== undefined) - Number(other.excluded !== undefined) ||
    byValue ||
    timeOf(one) - timeOf(other) ||
    (one.cost?.energy ?? 0) - (other.cost?.energy ?? 0) ||
    compare(one.variantId, other.variantId) ||
    compare(one.deviceId ?? '', other.deviceId ?? '')
  );
}

function plainCandidates(facts: DispatchFacts): readonly Candidate[] {
  const { catalogue, policy, target } = facts;
  const candidates: Candidate[] = [];
  const listed = new Set<VariantId | ExpertId>();
  for (const [deviceId, variants] of policy.placements) {
    for (const variantId of variants) {
      const variant = catalogue.variants.get(variantId);
      if (variant === undefined) continue;
      listed.add(variantId).add(variant.expertId);
      candidates.push(placed(facts, variant, deviceId));
    }
  }
  for (const variant of catalogue.variants.values()) {
    const isWanted = target.kind === 'variant' && target.variantId === variant.id;
    if (listed.has(isWanted ? variant.id : variant.expertId)) continue;
    listed.add(variant.id).add(variant.expertId);
    const { mean, sd } = expertQuality(facts, variant);
    candidates.push({
      ...{ expertId: variant.expertId, variantId: variant.id, deviceId: undefined },
      ...{ quality: variantQuality(mean, variant, facts.score?.classId), qualitySd: sd },
      ...{ cost: undefined, wait: milliseconds(0), progress: undefined },
      excluded: isAskedFor(target, variant.expertId, variant.id) ? 'not-placed' : 'not-asked-for',
    });
  }
  return candidates;
}

function expertQuality({ catalogue, score }: DispatchFacts, { expertId }: Variant) {
  const predicted = score?.experts.get(expertId);
  if (predicted !== undefined) {
    return { ...predicted, mean: predicted.quality, known: true };
  }
  const bits = Object.values(catalogue.experts.get(expertId)?.bitsPerByte ?? {});
  const sum = bits.reduce((total, each) => total + 2 ** -each, 0);
  return bits.length === 0
    ? { mean: 0, sd: 1, outputTokens: 128, known: false, doubt: undefined }
    : { mean: sum / bits.length, sd: 0.15, outputTokens: 128, known: true, doubt: undefined };
}

function placed(facts: DispatchFacts, variant: Variant, deviceId: DeviceId): Candidate {
  const { answerFactor, biasOf, costs, fleet, loadOf, maxOutputTokens, onTrial, promptTokens, score, target } = facts;
  const device = fleet.get(deviceId);
  const isAsked = isAskedFor(target, variant.expertId, variant.id);
  const { mean, sd, doubt, known, outputTokens } = expertQuality(facts, variant);
  const expected = Math.min(maxOutputTokens, Math.max(1, Math.min(maxOutputTokens, outputTokens) * answerFactor));
  const cost = isAsked ? costs.estimate(deviceId, variant.id, { promptTokens, outputTokens: expected }) : undefined;
  const concurrency = device?.reported?.concurrency ?? 1;
  const load = device && loadOf(device);
  const isFree = load === undefined || cost === undefined || load.occupied < concurrency;
  const reported = device?.reported?.variants.find(({ variantId }) => variantId === variant.id);
  const candidate: Candidate = {
    ...{ expertId: variant.expertId, variantId: variant.id, deviceId },
    quality: variantQuality(mean, variant, score?.classId, reported?.slabs?.slabsPerToken),
    qualitySd: sd,
    doubt,
    bias: isAsked ? biasOf?.(variant.expertId) : undefined,
    cost,
    wait: milliseconds(isFree ? 0 : load.freeIn + (load.foreign * cost.latency) / concurrency),
    progress: reported?.progress,
    excluded: undefined,
  };
  const isTried = target.kind === 'any' && onTrial?.has(variant.expertId) === true;
  const excluded = !isAsked
    ? 'not-asked-for'
    : target.kind === 'any' && !known
      ? 'quality-unknown'
      : (deviceFault(facts, variant, device, deviceId) ??
        costFault(facts, candidate, device, deviceId) ??
        (isTried ? 'on-trial' : undefined));
  return { ...candidate, excluded };
}

function deviceFault(
  { abilities, promptTokens, tried, unresponsive }: DispatchFacts,
  variant: Variant,
  device: Device | undefined,
  deviceId: DeviceId,
): Exclusion | undefined {
  if (tried.has(deviceId)) return 'device-tried';
  const reported = device && presentReport(device);
  if (reported === undefined) return 'device-offline';
  if (unresponsive.has(deviceId)) return 'device-unresponsive';
  if (reported.state === 'standby' || reported.state === 'draining') return 'device-standby';
  if (reported.engine.state !== 'ready') return 'engine-down';
  const can: readonly string[] = reported.engine.abilities ?? [];
  if (abilities.some((ability) => !can.includes(ability))) return 'engine-cannot';
  const desired = device?.desired?.variants.find(({ variantId }) => variantId === variant.id);
  if (promptTokens > 1.25 * (desired?.contextTokens ?? variant.facts.contextTokens)) return 'context-too-small';
  const { residency } = reported.variants.find(({ variantId }) => variantId === variant.id) ?? {};
  return residency === 'resident' ? undefined : 'not-resident';
}

function costFault(
  { control, limits, loadOf, maxQueuedPerDevice }: DispatchFacts,
  { cost, wait }: Candidate,
  device: Device | undefined,
  deviceId: DeviceId,
): Exclusion | undefined {
  if (cost === undefined) return 'cost-unknown';
  const { energy = Infinity, latency = Infinity } = limits;
  if (cost.energy > energy) return 'over-energy-budget';
  if (cost.latency > latency) return 'over-latency-budget';
  if (control?.isLow(deviceId) === true) return 'battery-low';
  if (control?.spent(deviceId, cost) !== undefined) return 'budget-spent';
  const places = (device?.reported?.concurrency ?? 1) + maxQueuedPerDevice;
  if (device !== undefined && loadOf(device).occupied >= places) return 'queue-full';
  return cost.latency + wait > latency ? 'wait-too-long' : undefined;
}
