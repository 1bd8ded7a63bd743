import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import mqtt from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { DeviceView, StatusView } from '@fleetgate/shared/api/operations';
import { systemClock } from '@fleetgate/shared/clock';
import { boardId, deviceId, fleetId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { desiredTopic, presenceTopic } from '@fleetgate/shared/protocol/topics';
import { systemRandom } from '@fleetgate/shared/random';

import { makeKey } from '../../agent/src/link/device-certificate.ts';
import { type Enrolled, enrol } from '../../agent/src/link/http-enrolment.ts';
import { hasMosquitto, makeMosquitto, type Mosquitto, NO_MOSQUITTO } from '../support/mosquitto.ts';
import { fleetgate, getJson, type RunningProcess, startFleetgate, until } from '../support/running-fleet.ts';

const home = fleetId('home');

describe.skipIf(!hasMosquitto)(`a mosquitto that takes certificates${hasMosquitto ? '' : ` (${NO_MOSQUITTO})`}`, () => {
  let folder: string;
  let broker: Mosquitto;
  let url: string;
  let controller: RunningProcess<{ dashboard: string; mosquittoConfig: string }>;
  let agent: RunningProcess<object> | undefined;
  const clients: mqtt.MqttClient[] = [];

  const startController = async (httpPort: string): Promise<void> => {
    controller = startFleetgate([
      ...['controller', '--data', join(folder, 'controller'), '--http-port', httpPort],
      ...['--broker-url', broker.url.replace('mqtt:', 'mqtts:'), '--broker-files', broker.filesDir],
      ...['--broker-auth', 'certificate'],
    ]);
    url = (await controller.first).dashboard.replace(/\/$/, '');
  };
  const token = () => readFileSync(join(folder, 'controller', 'join-token'), 'utf8').trim();
  const stateOf = async (name: string) => (await getJson<DeviceView>(`${url}/api/v1/devices/${name}`)).state;
  const isConnected = async () => (await getJson<StatusView>(`${url}/api/v1/status`)).broker === 'connected';
  const enrolAs = (name: string): Promise<Enrolled> =>
    enrol(
      {
        controllerUrl: url,
        token: token(),
        name,
        board: boardId('linux-x64'),
        nonce: `${name}-${'n'.repeat(40)}`,
        keyPem: makeKey(),
      },
      { clock: systemClock, random: systemRandom, log: silentLogger, signal: new AbortController().signal },
    );
  const loginOf = ({ identity, certificate }: Enrolled): mqtt.IClientOptions => ({
    clientId: identity.deviceId,
    ...(certificate === undefined
      ? {}
      : {
          key: certificate.keyPem,
          cert: certificate.certificate,
          ca: certificate.authority,
          servername: certificate.brokerName,
        }),
    // Says why a message was refused.
    protocolVersion: 5,
    reconnectPeriod: 0,
  });
  const connect = async (enrolled: Enrolled): Promise<mqtt.MqttClient> => {
    const client = await mqtt.connectAsync(enrolled.identity.mqttUrl, loginOf(enrolled), false);
    client.on('error', () => {});
    clients.push(client);
    return client;
  };
  const presence = { v: 1, state: 'online', epoch: 1, reason: 'connected', agentVersion: '1' };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'fleetgate-external-tls-'));
    broker = await makeMosquitto();
    await startController('0');
    await broker.configure((await controller.first).mosquittoConfig);
    await broker.start();
  }, 60_000);

  afterAll(async () => {
    for (const client of clients) client.end(true);
    const codes = [await agent?.stop(), await controller.stop()];
    await broker.remove();
    rmSync(folder, { recursive: true, force: true });
    expect(codes).toEqual([0, 0]);
  }, 60_000);

  it('lets the controller in by its own, also after a restart with another key', async () => {
    await until(isConnected, 'the controller is let in');
    const { port } = new URL(url);
    const shown = readFileSync(join(broker.filesDir, 'broker.pem'), 'utf8');
    await controller.stop();
    await startController(port);
    await until(isConnected, 'the controller is let in again');
    expect(readFileSync(join(broker.filesDir, 'broker.pem'), 'utf8')).toBe(shown);
    expect(statSync(join(broker.filesDir, 'broker.key')).mode & 0o007).toBe(0);
  }, 60_000);

  it('serves an agent that has made its own key', async () => {
    agent = startFleetgate(
      [
        ...['agent', '--controller', url, '--board', 'raspberry-pi-5', '--name', 'real'],
        ...['--data', join(folder, 'real'), '--threads', '1'],
      ],
      { FLEETGATE_JOIN_TOKEN: token() },
    );
    await until(() => readFileSync(join(broker.filesDir, 'acl'), 'utf8').includes('user real\n'), 'it has rights');
    broker.reload();
    await agent.first;
    await until(async () => (await stateOf('real')) === 'online', 'it is heard');
  }, 120_000);

  it('keeps a device to its own topics, and nobody in without a certificate of the fleet', async () => {
    const pi = await enrolAs('pi');
    broker.reload();
    const client = await connect(pi);
    const heard: string[] = [];
    client.on('message', (topic) => heard.push(topic));
    await client.subscribeAsync('fleetgate/v1/home/#', { qos: 1 });
    const publish = (name: string) =>
      client.publishAsync(presenceTopic(home, deviceId(name)), JSON.stringify(presence), { qos: 1, retain: true });
    await until(async () => (await publish('pi').catch(() => undefined)) !== undefined, 'its rights are read');
    await expect(publish('real')).rejects.toThrow(/authorized/i);
    await expect(client.publishAsync(desiredTopic(home, deviceId('pi')), '{}', { qos: 1 })).rejects.toThrow(
      /authorized/i,
    );
    await until(async () => (await stateOf('pi')) === 'online', 'what it says of itself is heard');
    expect(heard.filter((topic) => !topic.startsWith('fleetgate/v1/home/pi/'))).toEqual([]);
    const { key: _key, cert: _cert, ...nothing } = loginOf(pi);
    await expect(mqtt.connectAsync(pi.identity.mqttUrl, nothing, false)).rejects.toThrow();
    const other = { ...loginOf(pi), key: makeKey() };
    await expect(mqtt.connectAsync(pi.identity.mqttUrl, other, false)).rejects.toThrow();
  }, 60_000);

  it('takes the rights of a revoked device at the next reload, and does not let it in again', async () => {
    const lost = await enrolAs('lost');
    broker.reload();
    const client = await connect(lost);
    const say = () => client.publishAsync(presenceTopic(home, deviceId('lost')), JSON.stringify(presence), { qos: 1 });
    const may = async (): Promise<boolean> => {
      try {
        await say();
        return true;
      } catch {
        return false;
      }
    };
    await until(may, 'it may speak');
    expect((await fleetgate(['devices', 'revoke', 'lost', '--url', url])).code).toBe(0);
    broker.reload();
    await until(async () => !(await may()), 'it may not speak any more');
    await expect(mqtt.connectAsync(lost.identity.mqttUrl, loginOf(lost), false)).rejects.toThrow();
    expect(await isConnected()).toBe(true);
    expect(await stateOf('real')).toBe('online');
  }, 60_000);
});
