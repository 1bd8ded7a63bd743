import { z } from 'zod';

import { check } from '@fleetgate/shared/check';
import { type ClassId, classIdSchema } from '@fleetgate/shared/ids';

/** Tokens of a chat prompt, until a class shows otherwise. */
export const TYPICAL_PROMPT_TOKENS = 96;
/** Requests' worth that the assumptions before the first request count for. */
const PRIOR_REQUESTS = 4;
/** The newest request counts for at least one in this many. */
const MEMORY = 64;
/** More classes than a gate ever has; a bound against a caller's mistake. */
const MOST_CLASSES = 4096;

/** A finished answer; counts of tokens. */
export interface AnsweredRequest {
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** What the gate expected of this prompt, at most the length that the client allowed. */
  readonly expectedTokens: number;
  /** What the gate expects of the class's prompts in the mean. */
  readonly classTokens: number;
}

const sumsSchema = z.object({
  requests: z.number().nonnegative(),
  promptTokens: z.number().nonnegative(),
  outputTokens: z.number().nonnegative(),
  expectedTokens: z.number().nonnegative(),
  classTokens: z.number().nonnegative(),
});
type Sums = z.infer<typeof sumsSchema>;

const recordSchema = z.object({
  schema: z.literal('fleetgate-workloads/1'),
  classes: z.array(z.object({ id: classIdSchema, sums: sumsSchema })).max(MOST_CLASSES),
});
/** What `WorkloadModel.toRecord` gives: plain JSON. */
export type WorkloadRecord = z.input<typeof recordSchema>;

/** What the lengths of prompts and answers turn out to be, by prompt class. */
export interface WorkloadEstimator {
  /** Mean tokens of a prompt. */
  promptTokens(classId: ClassId): number;
  /** Actual over expected tokens of an answer, for one prompt: what the gate says of it, times this. */
  answerFactor(classId: ClassId): number;
  /** Actual tokens of an answer over what the gate says of the class; also holds the limits that clients set. */
  classFactor(classId: ClassId): number;
  observe(classId: ClassId, answered: AnsweredRequest): void;
}

/**
 * The gate learned answer lengths from reference answers; experts may write more or less, and clients set limits. Learns
 * the ratio by class from finished answers, older ones forgotten exponentially, and ratio 1 until then.
 *
 * Ratios of sums, not means of ratios: they make expected totals right, and energy is a total. Single writer.
 */
export class WorkloadModel implements WorkloadEstimator {
  readonly #classes = new Map<ClassId, Sums>();

  /** Restores what `toRecord` gave; throws `store.corrupt` for anything else. */
  static fromRecord(record: unknown): WorkloadModel {
    const { classes } = check(recordSchema, record, 'store.corrupt', 'workload record');
    const model = new WorkloadModel();
    for (const { id, sums } of classes) model.#classes.set(id, sums);
    return model;
  }

  toRecord(): WorkloadRecord {
    return { schema: 'fleetgate-workloads/1', classes: [...this.#classes].map(([id, sums]) => ({ id, sums })) };
  }

  promptTokens(classId: ClassId): number {
    const sums = this.#classes.get(classId);
    if (sums === undefined) return TYPICAL_PROMPT_TOKENS;
    return (PRIOR_REQUESTS * TYPICAL_PROMPT_TOKENS + sums.promptTokens) / (PRIOR_REQUESTS + sums.requests);
  }

  answerFactor(classId: ClassId): number {
    return factor(this.#classes.get(classId), 'expectedTokens');
  }

  classFactor(classId: ClassId): number {
    return factor(this.#classes.get(classId), 'classTokens');
  }

  observe(classId: ClassId, answered: AnsweredRequest): void {
    const { promptTokens, outputTokens, expectedTokens, classTokens } = answered;
    if (!(expectedTokens > 0) || !(classTokens > 0)) return;
    const old = this.#classes.get(classId);
    if (old === undefined && this.#classes.size >= MOST_CLASSES) return;
    const kept = 1 - 1 / MEMORY;
    this.#classes.set(classId, {
      requests: 1 + kept * (old?.requests ?? 0),
      promptTokens: promptTokens + kept * (old?.promptTokens ?? 0),
      outputTokens: outputTokens + kept * (old?.outputTokens ?? 0),
      expectedTokens: expectedTokens + kept * (old?.expectedTokens ?? 0),
      classTokens: classTokens + kept * (old?.classTokens ?? 0),
    });
  }
}

/** Pulled towards 1 by the prior's requests, each of the mean expected length. */
function factor(sums: Sums | undefined, expected: 'expectedTokens' | 'classTokens'): number {
  if (sums === undefined || sums.requests === 0) return 1;
  const prior = (PRIOR_REQUESTS * sums[expected]) / sums.requests;
  return (prior + sums.outputTokens) / (prior + sums[expected]);
}
