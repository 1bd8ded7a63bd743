import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { connectAsync } from 'mqtt';
import { filter, firstValueFrom } from 'rxjs';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { systemClock } from '@fleetgate/shared/clock';
import { deviceId, fleetId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { processEntry } from '@fleetgate/shared/process-entry';
import { encode } from '@fleetgate/shared/protocol/codec';
import { telemetryTopic } from '@fleetgate/shared/protocol/topics';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';

import { connectBrokerLink } from '../platform/mqtt-broker-link.js';
import { openSqliteTelemetryStore } from '../telemetry/sqlite-telemetry-store.js';
import { AedesBroker } from './aedes-broker.js';
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
    telemetry: { path: join(folder, 'telemetry.sqlite') },
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

/** Three samples, sent twice. */
async function publishTelemetry(url: string): Promise<void> {
  const device = await connectAsync(url, { clientId: 'pi', username: 'pi', password: 'pi-secret', reconnectPeriod: 0 });
  const now = systemClock.now();
  const payload = encode({
    v: 1,
    epoch: 3,
    seq: 0,
    t0Ms: now - 20,
    dtMs: 10,
    n: 3,
    sentAtMs: now,
    columns: { powerW: [5, 6, 7], temperatureC: [50, null, null] },
  });
  const topic = telemetryTopic(fleetId('home'), deviceId('pi'));
  await device.publishAsync(topic, payload, { qos: 1 });
  await device.publishAsync(topic, payload, { qos: 1 });
  await device.endAsync();
}

async function storedPower() {
  const store = await openSqliteTelemetryStore(join(folder, 'telemetry.sqlite'), 'read');
  const [rollup] = await store.read({
    deviceId: deviceId('pi'),
    metric: 'powerW',
    from: unixMs(0),
    to: unixMs(4e12),
    step: milliseconds(3_600_000_000),
    limit: 10,
  });
  await store.close();
  return rollup;
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
    const closed = new Promise<void>((resolve) => device.once('close', () => resolve()));
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

  test('a broker that hangs is replaced', async () => {
    const timing = { pingEvery: milliseconds(100), silentPings: 5 };
    const supervisor = supervise({ timing });
    const at = await supervisor.start();
    const exited = firstValueFrom(supervisor.events$.pipe(filter(({ kind }) => kind === 'exited')));
    const listening = firstValueFrom(supervisor.events$.pipe(filter(({ kind }) => kind === 'listening')));
    process.kill(supervisor.pid ?? 0, 'SIGSTOP');
    expect(await exited).toMatchObject({ reason: 'hung', signal: 'SIGKILL' });
    expect(await listening).toMatchObject({ port: at.port });
  });

  test('a broker that starts more slowly than it may be silent later is not taken for hung', async () => {
    const supervisor = supervise({ timing: { pingEvery: milliseconds(10), silentPings: 3 } });
    const at = await supervisor.start();
    const listening = firstValueFrom(supervisor.events$.pipe(filter(({ kind }) => kind === 'listening')));
    process.kill(supervisor.pid ?? 0, 'SIGKILL');
    expect(await listening).toMatchObject({ port: at.port });
  });

  test('a broker that hangs does not keep the supervisor from stopping', async () => {
    const supervisor = supervise({ timing: { stopDeadline: milliseconds(200) } });
    await supervisor.start();
    const pid = supervisor.pid ?? 0;
    process.kill(pid, 'SIGSTOP');
    await supervisor.stop();
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    await expect(supervisor.setUsers(users)).resolves.toBeUndefined();
  });

  test('users set before the start and while the broker is down are in force when it is up', async () => {
    const supervisor = supervise();
    await supervisor.setUsers(users.filter(({ role }) => role === 'device'));
    const at = await supervisor.start();
    process.kill(supervisor.pid ?? 0, 'SIGKILL');
    await supervisor.setUsers(users);
    const controller = link(at);
    await controller.publish('fleetgate/v1/home/pi/desired', Buffer.from('1'), { retain: true });
  });

  test('a start that comes too late is given up, and leaves no process', async () => {
    const supervisor = supervise({ timing: { deadline: milliseconds(1) } });
    await expect(supervisor.start()).rejects.toMatchObject({ code: 'broker.unreachable' });
    expect(supervisor.pid).toBeUndefined();
  });

  test('a broker whose controller is gone ends', async () => {
    const program = `
      import { BrokerSupervisor } from ${JSON.stringify(processEntry(import.meta.url, './process-broker-supervisor.js'))};
      import { systemClock } from '@fleetgate/shared/clock';
      import { silentLogger } from '@fleetgate/shared/logger';
      const supervisor = new BrokerSupervisor({ host: '127.0.0.1', port: 0, fleet: 'home', retention: 1e6,
        telemetry: { path: ${JSON.stringify(join(folder, 'telemetry.sqlite'))} }, log: silentLogger, clock: systemClock });
      await supervisor.start();
      console.log(supervisor.pid);
    `;
    const controller = spawn(process.execPath, ['--input-type=module', '-e', program], {
      cwd: dirname(processEntry(import.meta.url, './process-broker-supervisor.js')),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    cleanups.push(() => Promise.resolve(controller.kill('SIGKILL')));
    const [line] = (await once(controller.stdout, 'data')) as [Buffer];
    const pid = Number(line.toString());
    process.kill(pid, 0);
    controller.kill('SIGKILL');
    await vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow('ESRCH'), { timeout: 10_000 });
  });

  test('telemetry reaches the controller as newest values, and the database as rollups', async () => {
    const supervisor = supervise();
    await supervisor.setUsers(users);
    const at = await supervisor.start();
    const observed = firstValueFrom(supervisor.observations$);
    const refused = firstValueFrom(supervisor.events$.pipe(filter(({ kind }) => kind === 'telemetry-refused')));
    await publishTelemetry(`mqtt://${at.host}:${at.port}`);
    expect(await observed).toEqual([
      expect.objectContaining({ deviceId: 'pi', epoch: 3, last: { powerW: 7, temperatureC: 50 } }),
    ]);
    expect(await refused).toMatchObject({ deviceId: 'pi', reason: 'duplicate', count: 1 });
    await supervisor.stop();
    expect(await storedPower()).toMatchObject({ n: 3, sum: 18 });
  });

  test("takes in the telemetry of somebody else's broker", async () => {
    const theirs = await AedesBroker.start(
      { host: '127.0.0.1', port: 0, fleet: fleetId('home'), clock: systemClock, onEvent: () => {} },
      users,
    );
    cleanups.push(() => theirs.close());
    const subscribed = new Promise<void>((resolve) => theirs.engine.once('subscribe', () => resolve()));
    const url = `mqtt://127.0.0.1:${theirs.port}`;
    const supervisor = supervise({ external: { url, username: 'controller', password: 'controller-secret' } });
    await supervisor.start();
    await supervisor.setUsers(users);
    await subscribed;
    const observed = firstValueFrom(supervisor.observations$);
    await publishTelemetry(url);
    expect(await observed).toHaveLength(1);
    await supervisor.stop();
    expect(await storedPower()).toMatchObject({ n: 3, sum: 18 });
  });

  test('a corrupt telemetry database is told and does not keep the broker from serving', async () => {
    await writeFile(join(folder, 'telemetry.sqlite'), 'nonsense '.repeat(1000));
    const supervisor = supervise();
    const replaced = firstValueFrom(supervisor.events$.pipe(filter(({ kind }) => kind === 'telemetry-store')));
    await supervisor.start();
    expect(await replaced).toMatchObject({ state: 'replaced' });
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
