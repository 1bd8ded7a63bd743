import { z } from 'zod';

import { sha256Schema } from '@fleetgate/shared/catalogue/expert';

import { profileSchema, type SlabProfile } from '../slabs/profile.js';

/** What a search measured so far: enough for another run to go on where this one was stopped. */
export const searchStateSchema = z.object({
  schema: z.literal('fleetgate-variant-search/1'),
  source: sha256Schema,
  /** Digest of all that measurements depend on: texts, types, keep counts, slab scores. */
  settings: z.string().min(1),
  /** One for each build and set of texts. Bits per byte, by task. */
  measured: z.record(z.string(), z.record(z.string(), z.number().positive())),
  /** What slabs are kept by; absent for a dense model, and where all stay. */
  profile: profileSchema.optional(),
});
export type SearchState = z.infer<typeof searchStateSchema>;

/** What `disk-search-log.ts` keeps on the disk, and tests in memory. */
export interface SearchLog {
  get(key: string): Readonly<Record<string, number>> | undefined;
  put(key: string, bitsPerByte: Readonly<Record<string, number>>): void;
  readonly profile: SlabProfile | undefined;
  putProfile(profile: SlabProfile): void;
}
