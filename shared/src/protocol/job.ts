import { z } from 'zod';

import { slabMaskSchema } from '../catalogue/slab-mask.js';
import { classIdSchema, jobIdSchema, replicaIdSchema, variantIdSchema } from '../ids.js';
import { grammarSchema } from './grammar.js';
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

/** What a mixed answer is continued from: the same as a chat or a completion. */
export const mixInputSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('chat'), messages: z.array(chatMessageSchema).min(1) }),
  z.object({ kind: z.literal('complete'), prompt: z.string() }),
]);

/** Most tokens that one `next` gives the probabilities of. */
export const MOST_MIX_TOKENS = 512;
/** Most tokens that a score is given in detail for: one message of the broker holds them whatever they cost. */
export const MOST_DETAILED_TOKENS = 16_384;
/** A mixed answer whose next token does not come for this long is given up by the agent as `job.expired`, ms. */
export const MIX_SILENCE_MS = 20_000;

/** Most of the likeliest tokens that are told in the place of each token of an answer. */
export const MOST_TOP_LOG_PROBS = 20;
/** Most tokens that one message tells of: with all their likeliest tokens a quarter of what the broker takes. */
export const MOST_CHOICES = 64;

export const MOST_EMBEDDED_TEXTS = 256;

const likelyTokenSchema = z.object({ text: z.string(), logProb: z.number().nonpositive() });

/** A token of an answer under the model's own distribution (softmax at temperature 1, before top-p and grammar). */
export const tokenChoiceSchema = likelyTokenSchema.extend({
  /** The likeliest tokens in its place, likeliest first. */
  top: z.array(likelyTokenSchema).max(MOST_TOP_LOG_PROBS),
});
export type TokenChoice = z.infer<typeof tokenChoiceSchema>;

const jobBase = {
  v: versionSchema,
  jobId: jobIdSchema,
  variantId: variantIdSchema,
  /** Time the job may take from its arrival at the agent, queueing included. Relative: device clocks drift. */
  timeoutMs: z.number().int().positive(),
  /** Class of the prompt, where the gate knows it: jobs of one class share slabs of a mixture of experts. */
  classId: classIdSchema.optional(),
  /** Which of several controllers asks: what is said of the job goes to a topic of its own. */
  replica: replicaIdSchema.optional(),
};

/** Tokens of one answer: `sampling.maxTokens` at most. */
export const MOST_TOKEN_IDS = 131_072;
const tokenIdsSchema = z.array(z.number().int().nonnegative()).max(MOST_TOKEN_IDS);

/** An answer that another device began and cannot end. */
export const begunAnswerSchema = z.object({
  /** What the client has of it. */
  text: z.string().min(1),
  /**
   * Its tokens, by the vocabulary of the same variant: the answer then goes on as if nothing had happened. Absent: from the
   * text, of whatever model.
   */
  ids: tokenIdsSchema.optional(),
});
export type BegunAnswer = z.infer<typeof begunAnswerSchema>;

/** What is asked of an answer besides its text, and of its form. Only of agents that say they can (`engine.abilities`). */
const answerWishes = {
  /** Asks for `meanLogProb`. */
  logProbs: z.boolean().optional(),
  /** Asks for `choices`, with so many likeliest tokens each. */
  topLogProbs: z.number().int().min(0).max(MOST_TOP_LOG_PROBS).optional(),
  /** Asks for them with the text that they are of, where the engine knows them by then; else they come after all of it. */
  choicesWithText: z.boolean().optional(),
  grammar: grammarSchema.optional(),
  /** Asks for `ids` with the text. */
  tokenIds: z.boolean().optional(),
  /** Only what comes after it is to be answered; `maxTokens` counts it. */
  resume: begunAnswerSchema.optional(),
};

