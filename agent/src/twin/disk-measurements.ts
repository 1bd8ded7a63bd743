import { z } from 'zod';

import { readJsonFile, writeJsonFile } from '@fleetgate/shared/disk-json';
import type { Logger } from '@fleetgate/shared/logger';
import { messageOf } from '@fleetgate/shared/errors';
import { type Measurement, measurementSchema } from '@fleetgate/shared/protocol/twin';

const schema = z.object({
  /** What the figures hold for: board, engine, threads. Others are of another device. */
  of: z.string(),
  readBytesPerS: z.number().positive().optional(),
  measurements: z.array(measurementSchema),
});
export interface KeptMeasurements {
  readonly readBytesPerS: number | undefined;
  readonly measurements: readonly Measurement[];
}

/** Measurements of earlier runs; none when they were made under other conditions or the file is damaged. */
export function readMeasurements(path: string, of: string, log: Logger): KeptMeasurements {
  const none = { readBytesPerS: undefined, measurements: [] };
  try {
    const kept = readJsonFile<z.infer<typeof schema>>(path, schema);
    if (kept === undefined || kept.of !== of) return none;
    return { readBytesPerS: kept.readBytesPerS, measurements: kept.measurements };
  } catch (error) {
    // Measuring again is cheap; a damaged file must not keep a device out of the fleet.
    log.warn('measurements.lost', { reason: messageOf(error) });
    return none;
  }
}

export function writeMeasurements(path: string, of: string, kept: KeptMeasurements): void {
  writeJsonFile(path, { of, ...kept });
}
