import { z } from 'zod';

/** Major version of the messages. Unknown fields are ignored; another major version is refused and reported. */
export const PROTOCOL_VERSION = 1;
export const versionSchema = z.literal(PROTOCOL_VERSION);

/** Largest message that the fleet's broker accepts, bytes; the codec refuses larger ones before sending. */
export const MAX_MESSAGE_BYTES = 256 * 1024;

export const messageErrorSchema = z.object({ code: z.string(), message: z.string(), retryable: z.boolean() });
export type MessageError = z.infer<typeof messageErrorSchema>;
