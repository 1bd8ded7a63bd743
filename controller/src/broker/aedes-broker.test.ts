import { once } from 'node:events';
import { type Socket, connect as connectSocket } from 'node:net';

import { type IClientOptions, type IConnackPacket, type MqttClient, connect, connectAsync } from 'mqtt';
import { afterEach, describe, expect, test, vi } from 'vitest';

import { systemClock } from '@fleetgate/shared/clock';
import { deviceId, fleetId } from '@fleetgate/shared/ids';
import { fleetFilter, presenceTopic, telemetryTopic } from '@fleetgate/shared/protocol/topics';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { AedesBroker } from './aedes-broker.js';
import type { TalliedEvent } from './broker-event.js';
import { type BrokerLimits, DEFAULT_LIMITS } from './broker-limits.js';
import { type BrokerUser, secretDigest } from './broker-user.js';
import type { GuardLimits } from './frame-guard.js';

const home = fleetId('home');
const pi = deviceId('pi');
const presence = presenceTopic(home, pi);
const telemetry = telemetryTopic(home, pi);
const allTelemetry = fleetFilter(home, 'telemetry');

const aUser = (username: string, role: BrokerUser['role']): BrokerUser => ({
  username,
  role,
  secretSha256: secretDigest(`${username}-secret`),
});
const users = [aUser('controller', 'controller'), aUser('pi', 'device'), aUser('jetson', 'device')];

const cleanups: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function aBroker(limits: Partial<BrokerLimits> = {}) {
  const events: TalliedEvent[] = [];
  const broker = await AedesBroker.start(
    { host: '127.0.0.1', port: 0, fleet: home, clock: systemClock, onEvent: (event) => events.push(event), limits },
    users,
  );
  cleanups.push(() => broker.close());
  const clients = { of: (username: string, options: IClientOptions = {}) => client(broker, username, options) };
  return { broker, events, clients };
}

async function client(broker: AedesBroker, username: string, options: IClientOptions = {}): Promise<MqttClient> {
  const connected = await connectAsync(`mqtt://127.0.0.1:${broker.port}`, {
    clientId: username,
    username,
    password: `${username}-secret`,
    reconnectPeriod: 0,
    ...options,
  });
  connected.on('error', () => {});
  cleanups.push(() => connected.endAsync(true));
  return connected;
}

function rawSocket(broker: AedesBroker): Socket {
  const socket = connectSocket(broker.port, '127.0.0.1');
  socket.on('error', () => {});
  cleanups.push(() => void socket.destroy());
  return socket;
}

const closed = (emitter: MqttClient | Socket) => new Promise<void>((resolve) => emitter.once('close', () => resolve()));
const text = (value: string) =>
  Buffer.concat([Buffer.from([value.length >> 8, value.length & 0xff]), Buffer.from(value)]);

/** A CONNECT of MQTT 3.1.1 with user and password, clean session. */
function connectPacket(username: string): Buffer {
  const body = Buffer.concat([
    text('MQTT'),
    Buffer.from([4, 0xc2, 0, 60]),
    ...[username, username, `${username}-secret`].map(text),
  ]);
  return Buffer.concat([Buffer.from([0x10, body.length]), body]);
}

function subscribePacket(filter: string): Buffer {
  const body = Buffer.concat([Buffer.from([0, 1]), text(filter), Buffer.from([0])]);
  return Buffer.concat([Buffer.from([0x82, body.length]), body]);
}

/** Counts what arrives at `filter`, and waits for a number of them. */
async function reader(subscriber: MqttClient, filter: string) {
  const received: string[] = [];
  const waiting: { n: number; done: () => void }[] = [];
  subscriber.on('message', (_topic, payload) => {
    received.push(payload.subarray(0, 20).toString());
    for (const { n, done } of waiting) if (received.length >= n) done();
  });
  await subscriber.subscribeAsync(filter, { qos: 1 });
  const receivedAll = (n: number) =>
    new Promise<void>((done) => (received.length >= n ? done() : waiting.push({ n, done })));
  return { received, receivedAll };
}

const guardWith = (guard: Partial<GuardLimits>): Pick<BrokerLimits, 'guard' | 'controllerGuard'> => ({
  guard: { ...DEFAULT_LIMITS.guard, ...guard },
  controllerGuard: { ...DEFAULT_LIMITS.controllerGuard, ...guard },
});
const noRate = { packets: { perSecond: 1e9, burst: 1e9 }, bytes: { perSecond: 1e12, burst: 1e12 } };

