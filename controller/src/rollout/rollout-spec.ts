import { releaseManifestSchema } from '@fleetgate/shared/catalogue/release';
import { variantIdSchema } from '@fleetgate/shared/ids';
import { z } from 'zod';

const SECOND = 1;
const MONTH_S = 30 * 86_400;
const MOST_WAVES = 50;

/** Who is in a wave: those of the waves before stay in. Several conditions hold together. */
const whoSchema = z
  .strictObject({
    /** So many devices in all. */
    count: z.number().int().min(1).max(100_000).optional(),
    /** So many of a hundred of all devices that it is about, rounded up. */
    percent: z.number().gt(0).max(100).optional(),
    boards: z.array(z.string().min(1).max(63)).min(1).max(100).optional(),
    names: z.array(z.string().min(1).max(63)).min(1).max(1000).optional(),
  })
  .refine((who) => Object.keys(who).length > 0, { message: 'expected count, percent, boards or names' });

export const waveSchema = z.strictObject({
  devices: whoSchema,
  /** From when the last of its devices has what it is to have. */
  soakS: z.number().int().min(SECOND).max(MONTH_S).default(600),
  /** From the beginning of the wave: a wave that has not shown enough by then is rolled back. */
  deadlineS: z.number().int().min(SECOND).max(MONTH_S).default(86_400),
  /** Devices are changed within these hours of UTC only; `to` before `from` is over midnight. */
  window: z
    .strictObject({ fromHour: z.number().int().min(0).max(23), toHour: z.number().int().min(0).max(24) })
    .optional(),
  /** A device is changed only while it says so itself; one that cannot tell is not held up by it. */
  while: z
    .strictObject({ charging: z.literal(true).optional(), network: z.enum(['ethernet', 'wifi']).optional() })
    .optional(),
});
export type Wave = Readonly<z.infer<typeof waveSchema>>;

/** What is held against what was there before. Margins are what may be lost; `null`: not looked at. */
export const gateSchema = z.strictObject({
  /** Quality on probe prompts, 0..1. It has to be shown that no more is lost. */
  quality: z.number().gt(0).max(1).nullable().default(0.02),
  /** Share of jobs that fail. It must not be shown that more is lost; so with speed and energy, shares of them. */
  errors: z.number().gt(0).max(1).nullable().default(0.05),
  tokensPerS: z.number().gt(0).max(1).nullable().default(0.2),
  joulesPerToken: z.number().gt(0).max(10).nullable().default(0.2),
  /** No device with the candidate is to be hotter. */
  temperatureC: z.number().min(20).max(150).nullable().default(90),
  /** Chance that any of the tests finds a loss that is none, whenever it is looked at. */
  alpha: z.number().gt(0).max(0.5).default(0.05),
});
export type HealthGate = Readonly<z.infer<typeof gateSchema>>;

export const subjectSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('variant'), incumbent: variantIdSchema, candidate: variantIdSchema }),
  z.strictObject({
    kind: z.enum(['board-config', 'agent']),
    name: releaseManifestSchema.shape.name,
    sequence: releaseManifestSchema.shape.sequence,
  }),
]);
/** What takes the place of what. */
export type Subject = Readonly<z.infer<typeof subjectSchema>>;

const CAREFUL: readonly z.input<typeof waveSchema>[] = [
  { devices: { count: 1 } },
  { devices: { percent: 10 } },
  { devices: { percent: 100 } },
];

/** POST /api/v1/rollouts */
export const rolloutRequestSchema = z.strictObject({
  subject: subjectSchema,
  /** Default: one device, a tenth, all. */
  waves: z
    .array(waveSchema)
    .min(1)
    .max(MOST_WAVES)
    .default(() => CAREFUL.map((wave) => waveSchema.parse(wave))),
  gate: gateSchema.default(() => gateSchema.parse({})),
});
export type RolloutRequest = z.input<typeof rolloutRequestSchema>;
