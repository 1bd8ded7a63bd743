import { join } from 'node:path';

import { z } from 'zod';

import type { OwnSettings } from '@fleetgate/firmware-configs/plan-changes';
import { readJsonFile, writeJsonFile } from '@fleetgate/shared/disk-json';

const schema = z.object({
  powerModeId: z.number().int().nonnegative().optional(),
  files: z.record(z.string(), z.string()),
});

const fileOf = (dataDir: string): string => join(dataDir, 'board-own.json');

/** What the board had of its own before board configs changed it; nothing before the first one. Throws `store.corrupt`. */
export function readOwnSettings(dataDir: string): OwnSettings {
  return readJsonFile<OwnSettings>(fileOf(dataDir), schema) ?? { files: {} };
}

export function writeOwnSettings(dataDir: string, own: OwnSettings): void {
  writeJsonFile(fileOf(dataDir), own);
}
