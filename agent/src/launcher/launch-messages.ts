import { z } from 'zod';

import { launchStateSchema, programSchema } from './launch-state.js';

/** What a program says to its launcher. `healthy`: it serves; `offer`: a newer one is unpacked, and it is ready to go. */
export const toLauncherSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('agent-healthy') }),
  z.object({ kind: z.literal('agent-offer'), program: programSchema }),
]);
export type ToLauncher = z.infer<typeof toLauncherSchema>;

/** What a launcher says to the program it has started, at once and after every change. */
export const fromLauncherSchema = z.object({ kind: z.literal('launch-state'), state: launchStateSchema });
export type FromLauncher = z.infer<typeof fromLauncherSchema>;
