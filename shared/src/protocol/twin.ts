import { z } from 'zod';

import { sha256Schema } from '../catalogue/expert.js';
import { RELEASE_KINDS, signedReleaseSchema } from '../catalogue/release.js';
import { servingSchema } from '../catalogue/serving.js';
import { slabHeatSchema } from '../catalogue/slab-heat.js';
import { boardIdSchema, planIdSchema, variantIdSchema } from '../ids.js';
import { seedSchema } from './artefact-sources.js';
import { messageErrorSchema, versionSchema } from './version.js';

/** Whether power was read from a sensor or computed from the board profile and utilisation. */
export const powerSourceSchema = z.enum(['measured', 'modelled']);
export type PowerSource = z.infer<typeof powerSourceSchema>;

/**
 * `grammar`: answers within one; `log-probs`: `topLogProbs`; `resume`: goes on with an answer that another device began;
 * `embeddings`: texts as vectors.
 */
export const ENGINE_ABILITIES = ['grammar', 'log-probs', 'resume', 'embeddings'] as const;
export type EngineAbility = (typeof ENGINE_ABILITIES)[number];

/** A variant that a device is to have. */
export const desiredVariantSchema = z.object({
  variantId: variantIdSchema,
  /** `serve`: keep resident. `measure`: fetch, load, run the enrolment benchmark, unload, report; done once per build. */
  purpose: z.enum(['serve', 'measure']),
  sha256: sha256Schema,
  sizeBytes: z.number().int().positive(),
  contextTokens: z.number().int().positive(),
  stop: z.array(z.string()),
  /** Absent: the whole file in memory, as it is. */
  serving: servingSchema.optional(),
  /** Of the file, where it was released with a signature; a device checks it before it fetches. */
  release: signedReleaseSchema.optional(),
});
export type DesiredVariant = z.infer<typeof desiredVariantSchema>;

/** What the controller wants of a device: whole document, retained, numbered. The agent converges on it. */
export const desiredSchema = z.object({
  v: versionSchema,
  generation: z.number().int().positive(),
  planId: planIdSchema.nullable(),
  /** `standby`: finish running jobs, hold nothing resident, take no jobs. */
  state: z.enum(['active', 'standby']),
  variants: z.array(desiredVariantSchema).max(512),
  telemetry: z.object({ sampleMs: z.number().int().min(100), batchMs: z.number().int().min(100) }),
  /** Settings of the board and the agent's program that it is to run with; absent: those that it has. */
  releases: z.object({ boardConfig: signedReleaseSchema.optional(), agent: signedReleaseSchema.optional() }).optional(),
});
export type Desired = z.infer<typeof desiredSchema>;

/** How far a device is with a release that it is to have. `trial`: in use, and given up again should it do badly. */
export const releaseReportSchema = z.object({
  kind: z.enum(RELEASE_KINDS),
  name: z.string().max(127),
  sequence: z.number().int().positive(),
  state: z.enum(['fetching', 'stored', 'trial', 'active', 'failed']),
  error: messageErrorSchema.optional(),
});
export type ReleaseReport = z.infer<typeof releaseReportSchema>;

export const residencySchema = z.enum(['absent', 'fetching', 'stored', 'loading', 'resident', 'evicting', 'failed']);
export type Residency = z.infer<typeof residencySchema>;

/** How a device keeps the slabs of a mixture of experts in memory, and what that achieves. */
export const slabReportSchema = z.object({
  /** `none`: the whole file; `hint`: the system's page cache, told what comes; `cache`: a budget of the engine's own. */
  strategy: z.enum(['none', 'hint', 'cache']),
  /** Why it is this one; says so where the plan's wish could not be met. */
  reason: z.string().max(500),
  /** Active slabs per token now, where that is fewer than the plan says; `governor` says why. */
  slabsPerToken: z.number().int().positive().optional(),
  /** Over recent answers: share of routed slabs that were in memory. */
  hitRatio: z.number().min(0).max(1).optional(),
  /** Over recent answers, a token: bytes read from storage, and time that evaluation stood still for them. */
  readBytesPerToken: z.number().nonnegative().optional(),
  waitMsPerToken: z.number().nonnegative().optional(),
  /** Task of the model's profile that the last prompt was taken to be of. */
  task: z.string().max(200).optional(),
  /** How often each slab was chosen of late; absent until there is something to tell. */
  heat: slabHeatSchema.optional(),
});
export type SlabReport = z.infer<typeof slabReportSchema>;

