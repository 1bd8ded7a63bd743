import { z } from 'zod';

import { sha256Schema } from '../catalogue/sha256.js';
import { deviceIdSchema } from '../ids.js';

/** What is fetched from one peer at a time. A whole one is held in memory until its digest is known. */
export const RANGE_BYTES = 4 * 1024 * 1024;

/** Where a device serves artefacts that it has to others of its fleet. */
export const seedSchema = z.object({
  url: z.url({ protocol: /^https?$/ }).max(200),
  /** To be shown by who asks there. It opens nothing that the controller would not give as well. */
  token: z.string().min(1).max(200),
});
export type Seed = z.infer<typeof seedSchema>;

/** What the controller says of an artefact to a device that is to fetch it. */
export const artefactSourcesSchema = z.object({
  rangeBytes: z
    .number()
    .int()
    .min(64 * 1024)
    .max(16 * 1024 * 1024),
  /** SHA-256 of each range, in order; the last may be shorter. */
  ranges: z.array(sha256Schema).max(1_000_000),
  peers: z.array(seedSchema.extend({ deviceId: deviceIdSchema })).max(64),
});
export type ArtefactSources = z.infer<typeof artefactSourcesSchema>;
export type Peer = ArtefactSources['peers'][number];
