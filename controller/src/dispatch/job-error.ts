import { type ErrorCode, ERROR_KINDS, FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { DeviceId } from '@fleetgate/shared/ids';
import type { MessageError } from '@fleetgate/shared/protocol/version';

/** Why a job could not be sent, as an error for the client. */
export function sendError(thrown: unknown): FleetError {
  // The limit is that of the fleet's messages: what is too large for one device is too large for all.
  if (isFleetError(thrown, 'protocol.too-large')) {
    return new FleetError('request.too-large', 'the prompt is larger than a message to a device may be', {
      hint: 'shorten the prompt',
      context: { param: 'messages' },
    });
  }
  if (isFleetError(thrown)) return thrown;
  return new FleetError('job.rejected', messageOf(thrown), { cause: thrown });
}

/** What an agent says went wrong. A code that we do not know counts as `job.rejected`. */
export function agentError(device: DeviceId, { code, message, retryable }: MessageError): FleetError {
  const known: ErrorCode = Object.hasOwn(ERROR_KINDS, code) ? (code as ErrorCode) : 'job.rejected';
  return new FleetError(known, `${device}: ${message}`, { retryable });
}

/** Whether another device may succeed where this error came from: not when the prompt itself is at fault. */
export function mayRetry(error: FleetError): boolean {
  return error.retryable || error.kind === 'dependency';
}

export function lostError(text: string): FleetError {
  return new FleetError('device.lost', text, { retryable: true });
}
