/** Starts the broker, connects to it, and lets the enrolled devices in. */
import { join } from 'node:path';

import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { BoardId } from '@fleetgate/shared/ids';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';

import type { BrokerUser } from './broker/broker-user.js';
import { openMosquittoFiles } from './broker/disk-mosquitto-files.js';
import { BrokerSupervisor } from './broker/process-broker-supervisor.js';
import { Enrolment } from './enrolment/enrolment.js';
import type { Fleet } from './fleet/fleet.js';
import type { BrokerLink } from './platform/broker-link.js';
import { keptSecret } from './platform/disk-secret-file.js';
import { connectBrokerLink } from './platform/mqtt-broker-link.js';
import type { Surroundings } from './surroundings.js';

const TOKEN_CHARACTERS = 43;
const CONTROLLER_USER = 'controller';

export interface OpenBroker {
  readonly broker: BrokerLink;
  readonly enrolment: Enrolment;
  /** Of an embedded broker, as this machine reaches it. */
  readonly mqttUrl: string;
  /** Lines that an external broker's configuration needs; undefined with the embedded one. */
  readonly mosquittoConfig: string | undefined;
}

/** Devices keep their credentials over restarts. Throws `port.taken`, `broker.unreachable` or `data-dir.not-writable`. */
export async function openBroker(
  surroundings: Surroundings,
  fleet: Fleet,
  boards: ReadonlyMap<BoardId, BoardProfile>,
  telemetryPath: string,
): Promise<OpenBroker> {
  const { config, clock, random, log, closers } = surroundings;
  const { brokerUrl } = config;
  const controller = controllerUser(surroundings);
  const supervisor = new BrokerSupervisor({
    host: config.host,
    port: config.mqttPort,
    fleet: config.fleet,
    telemetryPath,
    retention: milliseconds(config.retentionDays * 86_400_000),
    log,
    clock,
    ...(brokerUrl === undefined ? {} : { external: { url: brokerUrl, ...controller } }),
  });
  const files =
    brokerUrl === undefined
      ? undefined
      : openMosquittoFiles(config.brokerFilesDir ?? join(config.dataDir, 'mosquitto'), config.fleet);
  const enrolment = new Enrolment({
    fleet,
    boards,
    joinToken: keptSecret(join(config.dataDir, 'join-token'), () => random.token(TOKEN_CHARACTERS)),
    controller,
    setUsers: (users: readonly BrokerUser[]) => (files ?? supervisor).setUsers(users),
    random,
    clock,
    log,
  });
  await enrolment.pushUsers();
  const { host, port } = await supervisor.start();
  closers.add('broker', () => supervisor.stop());
  const mqttUrl = brokerUrl ?? `mqtt://${reachable(host)}:${port}`;
  const broker = connectBrokerLink({
    url: mqttUrl,
    clientId: `fleetgate-controller-${config.fleet}`,
    log,
    ...controller,
  });
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
  return { broker, enrolment, mqttUrl, mosquittoConfig: files?.config };
}

/** At our own broker new at every start, for nobody else needs it; an external one has to know it over restarts. */
function controllerUser({ config, random }: Surroundings): { readonly username: string; readonly password: string } {
  const { brokerUrl, brokerUsername = CONTROLLER_USER, brokerPassword, dataDir } = config;
  const make = (): string => random.token(TOKEN_CHARACTERS);
  if (brokerUrl === undefined) return { username: CONTROLLER_USER, password: make() };
  return { username: brokerUsername, password: brokerPassword ?? keptSecret(join(dataDir, 'broker-password'), make) };
}

/** An address that listens on all interfaces is reached by one of them. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