/** Result of the enrolment benchmark of one variant on one device. */
export const measurementSchema = z.object({
  variantId: variantIdSchema,
  sha256: sha256Schema,
  /** As in the desired document; `leastSlabsPerToken` has no part in it. */
  serving: servingSchema.optional(),
  prefillTokensPerS: z.number().positive(),
  decodeTokensPerS: z.number().positive(),
  /** Relative standard deviation over the benchmark's repetitions. */
  relativeSd: z.number().nonnegative(),
  /** Energy above idle. */
  prefillJPerToken: z.number().nonnegative(),
  decodeJPerToken: z.number().nonnegative(),
  energySource: powerSourceSchema,
  /** Time from an accepted job to the start of its prefill when nothing is queued. */
  overheadMs: z.number().nonnegative(),
  loadMs: z.number().nonnegative(),
  memoryBytes: z.number().int().nonnegative(),
  measuredAtMs: z.number(),
});
export type Measurement = z.infer<typeof measurementSchema>;

/** Far above any device; dispatch plays as many places forward. */
const MOST_CONCURRENCY = 1024;

/** What a device says it has: whole document, retained. */
export const reportedSchema = z.object({
  v: versionSchema,
  epoch: z.number().int().positive(),
  /** Generation of the last desired document that was taken up; 0 before the first. */
  observedGeneration: z.number().int().nonnegative(),
  /** True when nothing is left to do for that generation (also when some of it failed: see `residency`). */
  settled: z.boolean(),
  state: z.enum(['starting', 'active', 'standby', 'draining']),
  board: boardIdSchema,
  agentVersion: z.string(),
  host: z.object({
    /** Same for all agents of one machine: they measure one after the other. */
    id: z.string(),
    os: z.string(),
    arch: z.string(),
    cpu: z.string(),
    cores: z.number().int().positive(),
    memoryBytes: z.number().int().positive(),
  }),
  engine: z.object({
    kind: z.enum(['llama', 'http', 'scripted']),
    version: z.string(),
    state: z.enum(['ready', 'restarting', 'down']),
    reason: z.string().optional(),
    /** What may be asked of its answers besides the text (`ENGINE_ABILITIES`); what an agent does not name it ignores. */
    abilities: z.array(z.string().max(50)).max(50).optional(),
  }),
  memory: z.object({ budgetBytes: z.number().nonnegative(), usedBytes: z.number().nonnegative() }),
  storage: z.object({ freeBytes: z.number().nonnegative(), readBytesPerS: z.number().positive().optional() }),
  /** Bytes of artefacts fetched since the agent was started, by where they came from; absent from agents that do not count. */
  fetched: z.object({ peersBytes: z.number().nonnegative(), controllerBytes: z.number().nonnegative() }).optional(),
  /** Variants that may be resident at once. */
  slots: z.number().int().positive(),
  /** Jobs that run at once, whatever variants they are for; the others wait. One when absent. */
  concurrency: z.number().int().positive().max(MOST_CONCURRENCY).optional(),
  power: z.object({
    source: powerSourceSchema,
    /** Where it is read, for example `jetson-ina3221 VDD_IN` or `board profile`. */
    from: z.string(),
    idleW: z.number().nonnegative(),
    loadW: z.number().nonnegative(),
    standbyW: z.number().nonnegative(),
    /** Power mode in force, by the board's own name, for example `25W`. */
    mode: z.string().max(100).optional(),
    /** Governor of all cores, where it is one. */
    cpuGovernor: z.string().max(100).optional(),
  }),
  variants: z.array(
    z.object({
      variantId: variantIdSchema,
      residency: residencySchema,
      /** 0..1 while fetching. */
      progress: z.number().min(0).max(1).optional(),
      memoryBytes: z.number().nonnegative().optional(),
      error: messageErrorSchema.optional(),
      slabs: slabReportSchema.optional(),
    }),
  ),
  /** How much the device spares itself, 0..1, and why; absent at ease. */
  governor: z.object({ strain: z.number().min(0).max(1), reason: z.string().max(200) }).optional(),
  measurements: z.array(measurementSchema),
  releases: z.array(releaseReportSchema).max(512).optional(),
  /** Where it serves its artefacts to others of the fleet; absent: nowhere. */
  seed: seedSchema.optional(),
  /** What the device is attached to now; what cannot be read is absent. */
  conditions: z
    .object({
      charging: z.boolean().optional(),
      network: z.enum(['ethernet', 'wifi', 'cellular']).optional(),
    })
    .optional(),
});
export type Reported = z.infer<typeof reportedSchema>;