/** Controller to agent. A job id that was seen before is a duplicate and is ignored. */
export const jobSchema = z.discriminatedUnion('kind', [
  z.object({
    ...jobBase,
    kind: z.literal('chat'),
    messages: z.array(chatMessageSchema).min(1),
    sampling: samplingSchema,
    ...answerWishes,
  }),
  z.object({
    ...jobBase,
    kind: z.literal('complete'),
    prompt: z.string(),
    sampling: samplingSchema,
    ...answerWishes,
  }),
  /** Log-likelihood of `completion` after the chat prompt `prompt`: evaluation, not generation. */
  z.object({
    ...jobBase,
    kind: z.literal('score'),
    prompt: z.string(),
    completion: z.string(),
    /** Asks for `promptBits` and `tokenBits`. */
    detail: z.boolean().optional(),
    /** The model is computed with these slabs alone. */
    slabMask: slabMaskSchema.optional(),
  }),
  /** Texts as vectors, by the model's own state; evaluation, not generation. */
  z.object({ ...jobBase, kind: z.literal('embed'), texts: z.array(z.string().min(1)).min(1).max(MOST_EMBEDDED_TEXTS) }),
  /**
   * An answer whose tokens the controller chooses: the agent says the probabilities of the next token (`next`), waits for
   * the choice (`jobNextSchema`) and goes on, so that experts of one tokenizer can answer together. It ends as `done`
   * when an end token or a stop string was chosen, or at `maxTokens` or the end of the context; text that no `next` has
   * given comes as `tokens` before that.
   */
  z.object({
    ...jobBase,
    kind: z.literal('mix'),
    input: mixInputSchema,
    topK: z.number().int().min(1).max(MOST_MIX_TOKENS),
    maxTokens: samplingSchema.shape.maxTokens,
    stop: samplingSchema.shape.stop,
  }),
]);
export type Job = z.infer<typeof jobSchema>;

/** A job, and who hears of it: what an agent needs of one that it cannot read, to refuse it. */
export const jobNameSchema = z.object({ jobId: jobIdSchema, replica: replicaIdSchema.optional() });
export type JobName = z.infer<typeof jobNameSchema>;

/** What keeping slabs of a mixture of experts on storage meant for a job. */
export const slabUsageSchema = z.object({
  /** Share of the slabs routed to that were in memory. */
  hitRatio: z.number().min(0).max(1),
  /** Read from storage; absent where the system reads by itself. */
  readBytes: z.number().nonnegative().optional(),
  /** Time that evaluation stood still for storage. */
  waitMs: z.number().nonnegative(),
  /** Time that storage takes for `readBytes` at the rate that the device measured. */
  floorMs: z.number().nonnegative().optional(),
});
export type SlabUsage = z.infer<typeof slabUsageSchema>;

export const jobUsageSchema = z.object({
  promptTokens: z.number().int().nonnegative(),
  /** Of the prompt, tokens not evaluated for this job: an earlier one had left what they give. Absent: none. */
  reusedTokens: z.number().int().nonnegative().optional(),
  /** Of the prompt, tokens of an answer that was begun elsewhere. Absent: none. */
  resumedTokens: z.number().int().nonnegative().optional(),
  outputTokens: z.number().int().nonnegative(),
  /** Energy above idle, for this job's share of the engine. */
  energyJ: z.number().nonnegative(),
  energySource: powerSourceSchema,
  queueMs: z.number().nonnegative(),
  prefillMs: z.number().nonnegative(),
  decodeMs: z.number().nonnegative(),
  /** Absent where all slabs are in memory, or there are none. */
  slabs: slabUsageSchema.optional(),
});
export type JobUsage = z.infer<typeof jobUsageSchema>;

const outBase = {
  v: versionSchema,
  jobId: jobIdSchema,
  /** 0, 1, 2, ... within a job; a repeated one is a duplicate delivery. */
  seq: z.number().int().nonnegative(),
};

/** Of a `mix` job: what the model thinks of the token of step `step`. */
const nextOutSchema = z
  .object({
    ...outBase,
    kind: z.literal('next'),
    /** 0 after the prompt, n after the token of step n - 1. */
    step: z.number().int().nonnegative(),
    /** At step 0: sum of -log2 p over the prompt's tokens after the first, as evidence of how well the expert knows the matter. */
    promptBits: z.number().nonnegative().optional(),
    /** The likeliest tokens, by the model's vocabulary, likeliest first. */
    ids: z.array(z.number().int().nonnegative()).min(1).max(MOST_MIX_TOKENS),
    /** Natural log-probability of each of `ids` (softmax over the whole vocabulary at temperature 1), to 1e-4. */
    logProbs: z.array(z.number().nonpositive()).min(1).max(MOST_MIX_TOKENS),
    /** Probability of all other tokens together. */
    restProb: z.number().min(0).max(1),
    /** Text that the token of the step before has added; empty within a character, and what may begin a stop string waits. */
    text: z.string(),
  })
  .refine(({ ids, logProbs }) => ids.length === logProbs.length, {
    message: 'every id must have its log-probability',
    path: ['logProbs'],
  });

