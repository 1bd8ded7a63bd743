import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { DeviceId, ExpertId, VariantId } from '@fleetgate/shared/ids';
import type { EngineAbility } from '@fleetgate/shared/protocol/twin';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import type { Catalogue } from '../catalogue/catalogue.js';
import { variantQuality } from '../catalogue/variant-quality.js';
import type { Device, FleetSnapshot } from '../fleet/device.js';
import type { GateScore } from '../gating/gate.js';
import type { CostEstimate, ProfiledCosts } from '../telemetry/cost.js';
import type { RequestControl } from './control/request-control.js';
import type { PlacedCopies } from './copies/placed-copies.js';
import { qualityOf } from './copies/prospects.js';
import type { Weighing } from './copies/weighing.js';
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
  readonly costs: ProfiledCosts;
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

/**
 * Every variant the plan places, on each of its devices, and every expert it does not place, with quality, cost and the
 * reason why it may not be chosen.
 */
export function candidatesFor(facts: DispatchFacts, weighing: Weighing): readonly Candidate[] {
  const { copies } = weighing.placed.table;
  return [...copies.map((_, row) => weighing.candidateAt(row)), ...unplacedCandidates(facts, weighing.placed)];
}

/** One of each expert that has no copy, and the variant that is asked for where that has none. */
export function unplacedCandidates(facts: DispatchFacts, { ids }: Pick<PlacedCopies, 'ids'>): readonly Candidate[] {
  const { catalogue, target } = facts;
  const listed = new Set(ids);
  const candidates: Candidate[] = [];
  for (const variant of catalogue.variants.values()) {
    const isWanted = target.kind === 'variant' && target.variantId === variant.id;
    if (listed.has(isWanted ? variant.id : variant.expertId)) continue;
    listed.add(variant.id).add(variant.expertId);
    candidates.push(unplaced(facts, variant));
  }
  return candidates;
}

function unplaced({ catalogue, score, target }: DispatchFacts, variant: Variant): Candidate {
  const { mean, sd } = qualityOf(catalogue.experts.get(variant.expertId), score);
  return {
    expertId: variant.expertId,
    variantId: variant.id,
    deviceId: undefined,
    quality: variantQuality(mean, variant, score?.classId),
    qualitySd: sd,
    cost: undefined,
    wait: milliseconds(0),
    progress: undefined,
    excluded: isAskedFor(target, variant.expertId, variant.id) ? 'not-placed' : 'not-asked-for',
  };
}
