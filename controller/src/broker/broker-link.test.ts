import { randomBytes } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { connectAsync } from 'mqtt';
import { firstValueFrom } from 'rxjs';
import { afterAll, describe, expect, test, vi } from 'vitest';

import { systemClock } from '@fleetgate/shared/clock';
import { deviceId, fleetId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { fleetFilter, sharedFilter, telemetryTopic } from '@fleetgate/shared/protocol/topics';

import { freePort } from '../../../test/support/free-port.ts';
import { NO_MOSQUITTO, type Mosquitto, hasMosquitto, makeMosquitto } from '../../../test/support/mosquitto.ts';
import { type TestBroker, brokerLinkContract } from '../platform/broker-link-contract.js';
import { askBrokerFeatures, requireSharedSubscriptions } from '../platform/mqtt-broker-features.js';
import { connectBrokerLink } from '../platform/mqtt-broker-link.js';
import { AedesBroker } from './aedes-broker.js';
import { type BrokerUser, secretDigest } from './broker-user.js';
import { type MosquittoFiles, openMosquittoFiles } from './disk-mosquitto-files.js';
import { mosquittoDigest } from './mosquitto-config.js';

const home = fleetId('home');
const users: readonly BrokerUser[] = [
  { username: 'controller', secretSha256: secretDigest('controller-secret'), role: 'controller' },
];

async function embedded(): Promise<TestBroker> {
  const port = await freePort();
  let broker: AedesBroker | undefined;
  return {
    url: `mqtt://127.0.0.1:${port}`,
    password: 'controller-secret',
    start: async () => {
      const options = { host: '127.0.0.1', port, fleet: home, clock: systemClock, onEvent: () => {} };
      broker = await AedesBroker.start(options, users);
    },
    stop: async () => {
      await broker?.close();
      broker = undefined;
    },
  };
}

brokerLinkContract('embedded broker', embedded);
brokerLinkContract('embedded broker, by a link that asks for MQTT 5', embedded, { protocolVersion: 'newest' });

test('a broker without MQTT 5 is found out: several controllers cannot share it', async () => {
  const broker = await embedded();
  const login = { url: broker.url, username: 'controller', password: broker.password, clientId: 'asks' };
  await expect(requireSharedSubscriptions(login)).resolves.toBeUndefined();
  await broker.start();
  await expect(requireSharedSubscriptions(login)).rejects.toMatchObject({ code: 'broker.cannot-share' });
  expect(await askBrokerFeatures({ ...login, password: 'wrong' })).toEqual({
    protocolVersion: 4,
    sharedSubscriptions: false,
  });
  await broker.stop();
});

test('a subscription that the broker refuses fails with the reason', async () => {
  const broker = await embedded();
  await broker.start();
  const { url, password } = broker;
  const link = connectBrokerLink({ url, password, username: 'controller', clientId: 'c', log: silentLogger });
  await expect(firstValueFrom(link.messages('$SYS/#'))).rejects.toMatchObject({ code: 'broker.refused' });
  await link.publish('fleetgate/v1/home/pi/desired', Buffer.from('still connected'));
  await link.close();
  await broker.stop();
});

const brokers: Mosquitto[] = [];
afterAll(async () => {
  for (const broker of brokers) await broker.remove();
});

/** With the files that the controller writes. */
async function mosquitto(): Promise<TestBroker & Mosquitto & { readonly files: MosquittoFiles }> {
  const broker = await makeMosquitto();
  brokers.push(broker);
  const files = openMosquittoFiles(broker.filesDir, home);
  await broker.configure(files.config);
  await files.setUsers(mosquittoUsers('controller', 'pi', 'jetson'));
  return { ...broker, files, password: 'controller-secret' };
}

const mosquittoUsers = (...names: readonly string[]): readonly BrokerUser[] =>
  names.map((username) => ({
    username,
    secretSha256: secretDigest(`${username}-secret`),
    mosquittoDigest: mosquittoDigest(`${username}-secret`, randomBytes(12)),
    role: username === 'controller' ? 'controller' : 'device',
  }));

if (!hasMosquitto) {
  test.skip(`broker link: mosquitto (${NO_MOSQUITTO})`, () => {});
} else {
  brokerLinkContract('mosquitto', mosquitto);
  brokerLinkContract('mosquitto, MQTT 5', mosquitto, { protocolVersion: 'newest' });

  test('two links that share a subscription have each message at one of them, and all at the one that is left', async () => {
    const broker = await mosquitto();
    await broker.start();
    const { url, password } = broker;
    const login = { url, password, username: 'controller' };
    await requireSharedSubscriptions({ ...login, clientId: 'asks' });
    const linkOf = (clientId: string) =>
      connectBrokerLink({ ...login, clientId, protocolVersion: 'newest', log: silentLogger });
    const device = await connectAsync(url, { username: 'pi', password: 'pi-secret', clientId: 'pi' });
    const links = [linkOf('one'), linkOf('two')] as const;
    const heard: [string[], string[]] = [[], []];
    const topics = fleetFilter(home, 'telemetry');
    for (const [at, link] of links.entries()) {
      link.messages(sharedFilter(topics)).subscribe(({ payload }) => heard[at]?.push(Buffer.from(payload).toString()));
    }
    const say = (text: string) => device.publishAsync(telemetryTopic(home, deviceId('pi')), text, { qos: 1 });
    await vi.waitFor(async () => {
      await say('probe');
      expect(heard.every((texts) => texts.length > 0)).toBe(true);
    });
    const sent = Array.from({ length: 40 }, (_, n) => String(n));
    for (const text of sent) await say(text);
    const numbers = () => heard.flat().filter((text) => text !== 'probe');
    await vi.waitFor(() => expect(numbers().sort()).toEqual(sent.toSorted()));
    expect(heard.every((texts) => texts.some((text) => text !== 'probe'))).toBe(true);
    await links[0].close();
    await say('left');
    await vi.waitFor(() => expect(heard[1].at(-1)).toBe('left'));
    await links[1].close();
    await device.endAsync();
    await broker.stop();
  });

  describe('the files we write for mosquitto', () => {
    test('are whole, and readable for its group alone', async () => {
      const { filesDir, files } = await mosquitto();
      await files.setUsers(mosquittoUsers('controller'));
      expect(readdirSync(filesDir).sort()).toEqual(['acl', 'passwords']);
      for (const name of ['acl', 'passwords']) expect(statSync(join(filesDir, name)).mode & 0o777).toBe(0o640);
    });

    test('let a device in after the next reload, and put a removed one out', async () => {
      const broker = await mosquitto();
      const [controller, pi, jetson, late] = mosquittoUsers('controller', 'pi', 'jetson', 'late');
      if (controller === undefined || pi === undefined || jetson === undefined || late === undefined) return;
      await broker.start();
      const connect = (username: string) =>
        connectAsync(broker.url, { username, password: `${username}-secret`, clientId: username, reconnectPeriod: 0 });
      const device = await connect('pi');
      const isOut = new Promise<void>((resolve) => device.once('close', () => resolve()));
      await expect(connect('late')).rejects.toThrow(/authorized/i);
      await broker.files.setUsers([controller, jetson, late]);
      broker.reload();
      await isOut;
      await (await connect('late')).endAsync();
      await expect(connect('pi')).rejects.toThrow(/authorized/i);
      await broker.stop();
    });

    test('let a device publish and read its own, and nothing else', async () => {
      const broker = await mosquitto();
      await broker.start();
      const { url, password } = broker;
      const link = connectBrokerLink({ url, password, username: 'controller', clientId: 'c', log: silentLogger });
      const heard: string[] = [];
      link.messages('fleetgate/v1/home/#').subscribe(({ topic }) => heard.push(topic));
      await link.publish('fleetgate/v1/home/pi/desired', Buffer.from('1'), { retain: true });
      await link.publish('fleetgate/v1/home/jetson/desired', Buffer.from('1'), { retain: true });
      const options = { username: 'pi', password: 'pi-secret', clientId: 'pi', reconnectPeriod: 0 };
      const device = await connectAsync(url, { ...options, protocolVersion: 5 });
      const read: string[] = [];
      device.on('message', (topic) => read.push(topic));
      await device.subscribeAsync('fleetgate/v1/home/+/desired', { qos: 1 });
      for (const topic of ['jetson/telemetry', 'pi/desired']) {
        await expect(device.publishAsync(`fleetgate/v1/home/${topic}`, 'x', { qos: 1 })).rejects.toThrow(/authorized/i);
      }
      for (const topic of ['presence', 'reported', 'telemetry', 'events', 'jobs/j1/out']) {
        await device.publishAsync(`fleetgate/v1/home/pi/${topic}`, 'x', { qos: 1 });
      }
      await link.publish('fleetgate/v1/home/pi/desired', Buffer.from('2'));
      await vi.waitFor(() => expect(read).toHaveLength(2));
      expect(new Set(read)).toEqual(new Set(['fleetgate/v1/home/pi/desired']));
      expect(heard.filter((topic) => topic === 'fleetgate/v1/home/jetson/telemetry')).toEqual([]);
      expect(heard).toContain('fleetgate/v1/home/pi/jobs/j1/out');
      await device.endAsync();
      await link.close();
      await broker.stop();
    });
  });
}