describe('who may connect', () => {
  test.each([
    ['a wrong password', 'pi', { password: 'wrong' }, 4],
    ['no password', 'pi', { password: '' }, 4],
    ['an unknown user', 'nobody', {}, 4],
    ["another device's name as client id", 'pi', { clientId: 'jetson' }, 2],
  ])('%s is refused', async (_name, username, options, code) => {
    const { broker, events, clients } = await aBroker();
    await expect(clients.of(username, options)).rejects.toMatchObject({ code });
    if (code === 4) {
      expect(events).toContainEqual({ kind: 'authentication-failed', username, remote: '127.0.0.1', count: 1 });
    }
    await vi.waitFor(() => expect(broker.connections).toBe(0));
  });

  test('a session ends with its connection, whatever the client asks', async () => {
    const { clients } = await aBroker();
    const first = await clients.of('pi', { clean: false });
    await first.subscribeAsync('fleetgate/v1/home/pi/jobs', { qos: 1 });
    await first.endAsync();
    const again = connect(first.options);
    cleanups.push(() => again.endAsync(true));
    const connack = await new Promise<IConnackPacket>((resolve) => again.once('connect', resolve));
    expect(connack.sessionPresent).toBe(false);
  });

  test('a removed user is cut, may not return, and what it had retained is forgotten', async () => {
    const { broker, events, clients } = await aBroker();
    const device = await clients.of('pi', {
      will: { topic: presence, payload: Buffer.from('gone'), qos: 1, retain: true },
    });
    await device.publishAsync(presence, 'here', { qos: 1, retain: true });
    const cut = closed(device);
    await broker.setUsers(users.filter(({ username }) => username !== 'pi'));
    await cut;
    expect(events).toContainEqual({
      kind: 'connection-cut',
      username: 'pi',
      reason: 'credentials-withdrawn',
      count: 1,
    });
    await expect(clients.of('pi')).rejects.toMatchObject({ code: 4 });
    const controller = await clients.of('controller');
    const { received, receivedAll } = await reader(controller, fleetFilter(home, 'presence'));
    const jetson = await clients.of('jetson');
    await jetson.publishAsync(presenceTopic(home, deviceId('jetson')), 'here', { qos: 1, retain: true });
    await receivedAll(1);
    expect(received).toEqual(['here']);
  });

  test('a new secret cuts the holder of the old one', async () => {
    const { broker, clients } = await aBroker();
    const device = await clients.of('pi');
    const cut = closed(device);
    await broker.setUsers(users.map((user) => ({ ...user, secretSha256: secretDigest(`new-${user.username}`) })));
    await cut;
    await clients.of('pi', { password: 'new-pi' });
  });
});

describe('what a client may do', () => {
  test.each([
    ["another device's telemetry", telemetryTopic(home, deviceId('jetson')), false, 'foreign-topic'],
    ['its own desired state', 'fleetgate/v1/home/pi/desired', false, 'foreign-topic'],
    ["the broker's own topics", '$SYS/uptime', false, 'foreign-topic'],
    ['retained telemetry', telemetry, true, 'retain-not-allowed'],
  ])('a device that publishes %s is cut', async (_name, topic, retain, reason) => {
    const { events, clients } = await aBroker();
    const controller = await clients.of('controller');
    const { received, receivedAll } = await reader(controller, 'fleetgate/v1/home/#');
    const device = await clients.of('pi');
    device.publish(topic, 'x', { qos: 1, retain });
    await closed(device);
    expect(events).toContainEqual({ kind: 'publish-denied', username: 'pi', topic, reason, count: 1 });
    const again = await clients.of('pi');
    again.publish(telemetry, 'allowed');
    await receivedAll(1);
    expect(received).toEqual(['allowed']);
  });

  test.each(['#', 'fleetgate/v1/home/+/desired', 'fleetgate/v1/home/jetson/jobs', '$SYS/#'])(
    'a device may not read %s',
    async (filter) => {
      const { events, clients } = await aBroker();
      const device = await clients.of('pi');
      await expect(device.subscribeAsync(filter, { qos: 1 })).rejects.toThrow(/Unspecified error|128/);
      expect(events).toContainEqual({ kind: 'subscribe-denied', username: 'pi', filter, count: 1 });
      const { receivedAll } = await reader(device, 'fleetgate/v1/home/pi/jobs');
      const controller = await clients.of('controller');
      controller.publish('fleetgate/v1/home/pi/jobs', 'work');
      await receivedAll(1);
    },
  );
});

