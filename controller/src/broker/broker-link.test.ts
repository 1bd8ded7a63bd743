import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectSocket, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { connectAsync } from 'mqtt';
import { firstValueFrom } from 'rxjs';
import { afterAll, describe, expect, test, vi } from 'vitest';

import { systemClock } from '@fleetgate/shared/clock';
import { fleetId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';

import { type TestBroker, brokerLinkContract } from '../platform/broker-link-contract.js';
import { connectBrokerLink } from '../platform/mqtt-broker-link.js';
import { AedesBroker } from './aedes-broker.js';
import { type BrokerUser, secretDigest } from './broker-user.js';
import { mosquittoAcl, mosquittoConfig, mosquittoPassword } from './mosquitto-config.js';

const home = fleetId('home');
const users: readonly BrokerUser[] = [
  { username: 'controller', secretSha256: secretDigest('controller-secret'), role: 'controller' },
];

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

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

const MOSQUITTO = ['/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/sbin']
  .map((folder) => join(folder, 'mosquitto'))
  .find((path) => existsSync(path));

const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

async function mosquitto(): Promise<TestBroker> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'fleetgate-mosquitto-'));
  folders.push(folder);
  const [configPath, passwordPath, aclPath] = ['mosquitto.conf', 'passwords', 'acl'].map((name) => join(folder, name));
  if (configPath === undefined || passwordPath === undefined || aclPath === undefined) throw new Error('no paths');
  await writeFile(configPath, mosquittoConfig({ host: '127.0.0.1', port, passwordPath, aclPath }));
  await writeFile(aclPath, mosquittoAcl(home));
  const names = ['controller', 'pi', 'jetson'];
  await writeFile(
    passwordPath,
    names.map((name) => mosquittoPassword(name, `${name}-secret`, randomBytes(12))).join(''),
  );
  // It gives up root before it reads them.
  await chmod(folder, 0o755);
  let program: ReturnType<typeof spawn> | undefined;
  return {
    url: `mqtt://127.0.0.1:${port}`,
    password: 'controller-secret',
    start: async () => {
      program = spawn(MOSQUITTO ?? '', ['-c', configPath], { stdio: 'ignore' });
      await vi.waitFor(
        async () => {
          const socket = connectSocket(port, '127.0.0.1');
          try {
            await once(socket, 'connect');
          } finally {
            socket.destroy();
          }
        },
        { timeout: 10_000 },
      );
    },
    stop: async () => {
      const ending = program;
      program = undefined;
      if (ending === undefined) return;
      const exited = once(ending, 'exit');
      ending.kill('SIGKILL');
      await exited;
    },
  };
}

if (MOSQUITTO === undefined) {
  test.skip('broker link: mosquitto (not installed; apt-get install mosquitto runs this too)', () => {});
} else {
  brokerLinkContract('mosquitto', mosquitto);
  brokerLinkContract('mosquitto, MQTT 5', mosquitto, { protocolVersion: 5 });

  describe('the rights we write for mosquitto', () => {
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
