import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { connectAsync } from 'mqtt';
import { filter, firstValueFrom } from 'rxjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { systemClock } from '@fleetgate/shared/clock';
import { fleetId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { connectBrokerLink } from '../platform/mqtt-broker-link.js';
import { type BrokerUser, secretDigest } from './broker-user.js';
import { BrokerSupervisor, type BrokerSupervisorOptions } from './process-broker-supervisor.js';

const users: readonly BrokerUser[] = [
  { username: 'controller', secretSha256: secretDigest('controller-secret'), role: 'controller' },
  { username: 'pi', secretSha256: secretDigest('pi-secret'), role: 'device' },
];

let folder: string;
const cleanups: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-broker-'));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  await rm(folder, { recursive: true, force: true });
});

function supervise(options: Partial<BrokerSupervisorOptions> = {}): BrokerSupervisor {
  const supervisor = new BrokerSupervisor({
    host: '127.0.0.1',
    port: 0,
    fleet: fleetId('home'),
    telemetryPath: join(folder, 'telemetry.sqlite'),
    retention: milliseconds(86_400_000),
    log: silentLogger,
    clock: systemClock,
    ...options,
  });
  cleanups.push(() => supervisor.stop());
  return supervisor;
}

function link(at: { host: string; port: number }) {
  const connected = connectBrokerLink({
    url: `mqtt://${at.host}:${at.port}`,
    username: 'controller',
    password: 'controller-secret',
    clientId: 'controller-1',
    log: silentLogger,
  });
  cleanups.push(() => connected.close());
  return connected;
}

describe('broker supervisor', () => {
  test('serves its users at a free port and forgets a removed one', async () => {
    const supervisor = supervise();
    const at = await supervisor.start();
    await supervisor.setUsers(users);
    const device = await connectAsync(`mqtt://${at.host}:${at.port}`, {
      clientId: 'pi',
      username: 'pi',
      password: 'pi-secret',
      reconnectPeriod: 0,
    });
    const closed = new Promise((resolve) => device.once('close', resolve));
    await supervisor.setUsers(users.filter(({ role }) => role === 'controller'));
    await closed;
    await expect(
      connectAsync(`mqtt://${at.host}:${at.port}`, {
        clientId: 'pi',
        username: 'pi',
        password: 'pi-secret',
        reconnectPeriod: 0,
      }),
    ).rejects.toThrow(/bad user ?name or password|not authorized/i);
  });

  test('a killed broker comes back on the same port with its users', async () => {
    const supervisor = supervise();
    const at = await supervisor.start();
    await supervisor.setUsers(users);
    const controller = link(at);
    await controller.publish('fleetgate/v1/home/pi/desired', Buffer.from('1'), { retain: true });
    const listening = firstValueFrom(supervisor.events$.pipe(filter(({ kind }) => kind === 'listening')));
    const { pid } = supervisor;
    process.kill(pid ?? 0, 'SIGKILL');
    expect(await listening).toMatchObject({ port: at.port });
    expect(supervisor.pid).not.toBe(pid);
    // The link finds it again by itself, and what is published meanwhile arrives.
    const received = firstValueFrom(controller.messages('fleetgate/v1/home/+/desired'));
    await controller.publish('fleetgate/v1/home/pi/desired', Buffer.from('2'), { retain: true });
    expect(Buffer.from((await received).payload).toString()).toBe('2');
  });

  test('a taken port is named', async () => {
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => new Promise((resolve) => squatter.close(resolve)));
    const address = squatter.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await expect(supervise({ port }).start()).rejects.toMatchObject({
      code: 'port.taken',
      message: expect.stringContaining(String(port)) as string,
      hint: expect.stringContaining('--mqtt-port') as string,
    });
  });
});
