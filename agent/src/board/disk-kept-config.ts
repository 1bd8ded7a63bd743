import { join } from 'node:path';

import { z } from 'zod';

import { releaseManifestSchema, signedReleaseSchema } from '@fleetgate/shared/catalogue/release';
import { readJsonFile, writeJsonFile } from '@fleetgate/shared/disk-json';

import type { KeptConfig } from './board-settings.js';

const schema = z.object({ release: signedReleaseSchema, text: z.string(), before: releaseManifestSchema.optional() });

const fileOf = (dataDir: string): string => join(dataDir, 'board-config.json');

/** The board config in force before a restart; undefined where there was none. Throws `store.corrupt`. */
export function readKeptConfig(dataDir: string): KeptConfig | undefined {
  return readJsonFile<KeptConfig>(fileOf(dataDir), schema);
}

export function writeKeptConfig(dataDir: string, kept: KeptConfig): void {
  writeJsonFile(fileOf(dataDir), kept);
}
