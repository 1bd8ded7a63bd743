import { deviceIdSchema } from '@fleetgate/shared/ids';
import { z } from 'zod';

import { meanSequenceSchema } from './mean-sequence.js';
import { gateSchema, subjectSchema, waveSchema } from './rollout-spec.js';
import { shareSequenceSchema } from './share-sequence.js';

/**
 * running: waves come one after the other. paused: devices that have the candidate keep it, no more get it. adopted: it has
 * taken the incumbent's place. rolled-back and aborted: every device has the incumbent again.
 */
export const ROLLOUT_STATES = ['running', 'paused', 'adopted', 'rolled-back', 'aborted'] as const;
export type RolloutState = (typeof ROLLOUT_STATES)[number];

const bothSchema = z.object({ candidate: meanSequenceSchema, incumbent: meanSequenceSchema });

/** What was seen of the candidate and of the incumbent since the rollout began. */
export const evidenceSchema = z.object({
  /** Quality of the candidate less that of the incumbent, prompt by prompt. */
  quality: meanSequenceSchema,
  /** Quality of either on probe prompts; both once the pair is counted. */
  probes: z.record(z.string(), z.object({ candidate: z.number().optional(), incumbent: z.number().optional() })),
  errors: z.object({ candidate: shareSequenceSchema, incumbent: shareSequenceSchema }),
  /** Logarithms, so that a difference is a ratio. */
  tokensPerS: bothSchema,
  joulesPerToken: bothSchema,
});
export type Evidence = Readonly<z.infer<typeof evidenceSchema>>;

export const rolloutRecordSchema = z.object({
  id: z.string(),
  createdAtMs: z.number(),
  subject: subjectSchema,
  waves: z.array(waveSchema),
  gate: gateSchema,
  state: z.enum(ROLLOUT_STATES),
  /** Why it is in that state, where that is no matter of course. */
  reason: z.string().optional().or(z.undefined()),
  endedAtMs: z.number().optional(),
  /** Counts from 0. */
  wave: z.number().int().nonnegative(),
  waveBeganAtMs: z.number(),
  /** When the last device of the wave had what it is to have; absent: not yet. */
  soakBeganAtMs: z.number().optional(),
  /** Devices that are to have the candidate, in the order in which they got it. */
  devices: z.array(deviceIdSchema),
  evidence: evidenceSchema,
});
export type RolloutRecord = Readonly<z.infer<typeof rolloutRecordSchema>>;

/** Whether it still may change what devices have. */
export function isUnderWay({ state }: Pick<RolloutRecord, 'state'>): boolean {
  return state === 'running' || state === 'paused';
}
