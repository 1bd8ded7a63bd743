import type { z } from 'zod';

import { faultsOf } from '../check.js';
import { FleetError } from '../errors.js';
import { MAX_MESSAGE_BYTES, PROTOCOL_VERSION } from './version.js';

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Bytes of a message. Throws `protocol.too-large` for one that the fleet's broker would refuse. */
export function encode(message: object): Buffer {
  const payload = Buffer.from(JSON.stringify(message), 'utf8');
  if (payload.length > MAX_MESSAGE_BYTES) {
    throw new FleetError(
      'protocol.too-large',
      `message has ${payload.length} bytes, expected at most ${MAX_MESSAGE_BYTES}`,
    );
  }
  return payload;
}

/**
 * The message in `payload`, or the reason why it is none, as a value: bad input from the network is expected.
 *
 * Codes: `protocol.too-large`, `protocol.malformed`, `protocol.unsupported-version`.
 */
export function decode<T>(
  schema: z.ZodType<T>,
  payload: Uint8Array,
): { ok: true; message: T } | { ok: false; error: FleetError } {
  const parsed = parse(payload);
  if (!parsed.ok) return parsed;
  const { value } = parsed;
  const version = typeof value === 'object' && value !== null && 'v' in value ? value.v : undefined;
  if (typeof version === 'number' && version !== PROTOCOL_VERSION) {
    return refuse('protocol.unsupported-version', `message version ${version}, expected ${PROTOCOL_VERSION}`);
  }
  const result = schema.safeParse(value);
  if (!result.success) return refuse('protocol.malformed', faultsOf(result.error), result.error);
  return { ok: true, message: result.data };
}

/**
 * What `schema` describes of a message that `decode` refused, whatever its version and the rest of it; undefined where
 * that is not there either.
 */
export function decodePart<T>(schema: z.ZodType<T>, payload: Uint8Array): T | undefined {
  const parsed = parse(payload);
  return parsed.ok ? schema.safeParse(parsed.value).data : undefined;
}

function parse(payload: Uint8Array): { ok: true; value: unknown } | { ok: false; error: FleetError } {
  if (payload.length > MAX_MESSAGE_BYTES) {
    return refuse('protocol.too-large', `message has ${payload.length} bytes, expected at most ${MAX_MESSAGE_BYTES}`);
  }
  try {
    return { ok: true, value: JSON.parse(decoder.decode(payload)) };
  } catch (cause) {
    return refuse('protocol.malformed', 'message is not UTF-8 JSON', cause);
  }
}

function refuse(
  code: 'protocol.too-large' | 'protocol.malformed' | 'protocol.unsupported-version',
  message: string,
  cause?: unknown,
) {
  return { ok: false as const, error: new FleetError(code, message, { cause }) };
}
