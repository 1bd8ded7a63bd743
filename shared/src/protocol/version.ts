import { z } from 'zod';

import { isFleetError, messageOf } from '../errors.js';

/** Major version of the messages. Unknown fields are ignored; another major version is refused and reported. */
export const PROTOCOL_VERSION = 1;
export const versionSchema = z.literal(PROTOCOL_VERSION);

/** Largest message that the fleet's broker accepts, bytes; the codec refuses larger ones before sending. */
export const MAX_MESSAGE_BYTES = 256 * 1024;

export const messageErrorSchema = z.object({ code: z.string(), message: z.string(), retryable: z.boolean() });
export type MessageError = z.infer<typeof messageErrorSchema>;

const LONGEST_ERROR_TEXT = 500;

/** An error as it is told over the wire: code, message (at most 500 characters), retryable; no stack. */
export function toMessageError(error: unknown): MessageError {
  const message = messageOf(error).slice(0, LONGEST_ERROR_TEXT);
  if (isFleetError(error)) return { code: error.code, message, retryable: error.retryable };
  return { code: 'internal.invariant', message, retryable: false };
}