/** Agent to controller, in order of `seq`; exactly one of done, scored, embedded and failed ends a job. */
export const jobOutSchema = z.discriminatedUnion('kind', [
  z.object({ ...outBase, kind: z.literal('accepted'), queuePosition: z.number().int().nonnegative() }),
  z.object({
    ...outBase,
    kind: z.literal('tokens'),
    text: z.string(),
    tokens: z.number().int().positive(),
    /** Where asked for: tokens chosen so far that no message before has told; some may have given no text yet. */
    ids: tokenIdsSchema.optional(),
    /** Where asked for: how likely tokens were that no message before has told of; some may have given no text yet. */
    choices: z.array(tokenChoiceSchema).min(1).max(MOST_CHOICES).optional(),
  }),
  /** Before `done`, where it was asked for: all of the answer's tokens that came with no text, in order, but the end token. */
  z.object({ ...outBase, kind: z.literal('choices'), choices: z.array(tokenChoiceSchema).min(1).max(MOST_CHOICES) }),
  z.object({
    ...outBase,
    kind: z.literal('done'),
    finishReason: z.enum(['stop', 'length', 'cancelled']),
    usage: jobUsageSchema,
    /**
     * How sure the model was of its answer: mean natural log-probability of the tokens it generated, each under the
     * model's own distribution (softmax of the logits at temperature 1, before top-p), the end token not counted.
     * Absent where it was not asked for, the engine does not tell, or nothing was generated.
     */
    meanLogProb: z.number().nonpositive().optional(),
  }),
  z.object({
    ...outBase,
    kind: z.literal('scored'),
    /** Sum of -log2 p over the scored tokens. */
    bits: z.number().nonnegative(),
    /** UTF-8 bytes of the scored tokens; the closing end-of-text token is scored and has none. */
    bytes: z.number().int().nonnegative(),
    usage: jobUsageSchema,
    /** With `detail`: sum of -log2 p over the chat prompt's tokens after the first. */
    promptBits: z.number().nonnegative().optional(),
    /** With `detail`: -log2 p of every scored token in order, to 1e-4. */
    tokenBits: z.array(z.number().nonnegative()).max(MOST_DETAILED_TOKENS).optional(),
  }),
  nextOutSchema,
  /** Vectors of the texts, in their order, before `embedded`: float32, little-endian, in base64; each of length 1. */
  z.object({ ...outBase, kind: z.literal('vectors'), vectors: z.array(z.base64()).min(1).max(MOST_EMBEDDED_TEXTS) }),
  z.object({ ...outBase, kind: z.literal('embedded'), usage: jobUsageSchema }),
  z.object({ ...outBase, kind: z.literal('failed'), error: messageErrorSchema, usage: jobUsageSchema.optional() }),
]);
export type JobOut = z.infer<typeof jobOutSchema>;

/** Whether it is the last message of its job. */
export function isJobEnd({ kind }: JobOut): boolean {
  return kind === 'done' || kind === 'scored' || kind === 'embedded' || kind === 'failed';
}

/** Controller to agent: the token chosen for `step` of a `mix` job. Any other step than the one that waits is ignored. */
export const jobNextSchema = z.object({
  v: versionSchema,
  jobId: jobIdSchema,
  step: z.number().int().nonnegative(),
  token: z.number().int().nonnegative(),
});
export type JobNext = z.infer<typeof jobNextSchema>;

export const jobCancelSchema = z.object({ v: versionSchema, jobId: jobIdSchema, reason: z.string().max(200) });
export type JobCancel = z.infer<typeof jobCancelSchema>;
