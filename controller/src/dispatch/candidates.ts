import type { Expert, Variant } from '@fleetgate/shared/catalogue/expert';
import type { DeviceId, ExpertId, VariantId } from '@fleetgate/shared/ids';
import type { EngineAbility, Residency } from '@fleetgate/shared/protocol/twin';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import type { Catalogue } from '../catalogue/catalogue.js';
import { variantQuality } from '../catalogue/variant-quality.js';
import { type Device, type FleetSnapshot, presentReport } from '../fleet/device.js';
import type { GateScore } from '../gating/gate.js';
import type { CostEstimate, CostEstimator } from '../telemetry/cost.js';
import type { RequestControl } from './control/request-control.js';
import type { DeviceLoad } from './device-load.js';
import type { DispatchPolicy } from './dispatch-policy.js';
import { isAskedFor, type ModelTarget } from './model-target.js';
import type { PromptLimits } from './prompt.js';

/** Why a candidate may not be chosen. The first reason that applies, in this order. */
export const EXCLUSIONS = [
  'not-asked-for',
  'not-placed',
  'quality-unknown',
  'device-tried',
  'device-offline',
  'device-unresponsive',
  'device-standby',
  'engine-down',
  'engine-cannot',
  'context-too-small',
  'not-resident',
  'cost-unknown',
  'over-energy-budget',
  'over-latency-budget',
  'battery-low',
  'budget-spent',
  'queue-full',
  'wait-too-long',
  'on-trial',
  'priced-out',
] as const;
export type Exclusion = (typeof EXCLUSIONS)[number];

/** One way to answer a prompt: a variant on a device. */
export interface Candidate {
  readonly expertId: ExpertId;
  readonly variantId: VariantId;
  /** Undefined for a variant that the plan places nowhere. */
  readonly deviceId: DeviceId | undefined;
  readonly quality: number;
  readonly qualitySd: number;
  /** How far the expert's mean quality may be off (sd); absent where enough is known of it. */
  readonly doubt?: number | undefined;
  /** Added to its value so that experts get the plan's share of requests; absent: 0. */
  readonly bias?: number | undefined;
  /** On an idle device; undefined where it was not asked for. */
  readonly cost: CostEstimate | undefined;
  /** Predicted time before the job starts. */
  readonly wait: Milliseconds;
  /** 0..1 while the device fetches the variant. */
  readonly progress: number | undefined;
  readonly excluded: Exclusion | undefined;
}

/** Everything a decision depends on, at one instant. */
export interface DispatchFacts {
  readonly target: ModelTarget;
  readonly limits: PromptLimits;
  /** Undefined while no gate is trained: then what the experts' cards say of them counts. */
  readonly score: GateScore | undefined;
  /** Tokens that the model has to read. */
  readonly promptTokens: number;
  /** Most tokens that the answer may have; 0 for a prompt that is only scored. */
  readonly maxOutputTokens: number;
  /** What the engine has to be able to do besides answering. */
  readonly abilities: readonly EngineAbility[];
  /** Actual over expected tokens of the class's answers so far. */
  readonly answerFactor: number;
  readonly catalogue: Catalogue;
  readonly fleet: FleetSnapshot;
  readonly policy: DispatchPolicy;
  readonly estimate: CostEstimator['estimate'];
  readonly loadOf: (device: Device) => DeviceLoad;
  readonly maxQueuedPerDevice: number;
  /** Devices that have failed this request. */
  readonly tried: ReadonlySet<DeviceId>;
  readonly unresponsive: ReadonlySet<DeviceId>;
  /** Experts that are answered with only when they are asked for by name; absent: none. */
  readonly onTrial?: ReadonlySet<ExpertId> | undefined;
  readonly biasOf?: ((expert: ExpertId) => number) | undefined;
  /** What budgets make the request pay and which have no room for it; absent: the plan's prices hold. */
  readonly control?: RequestControl | undefined;
  /** Another way to compare candidates, higher first; absent: quality less what it has to pay. */
  readonly worth?: ((candidate: Candidate) => number) | undefined;
}

