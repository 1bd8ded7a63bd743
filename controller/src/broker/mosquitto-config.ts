import { pbkdf2Sync } from 'node:crypto';

import type { FleetId } from '@fleetgate/shared/ids';
import { MAX_MESSAGE_BYTES } from '@fleetgate/shared/protocol/version';

const PASSWORD_ITERATIONS = 101;

/**
 * Configuration of a mosquitto 2 that serves one fleet with the rights of our own broker. Paths must be readable by the
 * user that mosquitto runs as.
 */
export function mosquittoConfig(options: {
  readonly host: string;
  readonly port: number;
  readonly passwordPath: string;
  readonly aclPath: string;
}): string {
  return `listener ${options.port} ${options.host}
allow_anonymous false
password_file ${options.passwordPath}
acl_file ${options.aclPath}
message_size_limit ${MAX_MESSAGE_BYTES}
# A session ends with its connection: what must outlast it is retained.
persistent_client_expiration 1d
max_queued_messages 1000
max_keepalive 120
`;
}

/**
 * Rights of one fleet. `%u` is the user: every device has the same lines, so enrolling one needs a password only.
 *
 * mosquitto grants a subscription that reaches further and filters what is delivered.
 */
export function mosquittoAcl(fleet: FleetId): string {
  const root = `fleetgate/v1/${fleet}`;
  const written = ['presence', 'reported', 'telemetry', 'events', 'jobs/+/out'];
  const read = ['desired', 'jobs', 'jobs/+/cancel'];
  return [
    ...written.map((channel) => `pattern write ${root}/%u/${channel}`),
    ...read.map((channel) => `pattern read ${root}/%u/${channel}`),
    'user controller',
    ...read.map((channel) => `topic write ${root}/+/${channel}`),
    `topic read ${root}/#`,
    '',
  ].join('\n');
}

/** A line of mosquitto's password file: PBKDF2-HMAC-SHA-512, as mosquitto_passwd writes it. `salt` has 12 bytes. */
export function mosquittoPassword(username: string, password: string, salt: Uint8Array): string {
  const digest = pbkdf2Sync(password, salt, PASSWORD_ITERATIONS, 64, 'sha512').toString('base64');
  return `${username}:$7$${PASSWORD_ITERATIONS}$${Buffer.from(salt).toString('base64')}$${digest}\n`;
}
