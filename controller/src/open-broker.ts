/** Starts the broker, connects to it, and lets the enrolled devices in. */
import { join } from 'node:path';

import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { BoardId } from '@fleetgate/shared/ids';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';

import { BrokerSupervisor } from './broker/process-broker-supervisor.js';
import { CONTROLLER_USER, Enrolment } from './enrolment/enrolment.js';
import type { Fleet } from './fleet/fleet.js';
import type { BrokerLink } from './platform/broker-link.js';
import { keptSecret } from './platform/disk-secret-file.js';
import { connectBrokerLink } from './platform/mqtt-broker-link.js';
import type { Surroundings } from './surroundings.js';

const TOKEN_CHARACTERS = 43;

export interface OpenBroker {
  readonly broker: BrokerLink;
  readonly enrolment: Enrolment;
  /** Of an embedded broker, as this machine reaches it. */
  readonly mqttUrl: string;
}

/**
 * Devices keep their credentials over restarts; the controller's own are new every time. Throws `port.taken` or
 * `broker.unreachable`.
 */
export async function openBroker(
  { config, clock, random, log, closers }: Surroundings,
  fleet: Fleet,
  boards: ReadonlyMap<BoardId, BoardProfile>,
  telemetryPath: string,
): Promise<OpenBroker> {
  const { brokerUrl, brokerUsername, brokerPassword } = config;
  const credentials = {
    ...(brokerUsername === undefined ? {} : { username: brokerUsername }),
    ...(brokerPassword === undefined ? {} : { password: brokerPassword }),
  };
  const supervisor = new BrokerSupervisor({
    host: config.host,
    port: config.mqttPort,
    fleet: config.fleet,
    telemetryPath,
    retention: milliseconds(config.retentionDays * 86_400_000),
    log,
    clock,
    ...(brokerUrl === undefined ? {} : { external: { url: brokerUrl, ...credentials } }),
  });
  // New at every start: nobody but this process needs it.
  const controllerSecret = random.token(TOKEN_CHARACTERS);
  const enrolment = new Enrolment({
    fleet,
    boards,
    joinToken: keptSecret(join(config.dataDir, 'join-token'), () => random.token(TOKEN_CHARACTERS)),
    controllerSecret,
    setUsers: (users) => supervisor.setUsers(users),
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
    ...(brokerUrl === undefined ? { username: CONTROLLER_USER, password: controllerSecret } : credentials),
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
  return { broker, enrolment, mqttUrl };
}

/** An address that listens on all interfaces is reached by one of them. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