/** Assumed length of an answer where no gate predicts it, tokens. */
const UNKNOWN_OUTPUT_TOKENS = 128;
/** Spread of a quality that comes from an expert's card: the domains of a card differ by about this much. */
const CARD_QUALITY_SD = 0.15;
const NO_WAIT = milliseconds(0);

/**
 * Every variant the plan places, on each of its devices, and every expert it does not place, with quality, cost and the
 * reason why it may not be chosen. What is excluded never changes the figures of the others.
 */
export function candidatesFor(facts: DispatchFacts): readonly Candidate[] {
  const candidates: Candidate[] = [];
  const placed = new Set<VariantId | ExpertId>();
  const qualities = new Map<ExpertId, Quality>();
  const qualityOfExpert = (expertId: ExpertId): Quality => {
    const known = qualities.get(expertId);
    if (known !== undefined) return known;
    const quality = qualityOf(facts.catalogue.experts.get(expertId), facts.score);
    qualities.set(expertId, quality);
    return quality;
  };
  for (const [deviceId, variants] of facts.policy.placements) {
    const device = facts.fleet.get(deviceId);
    const load = device === undefined ? undefined : facts.loadOf(device);
    for (const variantId of variants) {
      const variant = facts.catalogue.variants.get(variantId);
      if (variant === undefined) continue;
      placed.add(variantId).add(variant.expertId);
      candidates.push(assess(facts, variant, deviceId, device, load, qualityOfExpert(variant.expertId)));
    }
  }
  for (const variant of facts.catalogue.variants.values()) {
    const wanted = facts.target.kind === 'variant' && facts.target.variantId === variant.id;
    if (wanted ? placed.has(variant.id) : placed.has(variant.expertId)) continue;
    placed.add(variant.id).add(variant.expertId);
    candidates.push(unplaced(facts, variant, qualityOfExpert(variant.expertId)));
  }
  return candidates;
}

interface Quality {
  readonly mean: number;
  readonly sd: number;
  readonly outputTokens: number;
  readonly known: boolean;
  readonly doubt?: number | undefined;
}

function qualityOf(expert: Expert | undefined, score: GateScore | undefined): Quality {
  const predicted = expert === undefined ? undefined : score?.experts.get(expert.id);
  if (predicted !== undefined) {
    const { quality: mean, sd, outputTokens, doubt } = predicted;
    return { mean, sd, outputTokens, known: true, doubt };
  }
  const measured = Object.values(expert?.bitsPerByte ?? {});
  if (measured.length === 0) return { mean: 0, sd: 1, outputTokens: UNKNOWN_OUTPUT_TOKENS, known: false };
  const mean = measured.reduce((total, bits) => total + 2 ** -bits, 0) / measured.length;
  return { mean, sd: CARD_QUALITY_SD, outputTokens: UNKNOWN_OUTPUT_TOKENS, known: true };
}

/** What the gate expects, as far as the client allows, corrected by what such answers turned out to be. */
function expectedTokens({ maxOutputTokens, answerFactor }: DispatchFacts, outputTokens: number): number {
  return Math.min(maxOutputTokens, Math.max(1, Math.min(maxOutputTokens, outputTokens) * answerFactor));
}

function unplaced(facts: DispatchFacts, variant: Variant, quality: Quality): Candidate {
  return {
    expertId: variant.expertId,
    variantId: variant.id,
    deviceId: undefined,
    quality: variantQuality(quality.mean, variant, facts.score?.classId),
    qualitySd: quality.sd,
    cost: undefined,
    wait: NO_WAIT,
    progress: undefined,
    excluded: isAskedFor(facts.target, variant.expertId, variant.id) ? 'not-placed' : 'not-asked-for',
  };
}

