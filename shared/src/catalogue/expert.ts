import { z } from 'zod';

import { expertIdSchema, variantIdSchema } from '../ids.js';
import { servingSchema } from './serving.js';
import { sha256Schema } from './sha256.js';

export { sha256Schema } from './sha256.js';

/** What a GGUF file says of its own model. Read from the file, never typed by hand. */
export const modelFactsSchema = z.object({
  /** `general.architecture`, for example `llama` or `qwen3moe`. */
  architecture: z.string(),
  name: z.string().optional(),
  parameters: z.number().int().nonnegative(),
  /** Context length the model was trained for, tokens. */
  contextTokens: z.number().int().positive(),
  layers: z.number().int().positive(),
  embeddingLength: z.number().int().positive(),
  /** Slabs (routed FFN experts) per MoE layer; 0 for a dense model. */
  slabsPerLayer: z.number().int().nonnegative(),
  /** Slabs used per token; 0 for a dense model. */
  slabsPerToken: z.number().int().nonnegative(),
  /** Bytes of all slabs; the rest of a file is resident whatever happens. Absent in facts read by an earlier release. */
  slabsBytes: z.number().int().nonnegative().optional(),
  /** Whether the file carries a chat template (tokenizer.chat_template). */
  hasChatTemplate: z.boolean(),
  /** Most common tensor type, for example `Q8_0`. */
  quantisation: z.string(),
  fileBytes: z.number().int().positive(),
  /** Estimated resident memory when serving one full-length sequence: weights + KV cache + compute buffers, bytes. */
  memoryBytes: z.number().int().positive(),
  /**
   * Digest of the tokenizer: variants with the same one can answer together, token by token. Absent where the file has no
   * vocabulary, and in facts read by an earlier release.
   */
  tokenizer: sha256Schema.optional(),
});
export type ModelFacts = z.infer<typeof modelFactsSchema>;

export const variantCardSchema = z.object({
  id: variantIdSchema,
  /** File name beside the card. */
  file: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*\.gguf$/, 'a .gguf file beside the card, no folders'),
  sha256: sha256Schema,
  sizeBytes: z.number().int().positive(),
  quantisation: z.string().min(1),
});

/** `experts/<name>/expert.yaml`: what an expert is, where it comes from, what may be done with it. */
export const expertCardSchema = z
  .object({
    schema: z.literal('fleetgate-expert/1'),
    name: expertIdSchema,
    title: z.string().min(1),
    description: z.string().min(1),
    /** What it is good at; words of the fleet's own choosing. Empty for a generalist. */
    domains: z.array(z.string().min(1)),
    licence: z.object({
      spdx: z.string().min(1),
      /** Attribution or notice that has to travel with the weights. */
      notice: z.string().optional(),
    }),
    origin: z.array(z.object({ what: z.string().min(1), source: z.string().min(1), licence: z.string().min(1) })),
    /** Strings that end an answer. */
    stop: z.array(z.string().min(1)).default([]),
    variants: z.array(variantCardSchema).min(1),
    /** Bits per byte of reference answers given their prompts, on validation data, by domain. Lower is better. */
    measured: z.object({ bitsPerByte: z.record(z.string(), z.number().positive()) }).optional(),
  })
  .strict();
export type ExpertCard = z.infer<typeof expertCardSchema>;
export type VariantCard = z.infer<typeof variantCardSchema>;

/** Bits per byte, by domain. */
const byDomainSchema = z.record(z.string().min(1), z.number());

/** How a variant was made of another one of its expert, and what it was measured to be. */
export const madeSchema = z.object({
  from: variantIdSchema,
  /** For a person: "8 of 16 slabs for math by tcess", "half of the slabs in memory". */
  how: z.string().min(1).max(200),
  /**
   * Bits per byte of reference texts beyond those of `from`, by domain, measured on the same texts; below 0 where it is
   * better. Empty: as good as `from`, to the last bit.
   */
  loss: byDomainSchema,
  /** The same with fewer active slabs per token than it is served with, by their number: a strained device lowers it. */
  lossAtSlabs: z.record(z.string().regex(/^[1-9]\d*$/, 'a number of slabs'), byDomainSchema).optional(),
  /** Energy per output token, by the searching device; absent where it was not estimated. */
  decodeJPerToken: z.number().positive().optional(),
});
export type Made = z.infer<typeof madeSchema>;

/** A variant as the fleet knows it: card and file facts together. */
export const variantSchema = z.object({
  id: variantIdSchema,
  expertId: expertIdSchema,
  sha256: sha256Schema,
  sizeBytes: z.number().int().positive(),
  quantisation: z.string(),
  /** `memoryBytes` is for the way in which the variant is served. */
  facts: modelFactsSchema,
  /** Absent: the whole file in memory, as it is. */
  serving: servingSchema.optional(),
  /** Absent: it is no derivative of another variant. */
  made: madeSchema.optional(),
});
export type Variant = z.infer<typeof variantSchema>;

export const expertSchema = z.object({
  id: expertIdSchema,
  title: z.string(),
  description: z.string(),
  domains: z.array(z.string()),
  licence: z.object({ spdx: z.string(), notice: z.string().optional() }),
  origin: z.array(z.object({ what: z.string(), source: z.string(), licence: z.string() })),
  stop: z.array(z.string()),
  bitsPerByte: z.record(z.string(), z.number()),
  variants: z.array(variantSchema),
  addedAtMs: z.number(),
});
export type Expert = z.infer<typeof expertSchema>;

/** Model names that stand for a way of choosing or of answering together: no expert may have one of them. */
export const RESERVED_NAMES: ReadonlySet<string> = new Set(['auto', 'cascade', 'ensemble', 'vote', 'brief']);
