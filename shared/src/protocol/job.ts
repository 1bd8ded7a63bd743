import { z } from 'zod';

import { jobIdSchema, variantIdSchema } from '../ids.js';
import { powerSourceSchema } from './twin.js';
import { messageErrorSchema, versionSchema } from './version.js';

export const chatMessageSchema = z.object({
  role: z.enum(['system', 'user', 'assistant', 'tool']),
  content: z.string(),
});
export type ChatMessage = z.infer<typeof chatMessageSchema>;

export const samplingSchema = z.object({
  maxTokens: z.number().int().min(1).max(131_072),
  /** 0 = greedy. */
  temperature: z.number().min(0).max(2),
  topP: z.number().gt(0).max(1),
  seed: z.number().int().optional(),
  stop: z.array(z.string().min(1)).max(16),
});
export type Sampling = z.infer<typeof samplingSchema>;

const jobBase = {
  v: versionSchema,
  jobId: jobIdSchema,
  variantId: variantIdSchema,
  /** Time the job may take from its arrival at the agent, queueing included. Relative: device clocks drift. */
  timeoutMs: z.number().int().positive(),
};

/** Controller to agent. A job id that was seen before is a duplicate and is ignored. */
export const jobSchema = z.discriminatedUnion('kind', [
  z.object({
    ...jobBase,
    kind: z.literal('chat'),
    messages: z.array(chatMessageSchema).min(1),
    sampling: samplingSchema,
  }),
  z.object({ ...jobBase, kind: z.literal('complete'), prompt: z.string(), sampling: samplingSchema }),
  /** Log-likelihood of `completion` after the chat prompt `prompt`: evaluation, not generation. */
  z.object({ ...jobBase, kind: z.literal('score'), prompt: z.string(), completion: z.string() }),
]);
export type Job = z.infer<typeof jobSchema>;

/** What an agent needs of a job that it cannot read, to refuse it. */
export const jobNameSchema = z.object({ jobId: jobIdSchema });

export const jobUsageSchema = z.object({
  promptTokens: z.number().int().nonnegative(),
  outputTokens: z.number().int().nonnegative(),
  /** Energy above idle, for this job's share of the engine. */
  energyJ: z.number().nonnegative(),
  energySource: powerSourceSchema,
  queueMs: z.number().nonnegative(),
  prefillMs: z.number().nonnegative(),
  decodeMs: z.number().nonnegative(),
});
export type JobUsage = z.infer<typeof jobUsageSchema>;

const outBase = {
  v: versionSchema,
  jobId: jobIdSchema,
  /** 0, 1, 2, ... within a job; a repeated one is a duplicate delivery. */
  seq: z.number().int().nonnegative(),
};

/** Agent to controller, in order of `seq`; exactly one of done, scored and failed ends a job. */
export const jobOutSchema = z.discriminatedUnion('kind', [
  z.object({ ...outBase, kind: z.literal('accepted'), queuePosition: z.number().int().nonnegative() }),
  z.object({ ...outBase, kind: z.literal('tokens'), text: z.string(), tokens: z.number().int().positive() }),
  z.object({
    ...outBase,
    kind: z.literal('done'),
    finishReason: z.enum(['stop', 'length', 'cancelled']),
    usage: jobUsageSchema,
  }),
  z.object({
    ...outBase,
    kind: z.literal('scored'),
    /** Sum of -log2 p over the scored tokens. */
    bits: z.number().nonnegative(),
    /** UTF-8 bytes of the scored tokens; the closing end-of-text token is scored and has none. */
    bytes: z.number().int().nonnegative(),
    usage: jobUsageSchema,
  }),
  z.object({ ...outBase, kind: z.literal('failed'), error: messageErrorSchema, usage: jobUsageSchema.optional() }),
]);
export type JobOut = z.infer<typeof jobOutSchema>;

export const jobCancelSchema = z.object({ v: versionSchema, jobId: jobIdSchema, reason: z.string().max(200) });
export type JobCancel = z.infer<typeof jobCancelSchema>;