function assess(
  facts: DispatchFacts,
  variant: Variant,
  deviceId: DeviceId,
  device: Device | undefined,
  load: DeviceLoad | undefined,
  quality: Quality,
): Candidate {
  const asked = isAskedFor(facts.target, variant.expertId, variant.id);
  const outputTokens = expectedTokens(facts, quality.outputTokens);
  const cost = asked
    ? facts.estimate(deviceId, variant.id, { promptTokens: facts.promptTokens, outputTokens })
    : undefined;
  const concurrency = device?.reported?.concurrency ?? 1;
  const wait = load === undefined || cost === undefined ? NO_WAIT : predictedWait(load, concurrency, cost);
  const resident = device?.reported?.variants.find(({ variantId }) => variantId === variant.id);
  return {
    expertId: variant.expertId,
    variantId: variant.id,
    deviceId,
    quality: variantQuality(quality.mean, variant, facts.score?.classId, resident?.slabs?.slabsPerToken),
    qualitySd: quality.sd,
    doubt: quality.doubt,
    bias: asked ? facts.biasOf?.(variant.expertId) : undefined,
    cost,
    wait,
    progress: resident?.progress,
    excluded: !asked
      ? 'not-asked-for'
      : facts.target.kind === 'any' && !quality.known
        ? 'quality-unknown'
        : (deviceFault(facts, variant, deviceId, device, resident?.residency) ??
          budgetFault(facts, deviceId, cost, load, concurrency, wait) ??
          trialFault(facts, variant)),
  };
}

function trialFault({ onTrial, target }: DispatchFacts, { expertId }: Variant): Exclusion | undefined {
  return target.kind === 'any' && onTrial?.has(expertId) === true ? 'on-trial' : undefined;
}

/** Waiting behind what is there: none while fewer jobs run than may at once. */
function predictedWait(load: DeviceLoad, concurrency: number, cost: CostEstimate): Milliseconds {
  if (load.occupied < concurrency) return NO_WAIT;
  return milliseconds(load.freeIn + (load.foreign * cost.latency) / concurrency);
}

function deviceFault(
  facts: DispatchFacts,
  variant: Variant,
  deviceId: DeviceId,
  device: Device | undefined,
  residency: Residency | undefined,
): Exclusion | undefined {
  if (facts.tried.has(deviceId)) return 'device-tried';
  const reported = device && presentReport(device);
  if (reported === undefined) return 'device-offline';
  if (facts.unresponsive.has(deviceId)) return 'device-unresponsive';
  if (reported.state === 'standby' || reported.state === 'draining') return 'device-standby';
  if (reported.engine.state !== 'ready') return 'engine-down';
  const abilities: readonly string[] = reported.engine.abilities ?? [];
  if (!facts.abilities.every((ability) => abilities.includes(ability))) return 'engine-cannot';
  const context =
    device?.desired?.variants.find(({ variantId }) => variantId === variant.id)?.contextTokens ??
    variant.facts.contextTokens;
  // The count of prompt tokens is an estimate: only what is surely too long is kept from the agent.
  if (facts.promptTokens > 1.25 * context) return 'context-too-small';
  return residency === 'resident' ? undefined : 'not-resident';
}

function budgetFault(
  facts: DispatchFacts,
  deviceId: DeviceId,
  cost: CostEstimate | undefined,
  load: DeviceLoad | undefined,
  concurrency: number,
  wait: Milliseconds,
): Exclusion | undefined {
  if (cost === undefined) return 'cost-unknown';
  const { energy, latency } = facts.limits;
  if (energy !== undefined && cost.energy > energy) return 'over-energy-budget';
  if (latency !== undefined && cost.latency > latency) return 'over-latency-budget';
  if (facts.control?.isLow(deviceId) === true) return 'battery-low';
  if (facts.control?.spent(deviceId, cost) !== undefined) return 'budget-spent';
  if (load !== undefined && load.occupied >= concurrency + facts.maxQueuedPerDevice) return 'queue-full';
  if (latency !== undefined && cost.latency + wait > latency) return 'wait-too-long';
  return undefined;
}
