import { z } from 'zod';

import { boardIdSchema } from '../ids.js';
import { sha256Schema } from './expert.js';

const bitsPerByteSchema = z.record(z.string().min(1), z.number().positive());

/** What a build is with fewer active slabs per token than it is served with (elastic k): how far a device may go by itself. */
export const elasticStepSchema = z.object({
  slabsPerToken: z.number().int().positive(),
  /** Measured, by task. */
  bitsPerByte: bitsPerByteSchema,
  /** Beyond the source of the catalogue, by task; in a record of one file, beyond its own number of active slabs. */
  loss: z.record(z.string().min(1), z.number()),
  activeBytes: z.number().positive(),
  decodeJPerToken: z.number().positive(),
});
export type ElasticStep = z.infer<typeof elasticStepSchema>;

/** What `fleetgate gguf elastic` measures of a file: every number of active slabs, the file's own first. */
export const elasticRecordSchema = z.object({
  schema: z.literal('fleetgate-elastic/1'),
  sha256: sha256Schema,
  board: boardIdSchema,
  energy: z.literal('modelled'),
  texts: z.number().int().positive(),
  steps: z.array(
    elasticStepSchema.extend({
      /** On the machine that measured, one answer at a time; null where nothing was answered. */
      decodeTokensPerS: z.number().positive().nullable(),
    }),
  ),
});
export type ElasticRecord = z.infer<typeof elasticRecordSchema>;

/** One build of a model that no other build found is at least as good as, as small as and as frugal as. */
export const catalogueVariantSchema = z.object({
  /** A proposal for the variant's name in the fleet; unique in the catalogue. */
  name: z.string().min(1),
  /** For a person: "8 of 16 slabs, attention q5_1, k 1". */
  how: z.string().min(1).max(200),
  /** Tasks that its slabs were kept for and that it is compared on with the others of the same scope. */
  scope: z.string().min(1),
  /** Choices of the search: position in each gene's list. */
  genome: z.array(z.number().int().nonnegative()),
  /** Slabs left in each layer. Absent: all, or a dense model. */
  keep: z.number().int().positive().optional(),
  /** Active slabs per token to serve it with (elastic k). Absent: as the file says. */
  slabsPerToken: z.number().int().positive().optional(),
  /** Type of each group of tensors. */
  types: z.record(z.string(), z.string()),
  /** Bits per byte of reference answers given their prompts, by task, on texts that the search did not see. Measured. */
  bitsPerByte: bitsPerByteSchema,
  /** The same beyond those of the source; below 0 where it is better. What the fleet takes as a variant's `loss`. */
  loss: z.record(z.string().min(1), z.number()),
  /** Of the file; up to a page off where it was not built. */
  sizeBytes: z.number().int().positive(),
  /** Weights read for one output token, all in memory. */
  activeBytes: z.number().positive(),
  /** Energy above idle per output token on the catalogue's board. Modelled from its profile. */
  decodeJPerToken: z.number().positive(),
  /** Measured on the machine that searched, for builds that were written: whatever the board, for comparing builds. */
  decodeTokensPerS: z.number().positive().optional(),
  /** With fewer active slabs, most first. Measured for builds that were written. */
  elastic: z.array(elasticStepSchema).default([]),
  /** Beside the catalogue. Absent where it was not built: the same command with a larger `--build` builds it. */
  file: z.string().min(1).optional(),
  sha256: sha256Schema.optional(),
});
export type CatalogueVariant = z.infer<typeof catalogueVariantSchema>;

/**
 * `variants.json` of `fleetgate gguf variants`: the builds of one model that are worth offering, for one type of board.
 *
 * Dominated builds are not in it. The source itself is, with the genome of zeros, where nothing dominates it.
 */
export const variantCatalogueSchema = z.object({
  schema: z.literal('fleetgate-variants/1'),
  source: z.object({
    file: z.string().min(1),
    sha256: sha256Schema,
    sizeBytes: z.number().int().positive(),
    bitsPerByte: bitsPerByteSchema,
    slabsPerLayer: z.number().int().nonnegative(),
    slabsPerToken: z.number().int().nonnegative(),
  }),
  board: boardIdSchema,
  energy: z.literal('modelled'),
  /** What each gene chooses from, in the order of the genome. */
  genes: z.array(z.object({ name: z.string(), choices: z.array(z.string()).min(1) })),
  search: z.object({
    seed: z.number().int(),
    evaluations: z.number().int().nonnegative(),
    /** Texts of each task that the search measured on, and others that the figures above are of. */
    searchTexts: z.number().int().positive(),
    heldOutTexts: z.number().int().positive(),
    /** Of each scope, the share of the box between the ideal and the worst of interest that the front dominates. */
    hypervolume: z.record(z.string(), z.number()),
  }),
  variants: z.array(catalogueVariantSchema),
});
export type VariantCatalogue = z.infer<typeof variantCatalogueSchema>;
