import type { AttemptFact } from '../fleet/attempt-fact.js';
import { NO_VALUES, withValue } from './mean-sequence.js';
import type { Evidence, RolloutRecord } from './rollout-record.js';
import { NO_OUTCOMES, withOutcome } from './share-sequence.js';

const NO_PAIR = { candidate: NO_VALUES, incumbent: NO_VALUES };
/** Shorter answers say little of a device's speed. */
const LEAST_TOKENS = 4;
const IS_HEALTH = /^engine\.|^device\.lost$/;

export const NO_EVIDENCE: Evidence = {
  quality: NO_VALUES,
  probes: {},
  errors: { candidate: NO_OUTCOMES, incumbent: NO_OUTCOMES },
  tokensPerS: NO_PAIR,
  joulesPerToken: NO_PAIR,
};

export type Side = 'candidate' | 'incumbent';

/** Whose doing an attempt is; undefined where it says nothing of either. */
export function sideOf({ subject, devices }: RolloutRecord, { deviceId, variantId }: AttemptFact): Side | undefined {
  if (subject.kind !== 'variant') return devices.includes(deviceId) ? 'candidate' : 'incumbent';
  if (variantId === subject.candidate) return 'candidate';
  return variantId === subject.incumbent ? 'incumbent' : undefined;
}

/** What a job says about its side: whether it failed, its speed, and its energy. Failures that are no device's are left out. */
export function withAttempt(evidence: Evidence, side: Side, { usage, failed }: AttemptFact): Evidence {
  if (failed !== undefined && !IS_HEALTH.test(failed)) return evidence;
  const errors = { ...evidence.errors, [side]: withOutcome(evidence.errors[side], failed === undefined ? 0 : 1) };
  if (usage === undefined || usage.outputTokens < LEAST_TOKENS || !(usage.decodeMs > 0)) return { ...evidence, errors };
  const speed = Math.log((1000 * usage.outputTokens) / usage.decodeMs);
  const perToken = usage.energyJ / usage.outputTokens;
  return {
    ...evidence,
    errors,
    tokensPerS: { ...evidence.tokensPerS, [side]: withValue(evidence.tokensPerS[side], speed) },
    joulesPerToken:
      perToken > 0
        ? { ...evidence.joulesPerToken, [side]: withValue(evidence.joulesPerToken[side], Math.log(perToken)) }
        : evidence.joulesPerToken,
  };
}

/** A probe prompt's quality on one side; once both are there the pair counts. */
export function withProbe(evidence: Evidence, side: Side, probe: string, quality: number): Evidence {
  const known = evidence.probes[probe] ?? {};
  if (known[side] !== undefined) return evidence;
  const both = { ...known, [side]: quality };
  const { candidate, incumbent } = both;
  const pair = candidate === undefined || incumbent === undefined ? undefined : candidate - incumbent;
  return {
    ...evidence,
    probes: { ...evidence.probes, [probe]: both },
    quality: pair === undefined ? evidence.quality : withValue(evidence.quality, pair),
  };
}

/** Probes that the incumbent is asked before anything takes its place: nobody may have it any more afterwards. */
const BASELINE = 60;

/** Whether it is known how good the incumbent is, as far as that is asked for. */
export function hasBaseline({
  subject,
  gate,
  evidence,
}: Pick<RolloutRecord, 'subject' | 'gate' | 'evidence'>): boolean {
  if (subject.kind !== 'variant' || gate.quality === null) return true;
  return Object.values(evidence.probes).filter(({ incumbent }) => incumbent !== undefined).length >= BASELINE;
}

/** The next probe for a side: one that the other side has, else a new one. Undefined: it has them all. */
export function nextProbe<P extends { readonly id: string }>(
  { probes }: Evidence,
  side: Side,
  all: readonly P[],
): P | undefined {
  const other: Side = side === 'candidate' ? 'incumbent' : 'candidate';
  const open = all.filter(({ id }) => probes[id]?.[side] === undefined);
  return open.find(({ id }) => probes[id]?.[other] !== undefined) ?? open[0];
}
