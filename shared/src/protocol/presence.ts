import { z } from 'zod';

import { versionSchema } from './version.js';

/**
 * Whether a device is there. Retained; the broker publishes the will (`reason: 'will'`) when the connection breaks.
 *
 * `epoch` grows with every session of a device: a presence with a smaller epoch than the newest seen is of an old
 * session (a late will) and must be ignored.
 */
export const presenceSchema = z.object({
  v: versionSchema,
  state: z.enum(['online', 'offline']),
  epoch: z.number().int().positive(),
  reason: z.enum(['connected', 'will', 'shutdown']),
  agentVersion: z.string(),
});
export type Presence = z.infer<typeof presenceSchema>;
