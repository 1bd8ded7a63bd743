import { milliseconds } from '../units/quantity.js';

/** A P-256 request or certificate in PEM has under 1,000 characters; what is far longer is neither. */
export const MOST_PEM_CHARACTERS = 4096;

/**
 * How far the clocks of a device and its controller may be apart when it enrols. Certificates are valid from this much
 * before they were made, so that they are good at once on a clock that is behind.
 */
export const CLOCK_TOLERANCE = milliseconds(300_000);

/**
 * What a device signs with its present key to have a new one certified: its name and the whole request, so that neither
 * can be exchanged. The first line keeps the signature from being taken for one of another kind.
 */
export function renewalText(deviceId: string, certificateRequestPem: string): string {
  return `fleetgate-renewal/1\n${deviceId}\n${certificateRequestPem}`;
}
