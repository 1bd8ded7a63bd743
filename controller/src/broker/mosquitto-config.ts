import { pbkdf2Sync } from 'node:crypto';

import type { FleetId } from '@fleetgate/shared/ids';
import { MAX_MESSAGE_BYTES } from '@fleetgate/shared/protocol/version';

import type { BrokerUser } from './broker-user.js';

const PASSWORD_ITERATIONS = 101;
/** What a device writes and reads below its name. */
const WRITTEN = ['presence', 'reported', 'telemetry', 'events', 'jobs/+/out', 'jobs/+/out/+'];
const READ = ['desired', 'jobs', 'jobs/+/cancel', 'jobs/+/next'];

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

/** As `mosquittoConfig`, for a listener that takes certificates: who a client is stands in its certificate. */
export function mosquittoTlsConfig(files: {
  readonly authorityPath: string;
  readonly certificatePath: string;
  readonly keyPath: string;
  readonly revokedPath: string;
  readonly aclPath: string;
}): string {
  return `cafile ${files.authorityPath}
certfile ${files.certificatePath}
keyfile ${files.keyPath}
crlfile ${files.revokedPath}
require_certificate true
use_identity_as_username true
acl_file ${files.aclPath}
message_size_limit ${MAX_MESSAGE_BYTES}
set_tcp_nodelay true
`;
}

/**
 * Rights of one fleet, each device by name: mosquitto goes on with a connection whose certificate was revoked, but takes
 * its rights when it has read a list that no longer has it.
 */
export function mosquittoNamedAcl(fleet: FleetId, users: readonly BrokerUser[]): string {
  const root = `fleetgate/v1/${fleet}`;
  const linesOf = ({ username, role }: BrokerUser): readonly string[] =>
    role === 'controller'
      ? [...READ.map((channel) => `topic write ${root}/+/${channel}`), `topic read ${root}/#`]
      : [
          ...WRITTEN.map((channel) => `topic write ${root}/${username}/${channel}`),
          ...READ.map((channel) => `topic read ${root}/${username}/${channel}`),
        ];
  return users.flatMap((user) => [`user ${user.username}`, ...linesOf(user), '']).join('\n');
}

/**
 * The same rights for EMQX 5, as its file `acl.conf`: its listener has to take the common name of a certificate for the
 * user name (`peer_cert_as_username = cn`).
 */
export function emqxAcl(fleet: FleetId, controller: string): string {
  const root = `fleetgate/v1/${fleet}`;
  const rule = (who: string, action: string, topics: readonly string[]): string =>
    `{allow, ${who}, ${action}, [${topics.map((topic) => `"${topic}"`).join(', ')}]}.`;
  const own = (channels: readonly string[]): readonly string[] =>
    channels.map((channel) => `${root}/\${username}/${channel}`);
  return [
    rule(
      `{username, "${controller}"}`,
      'publish',
      READ.map((channel) => `${root}/+/${channel}`),
    ),
    rule(`{username, "${controller}"}`, 'subscribe', [`${root}/#`]),
    rule('all', 'publish', own(WRITTEN)),
    rule('all', 'subscribe', own(READ)),
    '{deny, all}.',
    '',
  ].join('\n');
}

/**
 * Rights of one fleet, those of our own broker. `%u` is the user: every device has the same lines, so enrolling one needs
 * a password only.
 *
 * mosquitto grants a subscription that reaches further and filters what is delivered.
 */
export function mosquittoAcl(fleet: FleetId, controller: string): string {
  const root = `fleetgate/v1/${fleet}`;
  return [
    ...WRITTEN.map((channel) => `pattern write ${root}/%u/${channel}`),
    ...READ.map((channel) => `pattern read ${root}/%u/${channel}`),
    `user ${controller}`,
    ...READ.map((channel) => `topic write ${root}/+/${channel}`),
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
