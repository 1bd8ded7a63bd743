import { FleetError, messageOf } from '@fleetgate/shared/errors';

const decoder = new TextDecoder('utf-8', { fatal: true });

/** The JSON in a request body. Throws `request.invalid` for bytes that are not UTF-8, and for what is not JSON. */
export function parseJsonBody(body: Uint8Array): unknown {
  let text: string;
  try {
    text = decoder.decode(body);
  } catch (cause) {
    throw new FleetError('request.invalid', 'the body is not UTF-8', { hint: 'send JSON in UTF-8', cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FleetError('request.invalid', `the body is not JSON: ${messageOf(cause).slice(0, 200)}`, { cause });
  }
}