describe('a newer session of a device', () => {
  test('takes the place of the older, whose will tells its own epoch and replaces nothing', async () => {
    const { broker, events, clients } = await aBroker();
    const controller = await clients.of('controller');
    const { received, receivedAll } = await reader(controller, presence);
    const session = (epoch: number) => ({
      will: { topic: presence, payload: Buffer.from(`offline ${epoch}`), qos: 1 as const, retain: true },
    });
    const older = await clients.of('pi', session(1));
    await older.publishAsync(presence, 'online 1', { qos: 1, retain: true });
    const cut = closed(older);
    const newer = await clients.of('pi', session(2));
    await newer.publishAsync(presence, 'online 2', { qos: 1, retain: true });
    await cut;
    await receivedAll(3);
    expect(received.toSorted()).toEqual(['offline 1', 'online 1', 'online 2']);
    expect(events).toContainEqual({ kind: 'connection-cut', username: 'pi', reason: 'superseded', count: 1 });
    expect(broker.connections).toBe(2);
    const late = await reader(await clients.of('controller', { clientId: 'late' }), presence);
    await late.receivedAll(1);
    expect(late.received).toEqual(['online 2']);
  });

  test('ten at once leave one', async () => {
    const { broker, clients } = await aBroker();
    await Promise.allSettled(Array.from({ length: 10 }, () => clients.of('pi')));
    await vi.waitFor(() => expect(broker.connections).toBe(1));
  });
});

describe('hostile connections', () => {
  test('256 MiB announced as a CONNECT are not waited for', async () => {
    const { broker, events } = await aBroker();
    const socket = rawSocket(broker);
    socket.write(Buffer.concat([Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]), Buffer.alloc(100_000)]));
    await closed(socket);
    expect(events).toEqual([{ kind: 'connection-cut', username: '', reason: 'packet-too-large', count: 1 }]);
  });

  test('a message above the limit is not taken, one at the limit is', async () => {
    const { events, clients } = await aBroker();
    const controller = await clients.of('controller');
    const { receivedAll } = await reader(controller, allTelemetry);
    const device = await clients.of('pi');
    await device.publishAsync(telemetry, Buffer.alloc(256 * 1024), { qos: 1 });
    await receivedAll(1);
    device.publish(telemetry, Buffer.alloc(260 * 1024), { qos: 1 });
    await closed(device);
    expect(events).toContainEqual({ kind: 'connection-cut', username: 'pi', reason: 'packet-too-large', count: 1 });
  });

  test('a CONNECT that never ends is cut', async () => {
    const { broker } = await aBroker({ connectTimeout: milliseconds(100) });
    const socket = rawSocket(broker);
    socket.write(connectPacket('pi').subarray(0, 9));
    await closed(socket);
    const silent = rawSocket(broker);
    await closed(silent);
    await vi.waitFor(() => expect(broker.connections).toBe(0));
  });

  test('what comes before the CONNACK waits, and is not lost', async () => {
    const { broker, clients } = await aBroker();
    const controller = await clients.of('controller');
    const { receivedAll } = await reader(controller, allTelemetry);
    const socket = rawSocket(broker);
    const body = Buffer.concat([text(telemetry), Buffer.alloc(9_000)]);
    const publish = Buffer.concat([Buffer.from([0x30, (body.length & 0x7f) | 0x80, body.length >> 7]), body]);
    socket.write(Buffer.concat([connectPacket('pi'), ...Array.from({ length: 100 }, () => publish)]));
    await receivedAll(100);
  });

  test('bytes that are no MQTT end their connection only', async () => {
    const { broker, clients } = await aBroker();
    const junk = [
      Buffer.from('GET / HTTP/1.1\r\nHost: fleet\r\n\r\n'),
      Buffer.alloc(64, 0xff),
      Buffer.from([0x10, 4, 0, 2, 0x4d, 0x51]),
      Buffer.concat([connectPacket('pi'), Buffer.from([0x30, 2, 0xff, 0xff])]),
      Buffer.concat([connectPacket('pi'), Buffer.from([0xf0, 0])]),
      Buffer.concat([connectPacket('pi'), connectPacket('pi')]),
      Buffer.concat([connectPacket('pi'), Buffer.from([0x82, 2, 0, 1])]),
    ];
    for (const bytes of junk) {
      const socket = rawSocket(broker);
      const ended = closed(socket);
      socket.resume();
      socket.write(bytes);
      await ended;
    }
    await clients.of('pi');
  });

  test('connections are counted, in all and from one address', async () => {
    const { broker, events, clients } = await aBroker({ connections: 5, connectionsPerAddress: 3 });
    const sockets = [rawSocket(broker), rawSocket(broker), rawSocket(broker)];
    await vi.waitFor(() => expect(broker.connections).toBe(3));
    await closed(rawSocket(broker));
    expect(events).toContainEqual({
      kind: 'connection-refused',
      reason: 'too-many-from-address',
      remote: '127.0.0.1',
      count: 1,
    });
    sockets[0]?.destroy();
    await vi.waitFor(() => expect(broker.connections).toBe(2));
    await clients.of('pi');
  });

  test('who sends too fast is slowed, not robbed', async () => {
    const { clients } = await aBroker(guardWith({ packets: { perSecond: 1_000, burst: 20 } }));
    const device = await clients.of('pi');
    const sent = Array.from({ length: 300 }, (_, n) => device.publishAsync(telemetry, `${n}`, { qos: 1 }));
    await Promise.all(sent);
  });

  test('who sends far too fast is cut', async () => {
    const limits = { packets: { perSecond: 1, burst: 20 }, longestHold: milliseconds(5_000) };
    const { events, clients } = await aBroker(guardWith(limits));
    const device = await clients.of('pi');
    for (let n = 0; n < 300; n += 1) device.publish(telemetry, `${n}`);
    await closed(device);
    expect(events).toContainEqual({ kind: 'connection-cut', username: 'pi', reason: 'rate-exceeded', count: 1 });
  });
});

