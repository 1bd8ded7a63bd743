import { pbkdf2Sync } from 'node:crypto';

import type { FleetId } from '@fleetgate/shared/ids';
import { MAX_MESSAGE_BYTES } from '@fleetgate/shared/protocol/version';

import type { BrokerUser } from './broker-user.js';

const PASSWORD_ITERATIONS = 101;

/**
 * What the configuration of a mosquitto 2 needs to serve a fleet, besides its listener. It must be able to read both files.
 * Without `set_tcp_nodelay` each step of an answer made together would wait 40 ms for a delayed acknowledgement.
 */
export function mosquittoConfig(files: { readonly passwordPath: string; readonly aclPath: string }): string {
  return `password_file ${files.passwordPath}
acl_file ${files.aclPath}
message_size_limit ${MAX_MESSAGE_BYTES}
set_tcp_nodelay true
`;
}

/**
 * Rights of one fleet, those of our own broker. `%u` is the user: every device has the same lines, so enrolling one needs
 * a password only.
 *
 * mosquitto grants a subscription that reaches further and filters what is delivered.
 */
export function mosquittoAcl(fleet: FleetId, controller: string): string {
  const root = `fleetgate/v1/${fleet}`;
  const written = ['presence', 'reported', 'telemetry', 'events', 'jobs/+/out'];
  const read = ['desired', 'jobs', 'jobs/+/cancel', 'jobs/+/next'];
  return [
    ...written.map((channel) => `pattern write ${root}/%u/${channel}`),
    ...read.map((channel) => `pattern read ${root}/%u/${channel}`),
    `user ${controller}`,
    ...read.map((channel) => `topic write ${root}/+/${channel}`),
    `topic read ${root}/#`,
    '',
  ].join('\n');
}

/** mosquitto's password file. A user without a digest is not let in. */
export function mosquittoPasswords(users: readonly BrokerUser[]): string {
  return users
    .flatMap(({ username, mosquittoDigest: digest }) => (digest === undefined ? [] : [`${username}:${digest}\n`]))
    .join('');
}

/** A password as mosquitto's password file holds it: PBKDF2-HMAC-SHA-512, as mosquitto_passwd makes it. `salt` has 12 bytes. */
export function mosquittoDigest(password: string, salt: Uint8Array): string {
  const digest = pbkdf2Sync(password, salt, PASSWORD_ITERATIONS, 64, 'sha512').toString('base64');
  return `$7$${PASSWORD_ITERATIONS}$${Buffer.from(salt).toString('base64')}$${digest}`;
}
