import { filesOf } from '@fleetgate/shared/catalogue/serving';
import type { VariantId } from '@fleetgate/shared/ids';
import type { DesiredVariant, Reported, Residency, SlabReport } from '@fleetgate/shared/protocol/twin';

import type { Failures } from './failures.js';
import type { LocalState, Shortfall } from './reconcile.js';
import { type Step, variantOf } from './steps.js';

type ReportedVariant = Reported['variants'][number];

export interface VariantFacts {
  readonly desired: readonly DesiredVariant[];
  readonly local: Pick<LocalState, 'stored' | 'resident'>;
  readonly failures: Failures;
  readonly shortfalls: readonly Shortfall[];
  /** How a resident variant's slabs are kept, where the engine says. */
  readonly slabsOf: (variantId: VariantId) => SlabReport | undefined;
  /** The step that runs, with its progress 0..1 where it has one. */
  readonly running: { readonly step: Step; readonly progress: number | undefined } | undefined;
}

/** The reported document's list of variants: all desired ones, then what is still resident besides. */
export function reportVariants(facts: VariantFacts): readonly ReportedVariant[] {
  const desired = new Map(facts.desired.map((variant) => [variant.variantId, variant]));
  const ids = new Set([...desired.keys(), ...facts.local.resident.keys()]);
  return [...ids].map((id) => reportVariant(id, desired.get(id), facts));
}

function reportVariant(id: VariantId, desired: DesiredVariant | undefined, facts: VariantFacts): ReportedVariant {
  const running = facts.running !== undefined && variantOf(facts.running.step) === id ? facts.running : undefined;
  const resident = facts.local.resident.get(id);
  const error = facts.failures.get(id)?.error ?? shortfallError(facts.shortfalls.find((s) => s.variantId === id));
  const slabs = resident === undefined ? undefined : facts.slabsOf(id);
  return {
    variantId: id,
    residency: residencyOf(running?.step, desired, facts, { isResident: resident !== undefined, hasFailed: !!error }),
    ...(running?.progress === undefined ? {} : { progress: running.progress }),
    ...(resident === undefined ? {} : { memoryBytes: resident.memoryBytes }),
    ...(error === undefined ? {} : { error }),
    ...(slabs === undefined ? {} : { slabs }),
  };
}

function residencyOf(
  step: Step | undefined,
  desired: DesiredVariant | undefined,
  { local }: VariantFacts,
  { isResident, hasFailed }: { readonly isResident: boolean; readonly hasFailed: boolean },
): Residency {
  if (step?.kind === 'fetch') return 'fetching';
  if (step?.kind === 'load') return 'loading';
  if (step?.kind === 'unload') return 'evicting';
  if (isResident) return 'resident';
  if (hasFailed) return 'failed';
  const isStored = desired !== undefined && filesOf(desired).every(({ sha256 }) => local.stored.has(sha256));
  return isStored ? 'stored' : 'absent';
}

function shortfallError(shortfall: Shortfall | undefined): ReportedVariant['error'] {
  if (shortfall === undefined) return undefined;
  const { resource, requested, used, capacity } = shortfall;
  const what = resource === 'slots' ? 'slots' : 'bytes of memory';
  const message = `needs ${Math.ceil(requested)} ${what}, ${Math.ceil(used)} of ${Math.floor(capacity)} are in use`;
  return { code: 'engine.out-of-memory', message, retryable: false };
}