describe('a reader that does not read', () => {
  const MESSAGES = 2_000;
  const payload = Buffer.alloc(8_192, 0x78);

  async function flooded(limits: Partial<GuardLimits>) {
    const { broker, events, clients } = await aBroker(guardWith({ ...noRate, ...limits }));
    const stalled = rawSocket(broker);
    stalled.write(Buffer.concat([connectPacket('controller'), subscribePacket(allTelemetry)]));
    // SUBACK has come: from here on nothing more is read.
    await once(stalled, 'readable');
    await vi.waitFor(() => expect(stalled.readableLength).toBeGreaterThanOrEqual(4 + 5));
    const healthy = await reader(await clients.of('controller', { clientId: 'healthy' }), allTelemetry);
    const senders = await Promise.all(['pi', 'jetson'].map((name) => clients.of(name)));
    const acknowledged = senders.map(async (sender, index) => {
      const topic = telemetryTopic(home, deviceId(index === 0 ? 'pi' : 'jetson'));
      for (let n = 0; n < MESSAGES / 2; n += 50) {
        await Promise.all(Array.from({ length: 50 }, () => sender.publishAsync(topic, payload, { qos: 1 })));
      }
    });
    return { broker, events, healthy, acknowledged: Promise.all(acknowledged), stalled, clients };
  }

  test('costs the others nothing', async () => {
    const { healthy, acknowledged, stalled, broker } = await flooded({});
    await acknowledged;
    await healthy.receivedAll(MESSAGES);
    expect(broker.connections).toBe(4);
    stalled.destroy();
    await vi.waitFor(() => expect(broker.connections).toBe(3));
  });

  test('is cut when too much waits for it', async () => {
    const { healthy, acknowledged, events } = await flooded({ outboundBytes: 300_000 });
    await acknowledged;
    await healthy.receivedAll(MESSAGES);
    await vi.waitFor(() =>
      expect(events).toContainEqual({
        kind: 'connection-cut',
        username: 'controller',
        reason: 'outbound-overflow',
        count: 1,
      }),
    );
  });

  test('is cut when it has not read for too long', async () => {
    const { healthy, acknowledged, events } = await flooded({ stall: milliseconds(200) });
    await acknowledged;
    await healthy.receivedAll(MESSAGES);
    await vi.waitFor(
      () =>
        expect(events).toContainEqual({ kind: 'connection-cut', username: 'controller', reason: 'stalled', count: 1 }),
      { timeout: 10_000 },
    );
  });

  test('or that leaves in the midst of a flood without acknowledgements, leaves the broker up', async () => {
    const { broker, clients } = await aBroker(guardWith(noRate));
    const soleReader = await clients.of('controller', { clientId: 'leaving' });
    const leaving = await reader(soleReader, allTelemetry);
    const senders = await Promise.all(['pi', 'jetson'].map((name) => clients.of(name)));
    for (const [index, sender] of senders.entries()) {
      const topic = telemetryTopic(home, deviceId(index === 0 ? 'pi' : 'jetson'));
      for (let n = 0; n < 10_000; n += 1) sender.publish(topic, 'flood');
    }
    await leaving.receivedAll(100);
    await soleReader.endAsync(true);
    const staying = await reader(await clients.of('controller', { clientId: 'staying' }), allTelemetry);
    await senders[0]?.publishAsync(telemetry, 'after', { qos: 1 });
    await vi.waitFor(() => expect(staying.received).toContain('after'), { timeout: 10_000 });
    expect(broker.connections).toBe(3);
  });
});

test('a port that is taken is named, and nothing is left behind', async () => {
  const { broker } = await aBroker();
  const options = { host: '127.0.0.1', fleet: home, clock: systemClock, onEvent: () => {} };
  await expect(AedesBroker.start({ ...options, port: broker.port })).rejects.toMatchObject({ code: 'port.taken' });
  await expect(AedesBroker.start({ ...options, host: '203.0.113.1', port: 0 })).rejects.toMatchObject({
    code: 'config.invalid',
  });
});
