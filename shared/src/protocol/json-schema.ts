import { z } from 'zod';

import { jobCancelSchema, jobNextSchema, jobOutSchema, jobSchema } from './job.js';
import { presenceSchema } from './presence.js';
import { deviceEventSchema, telemetrySchema } from './telemetry.js';
import { desiredSchema, reportedSchema } from './twin.js';

/** The schema of every message, by the name of its channel. */
export const MESSAGE_SCHEMAS = {
  presence: presenceSchema,
  reported: reportedSchema,
  desired: desiredSchema,
  telemetry: telemetrySchema,
  events: deviceEventSchema,
  jobs: jobSchema,
  'job-out': jobOutSchema,
  'job-cancel': jobCancelSchema,
  'job-next': jobNextSchema,
} as const;
export type MessageName = keyof typeof MESSAGE_SCHEMAS;

/** JSON Schema (draft 2020-12) of a message as it is sent, for agents written in other languages. */
export function jsonSchemaOf(message: MessageName): object {
  return z.toJSONSchema(MESSAGE_SCHEMAS[message], { io: 'input' });
}
