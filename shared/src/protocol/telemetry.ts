import { z } from 'zod';

import { powerSourceSchema } from './twin.js';
import { versionSchema } from './version.js';

/** Metrics that a device samples; unit in the name. A metric without a sensor is left out, never 0. */
export const METRICS = [
  'powerW',
  'temperatureC',
  'cpuRatio',
  'memoryUsedBytes',
  'engineMemoryBytes',
  'batteryRatio',
  'throttled',
  'queuedJobs',
  'runningJobs',
  'outputTokensPerS',
] as const;
export type Metric = (typeof METRICS)[number];
export const metricSchema = z.enum(METRICS);

/** A batch of samples in columns: sample i was taken at `t0Ms + i * dtMs` by the device's clock. */
export const telemetrySchema = z
  .object({
    v: versionSchema,
    epoch: z.number().int().positive(),
    /** Grows by one per batch within an epoch; a repeated or smaller one is a duplicate. */
    seq: z.number().int().nonnegative(),
    t0Ms: z.number(),
    dtMs: z.number().positive(),
    n: z.number().int().min(1).max(3600),
    /** Device clock when this batch was sent: the controller places samples by its own receive time less their age. */
    sentAtMs: z.number(),
    powerSource: powerSourceSchema.optional(),
    columns: z.partialRecord(metricSchema, z.array(z.number().nullable()).max(3600)),
  })
  .refine((batch) => Object.values(batch.columns).every((column) => column.length === batch.n), {
    message: 'every column must hold n values',
    path: ['columns'],
  });
export type Telemetry = z.infer<typeof telemetrySchema>;

/** Something worth telling at once, outside the batches. */
export const deviceEventSchema = z.object({
  v: versionSchema,
  epoch: z.number().int().positive(),
  atMs: z.number(),
  level: z.enum(['info', 'warn', 'error']),
  /** An error code of `errors.ts` or a state change such as `engine.restarted`. */
  code: z.string().max(80),
  message: z.string().max(2000),
});
export type DeviceEvent = z.infer<typeof deviceEventSchema>;
