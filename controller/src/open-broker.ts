/** Starts the broker, connects to it, and lets the enrolled devices in. */
import { join } from 'node:path';

import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import { messageOf } from '@fleetgate/shared/errors';
import type { BoardId } from '@fleetgate/shared/ids';
import { SECRET_CHARACTERS } from '@fleetgate/shared/random';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';

import type { TlsEndpoint } from './broker/aedes-broker.js';
import type { BrokerUser } from './broker/broker-user.js';
import { type MosquittoFiles, openCertificateFiles, openMosquittoFiles } from './broker/disk-mosquitto-files.js';
import { BrokerSupervisor } from './broker/process-broker-supervisor.js';
import { plainHostOf, tlsPortOf } from './config/config.js';
import { Admission } from './enrolment/admission.js';
import { Approvals } from './enrolment/approvals.js';
import { Enrolment, type EnrolmentParts } from './enrolment/enrolment.js';
import { FleetAddress } from './enrolment/fleet-address.js';
import { JoinTokens } from './enrolment/join-tokens.js';
import { SqliteEnrolmentStore } from './enrolment/sqlite-enrolment-store.js';
import type { Fleet } from './fleet/fleet.js';
import { brokerNameOf } from './identity/certificate.js';
import { brokerMaterial, controllerCertificate, openIdentity, type OpenIdentity } from './open-identity.js';
import type { OpenReplica } from './open-replica.js';
import type { BrokerLink } from './platform/broker-link.js';
import type { Database } from './platform/database.js';
import { keptSecret } from './platform/disk-secret-file.js';
import { sharedSecret } from './platform/sqlite-shared-secret.js';
import { requireSharedSubscriptions } from './platform/mqtt-broker-features.js';
import { type BrokerLogin, connectBrokerLink } from './platform/mqtt-broker-link.js';
import { ownNames } from './platform/process-own-names.js';
import type { Surroundings } from './surroundings.js';
import type { TelemetryPlace } from './telemetry/open-telemetry-store.js';

const CONTROLLER_USER = 'controller';
/** The broker's certificate is made anew this often: addresses change, and it must not run out. */
const MATERIAL_PERIOD = milliseconds(86_400_000);

export interface OpenBroker {
  readonly broker: BrokerLink;
  readonly enrolment: Enrolment;
  readonly approvals: Approvals;
  readonly tokens: JoinTokens;
  /** What devices are told. */
  readonly address: FleetAddress;
  /** Of an embedded broker, as this machine reaches it. */
  readonly mqttUrl: string;
  /** Lines that an external broker's configuration needs; undefined with the embedded one. */
  readonly mosquittoConfig: string | undefined;
}

interface BrokerNeeds {
  readonly telemetry: TelemetryPlace;
  readonly database: Database;
  readonly replication: Pick<OpenReplica, 'leading' | 'reloads'>;
}

/** Devices keep their credentials over restarts. Throws `port.taken`, `broker.unreachable` or `data-dir.not-writable`. */
export async function openBroker(
  surroundings: Surroundings,
  fleet: Fleet,
  boards: ReadonlyMap<BoardId, BoardProfile>,
  { telemetry, database, replication }: BrokerNeeds,
): Promise<OpenBroker> {
  const { config, clock, random, log, closers } = surroundings;
  const { brokerUrl, replica } = config;
  const identity = await openIdentity(surroundings, database);
  const controller = await controllerUser(surroundings, identity);
  const tls = await tlsEndpoint(surroundings, identity);
  const supervisor = new BrokerSupervisor({
    host: plainHostOf(config) ?? config.host,
    port: plainHostOf(config) === undefined ? 'none' : config.mqttPort,
    ...(tls === undefined ? {} : { tls }),
    fleet: config.fleet,
    telemetry,
    retention: milliseconds(config.retentionDays * 86_400_000),
    log,
    clock,
    ...(brokerUrl === undefined
      ? {}
      : { external: { url: brokerUrl, ...controller.login, ...(replica === undefined ? {} : { replica }) } }),
  });
  const files = await openBrokerFiles(surroundings, identity);
  const store = new SqliteEnrolmentStore(database);
  const approvals = await Approvals.open(store, clock);
  const tokens = await JoinTokens.open({
    store,
    kept: await keptJoinToken(surroundings, database),
    authoritySha256: identity?.authoritySha256,
    random,
    clock,
  });
  const enrolment = new Enrolment({
    fleet,
    boards,
    admission: new Admission({ tokens, approvals, rule: config.approveDevices ? 'person' : 'token', log }),
    certification: identity?.certification,
    controller,
    setUsers: (users: readonly BrokerUser[]) => {
      // Of several controllers one writes what the broker reads; it hears of whom another has let in.
      if (files !== undefined && !replication.leading.now()) return Promise.resolve();
      return (files ?? supervisor).setUsers(users);
    },
    random,
    clock,
    log,
  });
  await enrolment.pushUsers();
  const { reloads, leading } = replication;
  reloads(['join_token'], () => tokens.reload());
  reloads(['waiting_device'], () => approvals.reload());
  reloads(['device'], async () => {
    await fleet.reload();
    await enrolment.pushUsers();
  });
  const led = leading.changes$.subscribe((leads) => {
    if (leads)
      void enrolment
        .pushUsers()
        .catch((error: unknown) => log.error('broker.users-not-set', { reason: messageOf(error) }));
  });
  closers.add('broker users', () => led.unsubscribe());
  const { host, port, tlsPort } = await supervisor.start();
  closers.add('broker', () => supervisor.stop());
  if (tls !== undefined && identity !== undefined) {
    const { authority } = identity;
    const renew = (): void =>
      void brokerMaterial(authority, ownNames(), clock.now()).then((material) => supervisor.setMaterial(material));
    const stop = clock.every(MATERIAL_PERIOD, renew);
    closers.add('broker certificate', () => stop());
  }
  const tlsUrl = tlsPort === 0 ? undefined : `mqtts://${reachable(tls?.host ?? host)}:${tlsPort}`;
  const mqttUrl = brokerUrl ?? (port === 0 ? tlsUrl : undefined) ?? `mqtt://${reachable(host)}:${port}`;
  const clientId = `fleetgate-controller-${config.fleet}${replica === undefined ? '' : `-${replica}`}`;
  const login = { url: mqttUrl, clientId, ...controller.login };
  if (replica !== undefined) await requireSharedSubscriptions(login);
  const broker = connectBrokerLink({ ...login, protocolVersion: brokerUrl === undefined ? 4 : 'newest', log });
  closers.add('broker link', () => broker.close());
  supervisor.observations$.subscribe((observations) => {
    for (const { deviceId, epoch, last, sampledAtMs, receivedAtMs } of observations) {
      fleet.record({
        kind: 'observed',
        deviceId,
        epoch,
        last,
        sampledAt: unixMs(sampledAtMs),
        at: unixMs(receivedAtMs),
      });
    }
  });
  const address = new FleetAddress(
    config.fleet,
    { mqttUrl, tlsUrl },
    brokerUrl === undefined ? 'embedded' : 'external',
  );
  return { broker, enrolment, approvals, tokens, address, mqttUrl, mosquittoConfig: files?.config };
}

