import type { ExpertId } from '@fleetgate/shared/ids';
import { type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';
import { z } from 'zod';

import { type ExpertFit, expertFitSchema, fitExpert } from './adaptation.js';
import { type Evidence, isHeldBack } from './evidence.js';
import { type Bench, comparison, heldBackError, judgesOf } from './held-back.js';
import { calibrate, type Calibrations, calibrationsSchema } from './source-calibration.js';

/** What has been learned of one expert. */
const expertLearningSchema = z.object({
  /** The correction in use; without one the trained gate's word stands. */
  fit: expertFitSchema.optional(),
  /** Evidence up to this time has proved itself: it may judge what comes later. */
  settledThrough: z.number().transform((value) => value as UnixMs),
  /** Batches rejected since then. */
  rejections: z.number().int().nonnegative(),
});
export type ExpertLearning = Readonly<z.infer<typeof expertLearningSchema>>;

/** The adaptation in use: versioned, for one trained gate. */
export const adaptationSchema = z.object({
  schema: z.literal('fleetgate-adaptation/1'),
  version: z.number().int().nonnegative(),
  gate: z.string(),
  /** Evidence after this time is the next batch. */
  consideredAt: z.number().transform((value) => value as UnixMs),
  calibrations: calibrationsSchema,
  experts: z.record(z.string(), expertLearningSchema),
});
export type Adaptation = Readonly<z.infer<typeof adaptationSchema>>;

export interface LearningEvent {
  readonly kind: 'gate.updated' | 'gate.rejected' | 'gate.rolled-back';
  readonly at: UnixMs;
  readonly version: number;
  readonly expert: ExpertId;
  /** Observations that the fit was made of, and those that judged it. */
  readonly observations: number;
  readonly judges: number;
  /** Error on the judges before and after; of what was rejected, what it would have been. */
  readonly errorBefore: number;
  readonly errorAfter: number;
  readonly reason: string;
}

export interface CycleResult {
  readonly adaptation: Adaptation;
  readonly events: readonly LearningEvent[];
  /** Ids of evidence that did not prove itself and is to be forgotten. */
  readonly dropped: readonly string[];
}

/** Fewer than this and nothing is judged: the evidence waits. */
const LEAST_JUDGES = 4;
/** A correction in use is rolled back on no fewer than this. */
const LEAST_ROLLBACK_JUDGES = 8;
/** One-sided 5 % point of the normal distribution. */
const CLEARLY = 1.645;
/** So many batches in a row that disagree with what was known are a change of the world, not bad data. */
const CONFIRMING_BATCHES = 3;

export function emptyAdaptation(gate: string): Adaptation {
  return {
    schema: 'fleetgate-adaptation/1',
    version: 0,
    gate,
    consideredAt: unixMs(0),
    calibrations: calibrate([]),
    experts: {},
  };
}

/**
 * One batch of learning. Pure; the same evidence gives the same answer.
 *
 * Each expert by itself: the correction in use is rolled back when, on two batches that came after it, it predicts
 * worse than the trained gate alone. Else a new fit of all its evidence goes live unless the held-back part of what was
 * settled before this batch is predicted worse by it. A rejected batch waits: it is dropped when the next one is accepted without it,
 * and taken for a change of the world when three in a row are rejected. `evidence` is in order of time.
 */
export function learningCycle(
  evidence: readonly Evidence[],
  before: Adaptation,
  gate: string,
  now: UnixMs,
): CycleResult {
  const known = before.gate === gate ? before : { ...emptyAdaptation(gate), version: before.version };
  const usable = evidence.filter((one) => one.gate === gate);
  const calibrations = calibrate(usable);
  const byExpert = new Map<ExpertId, Evidence[]>();
  for (const one of usable) {
    const own = byExpert.get(one.expert);
    if (own === undefined) byExpert.set(one.expert, [one]);
    else own.push(one);
  }
  const version = known.version + 1;
  const experts: Record<string, ExpertLearning> = { ...known.experts };
  const events: LearningEvent[] = [];
  const dropped: string[] = [];
  for (const [expert, own] of byExpert) {
    const learned = known.experts[expert] ?? { settledThrough: unixMs(0), rejections: 0 };
    const step = expertStep(own, learned, { consideredAt: known.consideredAt, calibrations, now, version });
    experts[expert] = step.learned;
    if (step.event !== undefined) events.push(step.event);
    dropped.push(...step.dropped);
  }
  const consideredAt = unixMs(Math.max(known.consideredAt, ...usable.map(({ at }) => at)));
  const changed = events.some(({ kind }) => kind !== 'gate.rejected') || before.gate !== gate;
  const adaptation: Adaptation = {
    schema: 'fleetgate-adaptation/1',
    version: changed ? version : known.version,
    gate,
    consideredAt,
    calibrations,
    experts,
  };
  return { adaptation, events, dropped };
}

interface Batch extends Bench {
  readonly consideredAt: UnixMs;
  readonly calibrations: Calibrations;
  readonly version: number;
}

interface Step {
  readonly learned: ExpertLearning;
  readonly event?: LearningEvent;
  readonly dropped: readonly string[];
}

function expertStep(own: readonly Evidence[], learned: ExpertLearning, batch: Batch): Step {
  const rollback = rollbackStep(own, learned, batch);
  if (rollback !== undefined) return rollback;
  const fresh = own.filter(({ at }) => at > batch.consideredAt);
  if (fresh.length === 0) return { learned, dropped: [] };
  const settled = own.filter(({ at }) => at <= learned.settledThrough);
  const old = judgesOf(settled, () => true);
  const judges = old.length >= LEAST_JUDGES ? old : judgesOf(own, () => true);
  if (judges.length < LEAST_JUDGES) return { learned, dropped: [] };
  const whole = candidateOf(own, batch);
  if (whole === undefined) return { learned, dropped: [] };
  if (isNoWorse(judges, whole, learned.fit, batch)) {
    return accepted(
      own,
      whole,
      learned,
      judges,
      batch,
      'not worse on the held-back window, as far as one standard error tells',
    );
  }
  const rejected = own.filter(({ at }) => at > learned.settledThrough && at <= batch.consideredAt);
  if (learned.rejections > 0 && rejected.length > 0) {
    const kept = [...settled, ...fresh];
    const without = candidateOf(kept, batch);
    if (without !== undefined && isNoWorse(judges, without, learned.fit, batch)) {
      const step = accepted(kept, without, learned, judges, batch, 'the batch before it did not prove itself');
      return { ...step, dropped: rejected.map(({ id }) => id) };
    }
  }
  if (learned.rejections + 1 >= CONFIRMING_BATCHES) {
    const recent = judgesOf(own, ({ at }) => at > learned.settledThrough);
    if (recent.length >= LEAST_JUDGES && isNoWorse(recent, whole, learned.fit, batch)) {
      return accepted(own, whole, learned, recent, batch, `${CONFIRMING_BATCHES} batches in a row say so`);
    }
  }
  const event = eventOf('gate.rejected', whole, learned, judges, batch, 'worse on the held-back window');
  return { learned: { ...learned, rejections: learned.rejections + 1 }, event, dropped: [] };
}

/**
 * Takes a correction back that later evidence speaks against: clearly in the batches before this one, and again in this
 * one, so that a single bad batch takes nothing down. What was settled has to prove itself anew.
 */
function rollbackStep(own: readonly Evidence[], learned: ExpertLearning, batch: Batch): Step | undefined {
  const { fit } = learned;
  if (fit === undefined) return undefined;
  const earlier = judgesOf(own, ({ at }) => at > fit.fittedAt && at <= batch.consideredAt);
  const fresh = judgesOf(own, ({ at }) => at > fit.fittedAt && at > batch.consideredAt);
  const judges = [...earlier, ...fresh];
  if (judges.length < LEAST_ROLLBACK_JUDGES || earlier.length === 0 || fresh.length === 0) return undefined;
  const { mean, standardError } = comparison(earlier, fit, undefined, batch);
  if (mean >= -CLEARLY * standardError || comparison(fresh, fit, undefined, batch).mean >= 0) return undefined;
  const bare = { settledThrough: unixMs(0), rejections: 0 };
  const reason = 'worse than the trained gate alone on what came later';
  const error = (one: ExpertFit | undefined): number => heldBackError(judges, () => one, batch) ?? 0;
  const event: LearningEvent = {
    kind: 'gate.rolled-back',
    at: batch.now,
    version: batch.version,
    expert: fit.expert,
    observations: fit.observations,
    judges: judges.length,
    errorBefore: error(fit),
    errorAfter: error(undefined),
    reason,
  };
  return { learned: bare, event, dropped: [] };
}

function candidateOf(evidence: readonly Evidence[], batch: Batch): ExpertFit | undefined {
  const fitted = evidence.filter((one) => !isHeldBack(one));
  return fitted.length === 0 ? undefined : fitExpert(fitted, batch.calibrations, batch.now);
}

/** Neither worse than what is in use nor than nothing, as far as one standard error tells. */
function isNoWorse(
  judges: readonly Evidence[],
  candidate: ExpertFit,
  inUse: ExpertFit | undefined,
  batch: Batch,
): boolean {
  return [inUse, undefined].every((other) => {
    const { mean, standardError } = comparison(judges, candidate, other, batch);
    return mean >= -standardError;
  });
}

function accepted(
  own: readonly Evidence[],
  fit: ExpertFit,
  learned: ExpertLearning,
  judges: readonly Evidence[],
  batch: Batch,
  reason: string,
): Step {
  const settledThrough = unixMs(Math.max(...own.map(({ at }) => at)));
  const event = eventOf('gate.updated', fit, learned, judges, batch, reason);
  return { learned: { fit, settledThrough, rejections: 0 }, event, dropped: [] };
}

function eventOf(
  kind: LearningEvent['kind'],
  fit: ExpertFit,
  { fit: inUse }: ExpertLearning,
  judges: readonly Evidence[],
  batch: Batch,
  reason: string,
): LearningEvent {
  return {
    kind,
    at: batch.now,
    version: batch.version,
    expert: fit.expert,
    observations: fit.observations,
    judges: judges.length,
    errorBefore: heldBackError(judges, () => inUse, batch) ?? 0,
    errorAfter: heldBackError(judges, () => fit, batch) ?? 0,
    reason,
  };
}