/** At our own broker new at every start, for nobody else needs it; an external one has to know it over restarts. */
async function controllerUser(
  { config, random, clock }: Surroundings,
  identity: OpenIdentity | undefined,
): Promise<EnrolmentParts['controller'] & { readonly login: BrokerLogin }> {
  const { brokerUrl, brokerUsername = CONTROLLER_USER, brokerPassword, dataDir } = config;
  const make = (): string => random.token(SECRET_CHARACTERS);
  const username = brokerUrl === undefined ? CONTROLLER_USER : brokerUsername;
  const password =
    brokerUrl === undefined ? make() : (brokerPassword ?? keptSecret(join(dataDir, 'broker-password'), make));
  if (identity === undefined) return { username, password, certificates: [], login: { username, password } };
  const { authority } = identity;
  const { serial, notAfter, keyPem, pem } = await controllerCertificate(authority, username, clock.now());
  const tls = { key: keyPem, cert: pem, ca: authority.certificatePem, servername: brokerNameOf(config.fleet) };
  return { username, password, certificates: [{ serial, notAfterMs: notAfter }], login: { username, password, tls } };
}

/** Of several controllers, the same for all: any of them may be asked. */
async function keptJoinToken({ config, random }: Surroundings, database: Database): Promise<string> {
  const make = (): string => random.token(SECRET_CHARACTERS);
  const path = join(config.dataDir, 'join-token');
  if (config.replica === undefined) return keptSecret(path, make);
  const shared = await sharedSecret(database, 'join-token', make);
  // Where a person looks for it.
  return keptSecret(path, () => shared);
}

/** For an external broker, so that it knows who may connect. */
async function openBrokerFiles(
  { config, clock }: Surroundings,
  identity: OpenIdentity | undefined,
): Promise<MosquittoFiles | undefined> {
  const { brokerUrl, brokerFilesDir, dataDir, fleet } = config;
  if (brokerUrl === undefined) return undefined;
  const folder = brokerFilesDir ?? join(dataDir, 'mosquitto');
  if (identity === undefined) return openMosquittoFiles(folder, fleet);
  const { authority, certification } = identity;
  const certificates = {
    authorityPem: authority.certificatePem,
    make: () => brokerMaterial(authority, [new URL(brokerUrl).hostname.replace(/^\[|\]$/g, '')], clock.now()),
    revocationList: () => certification.revocationList(),
  };
  return openCertificateFiles(folder, fleet, certificates, clock.now());
}

async function tlsEndpoint(
  { config, clock }: Surroundings,
  identity: OpenIdentity | undefined,
): Promise<TlsEndpoint | undefined> {
  const port = tlsPortOf(config);
  if (port === undefined || identity === undefined) return undefined;
  return { host: config.host, port, material: await brokerMaterial(identity.authority, ownNames(), clock.now()) };
}

/** An address that listens on all interfaces is reached by one of them. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
