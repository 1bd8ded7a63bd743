import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect as connectSocket, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, createServer as createTlsServer } from 'node:tls';

import { ManualClock, systemClock, type Clock } from '@fleetgate/shared/clock';
import { deviceId } from '@fleetgate/shared/ids';
import { desiredTopic, presenceTopic, telemetryTopic } from '@fleetgate/shared/protocol/topics';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import fc from 'fast-check';
import { connect, connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';

import type { IssuedCertificate, KeyedCertificate } from '../identity/certificate.js';
import type { CertificateAuthority } from '../identity/certificate-authority.js';
import { readCertificateRequest } from '../identity/certificate-request.js';
import { anAuthority, DAY, DeviceKey, home } from '../identity/identity.fixture.js';
import { AedesBroker } from './aedes-broker.js';
import type { TlsMaterial } from './aedes-tls-listener.js';
import type { TalliedEvent } from './broker-event.js';
import { type BrokerLimits, DEFAULT_LIMITS } from './broker-limits.js';
import { type BrokerUser, secretDigest } from './broker-user.js';
import { peerOf } from './peer-certificate.js';

const pi = deviceId('pi');
const now = () => unixMs(Date.now());
const month = milliseconds(30 * DAY);

let authority: CertificateAuthority;
let shown: KeyedCertificate;
const piKey = new DeviceKey();
let piCertificate: IssuedCertificate;

const cleanups: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

beforeAll(async () => {
  authority = await anAuthority();
  shown = await authority.issueBroker(['127.0.0.1'], now(), month);
  piCertificate = await issue('pi', piKey);
});

async function issue(
  name: string,
  key: DeviceKey,
  { by = authority, at = now(), validity = month } = {},
): Promise<IssuedCertificate> {
  return by.issueDevice(deviceId(name), await readCertificateRequest(key.request(name)), at, validity);
}

const userOf = (username: string, ...certificates: readonly IssuedCertificate[]): BrokerUser => ({
  username,
  role: 'device',
  secretSha256: secretDigest(`${username}-secret`),
  certificates: certificates.map(({ serial, notAfter }) => ({ serial, notAfterMs: notAfter })),
});

async function aBroker(parts: { users?: readonly BrokerUser[]; limits?: Partial<BrokerLimits>; clock?: Clock } = {}) {
  const { users = [userOf('pi', piCertificate)], limits = {}, clock = systemClock } = parts;
  const events: TalliedEvent[] = [];
  const material: TlsMaterial = {
    keyPem: shown.keyPem,
    certificatePem: shown.pem,
    authorityPem: authority.certificatePem,
  };
  const tls = { host: '127.0.0.1', port: 0, material };
  const broker = await AedesBroker.start(
    { host: '127.0.0.1', port: 'none', tls, fleet: home, clock, onEvent: (event) => events.push(event), limits },
    users,
  );
  cleanups.push(() => broker.close());
  const refusals = () =>
    events.flatMap((event) => (event.kind === 'certificate-refused' ? [[event.reason, event.commonName]] : []));
  const failures = () => events.flatMap((event) => (event.kind === 'handshake-failed' ? [event.reason] : []));
  return { broker, material, events, refusals, failures };
}

const optionsOf = (key: DeviceKey, certificate: IssuedCertificate): IClientOptions => ({
  clientId: 'pi',
  key: key.pem,
  cert: certificate.pem,
  ca: authority.certificatePem,
  servername: 'broker.home.fleetgate',
  reconnectPeriod: 0,
  connectTimeout: 5000,
});

async function client(broker: AedesBroker, options: IClientOptions = optionsOf(piKey, piCertificate)) {
  const connected = await connectAsync(`mqtts://127.0.0.1:${broker.tlsPort}`, options);
  connected.on('error', () => {});
  cleanups.push(() => connected.endAsync(true));
  return connected;
}

/** How the broker puts a client out: by a word of MQTT, or by the end of the connection. */
async function fate(broker: AedesBroker, options: IClientOptions): Promise<string> {
  const refused = connect(`mqtts://127.0.0.1:${broker.tlsPort}`, options);
  cleanups.push(() => refused.endAsync(true));
  return new Promise((resolve) => {
    refused.on('connect', () => resolve('let in'));
    refused.on('error', (error) => resolve('code' in error && typeof error.code === 'number' ? 'refused' : 'closed'));
    refused.on('close', () => resolve('closed'));
  });
}

function rawSocket(broker: AedesBroker): Socket {
  const socket = connectSocket(broker.tlsPort, '127.0.0.1');
  socket.on('error', () => {});
  cleanups.push(() => void socket.destroy());
  return socket;
}

const closed = (emitter: MqttClient | Socket) => new Promise<void>((resolve) => emitter.once('close', () => resolve()));
const handshakes = (parts: Partial<BrokerLimits['handshakes']>) => ({
  handshakes: { ...DEFAULT_LIMITS.handshakes, ...parts },
});

describe('AedesBroker by TLS', () => {
  it('lets a device in by its certificate alone, under its own name and to its own topics', async () => {
    const { broker, events } = await aBroker();
    expect(broker.port).toBe(0);
    const device = await client(broker);
    await device.subscribeAsync(desiredTopic(home, pi), { qos: 1 });
    await device.publishAsync(telemetryTopic(home, pi), '{}', { qos: 1 });
    expect(events).toEqual([{ kind: 'session', state: 'opened', username: 'pi', count: 1 }]);
    const out = closed(device);
    device.publish(presenceTopic(home, deviceId('jetson')), '{}', { qos: 1 });
    await out;
    expect(events).toContainEqual(expect.objectContaining({ kind: 'publish-denied', reason: 'foreign-topic' }));
  });

  it('shows a certificate of the fleet under its fixed name and its address', async () => {
    const { broker } = await aBroker();
    const { servername: _, ...byAddress } = optionsOf(piKey, piCertificate);
    await client(broker, byAddress);
    const other = await fate(broker, { ...byAddress, servername: 'broker.away.fleetgate' });
    expect(other).not.toBe('let in');
  });

  it('is no broker that a device would take: the certificate of another device', async () => {
    const key = new DeviceKey();
    const { pem } = await issue('broker.home.fleetgate', key);
    const imposter = createTlsServer({ key: key.pem, cert: pem });
    imposter.listen(0, '127.0.0.1');
    await once(imposter, 'listening');
    cleanups.push(() => void imposter.close());
    const { port } = imposter.address() as AddressInfo;
    const url = `mqtts://127.0.0.1:${port}`;
    await expect(connectAsync(url, optionsOf(piKey, piCertificate), false)).rejects.toMatchObject({
      code: 'INVALID_PURPOSE',
    });
  });

  it('lets nobody in who has no certificate of the fleet that is in force, and says why', async () => {
    const { broker, refusals } = await aBroker();
    const [foreignKey, oldKey, earlyKey] = [new DeviceKey(), new DeviceKey(), new DeviceKey()];
    const foreign = await issue('pi', foreignKey, { by: await anAuthority() });
    const old = await issue('pi', oldKey, { at: unixMs(now() - 2 * DAY), validity: milliseconds(DAY) });
    const early = await issue('pi', earlyKey, { at: unixMs(now() + DAY) });
    const { key: _key, cert: _cert, ...nothing } = optionsOf(piKey, piCertificate);
    expect(await fate(broker, { ...nothing, username: 'pi', password: 'pi-secret' })).toBe('closed');
    expect(await fate(broker, optionsOf(foreignKey, foreign))).toBe('closed');
    expect(await fate(broker, optionsOf(oldKey, old))).toBe('closed');
    expect(await fate(broker, optionsOf(earlyKey, early))).toBe('closed');
    const server: IClientOptions = { ...nothing, key: shown.keyPem, cert: shown.pem };
    expect(await fate(broker, server)).toBe('closed');
    await vi.waitFor(() =>
      expect(refusals()).toEqual([
        ['missing', ''],
        ['foreign', 'pi'],
        ['expired', 'pi'],
        ['not-yet-valid', 'pi'],
        ['unsuitable', 'broker.home.fleetgate'],
      ]),
    );
  });

  it('refuses a good signature on what is not on its list: revoked, superseded, of a removed device', async () => {
    const { broker, events, refusals } = await aBroker();
    const [otherKey, goneKey] = [new DeviceKey(), new DeviceKey()];
    expect(await fate(broker, optionsOf(otherKey, await issue('pi', otherKey)))).toBe('refused');
    expect(await fate(broker, { ...optionsOf(goneKey, await issue('gone', goneKey)), clientId: 'gone' })).toBe(
      'refused',
    );
    expect(refusals()).toEqual([
      ['unknown', 'pi'],
      ['unknown', 'gone'],
    ]);
    expect(events).toHaveLength(2);
  });

  it('refuses a certificate under another client id or user name', async () => {
    const jetson = { ...userOf('jetson'), certificates: [] };
    const { broker, refusals } = await aBroker({ users: [userOf('pi', piCertificate), jetson] });
    expect(await fate(broker, { ...optionsOf(piKey, piCertificate), clientId: 'jetson' })).toBe('refused');
    const named = { ...optionsOf(piKey, piCertificate), username: 'jetson', password: 'jetson-secret' };
    expect(await fate(broker, named)).toBe('refused');
    expect(refusals()).toEqual([['other-name', 'pi']]);
  });

  it('cuts a connection when its certificate is revoked, and keeps it when the device has renewed', async () => {
    const { broker, events } = await aBroker();
    const device = await client(broker);
    const renewed = await issue('pi', new DeviceKey());
    await broker.setUsers([userOf('pi', piCertificate, renewed)]);
    expect(device.connected).toBe(true);
    const out = closed(device);
    await broker.setUsers([userOf('pi', renewed)]);
    await out;
    expect(events).toContainEqual({
      kind: 'connection-cut',
      username: 'pi',
      reason: 'credentials-withdrawn',
      count: 1,
    });
    expect(await fate(broker, optionsOf(piKey, piCertificate))).toBe('refused');
  });

  it('cuts a connection after its certificate has run out, unless the device has a newer one', async () => {
    const clock = new ManualClock(now());
    const [oldKey, jetsonKey] = [new DeviceKey(), new DeviceKey()];
    const minute = { validity: milliseconds(60_000) };
    const [old, jetsonOld] = [await issue('pi', oldKey, minute), await issue('jetson', jetsonKey, minute)];
    // The clock jumps: no reader is to look stalled for it.
    const limits = { guard: { ...DEFAULT_LIMITS.guard, stall: milliseconds(3_600_000) } };
    const users = [userOf('pi', old, piCertificate), userOf('jetson', jetsonOld)];
    const { broker, events } = await aBroker({ clock, users, limits });
    const device = await client(broker, optionsOf(oldKey, old));
    const jetson = await client(broker, { ...optionsOf(jetsonKey, jetsonOld), clientId: 'jetson' });
    const out = closed(jetson);
    clock.advance(120_000);
    await out;
    await device.publishAsync(telemetryTopic(home, pi), '{}', { qos: 1 });
    expect(events.filter(({ kind }) => kind === 'connection-cut')).toEqual([
      { kind: 'connection-cut', username: 'jetson', reason: 'certificate-expired', count: 1 },
    ]);
  });

  it('ends a handshake that takes too long, also one that sends a byte now and then', async () => {
    const { broker, failures } = await aBroker({ limits: handshakes({ deadline: milliseconds(300) }) });
    const [silent, slow] = [rawSocket(broker), rawSocket(broker)];
    // The head of a TLS record that announces more than will come.
    const bytes = [0x16, 0x03, 0x01, 0x02, 0x00, ...Array.from({ length: 100 }, () => 1)];
    const dripping = setInterval(() => slow.write(Buffer.from([bytes.shift() ?? 1])), 20);
    await Promise.all([closed(silent), closed(slow)]);
    clearInterval(dripping);
    expect(failures()).toEqual(['too-slow', 'too-slow']);
  });

  it('has so many handshakes from one address at once, and room again when they end', async () => {
    const { broker, failures } = await aBroker({ limits: handshakes({ atOncePerAddress: 2 }) });
    const waiting = [rawSocket(broker), rawSocket(broker)];
    await Promise.all(waiting.map((socket) => once(socket, 'connect')));
    await closed(rawSocket(broker));
    expect(failures()).toEqual(['too-many']);
    for (const socket of waiting) socket.destroy();
    await vi.waitFor(() => client(broker), { timeout: 5000 });
  });

  it('does not count those that have passed', async () => {
    const { broker } = await aBroker({ limits: handshakes({ atOnce: 1 }) });
    const first = await client(broker);
    await client(broker);
    // One session a device: the second has taken the place of the first.
    await vi.waitFor(() => expect(first.connected).toBe(false));
  });

  it('outlives whatever is sent in place of a handshake', async () => {
    const { broker, failures } = await aBroker();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 6, maxLength: 300 }), async (bytes) => {
        const socket = rawSocket(broker);
        const out = closed(socket);
        socket.end(bytes);
        socket.resume();
        await out;
      }),
      { numRuns: 200 },
    );
    const flood = rawSocket(broker);
    const out = closed(flood);
    flood.resume();
    flood.write(Buffer.alloc(16 * 2 ** 20));
    await out;
    expect(failures()).toContain('failed');
    expect(broker.connections).toBe(0);
    await client(broker);
  });

  it('refuses a revoked device that resumes its TLS session', async () => {
    const { broker, refusals } = await aBroker();
    const login = { ...optionsOf(piKey, piCertificate), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
    const options = { ...login, port: broker.tlsPort, host: '127.0.0.1' } as ConnectionOptions;
    const first = connectTls(options);
    first.on('error', () => {});
    const [session] = (await once(first, 'session')) as [Buffer];
    first.destroy();
    await broker.setUsers([userOf('pi')]);
    const resumed = connectTls({ ...options, session });
    cleanups.push(() => void resumed.destroy());
    resumed.on('error', () => {});
    await once(resumed, 'secureConnect');
    expect(resumed.isSessionReused()).toBe(true);
    const out = closed(resumed);
    resumed.resume();
    // CONNECT of MQTT 3.1.1 as `pi`, without user and password.
    resumed.write(Buffer.from([0x10, 14, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 60, 0, 2, 0x70, 0x69]));
    await out;
    expect(refusals()).toEqual([['unknown', 'pi']]);
  });

  it('reads whatever certificate a stranger makes', async () => {
    const { raw } = new X509Certificate(piCertificate.pem);
    let read = 0;
    fc.assert(
      fc.property(fc.nat(raw.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const bytes = Buffer.from(raw);
        bytes[at] = (bytes[at] ?? 0) ^ by;
        let certificate: X509Certificate;
        try {
          certificate = new X509Certificate(bytes);
        } catch {
          return;
        }
        read += 1;
        const peer = peerOf(certificate);
        expect(peer === undefined || typeof peer.commonName === 'string').toBe(true);
      }),
      { numRuns: 2000 },
    );
    expect(read).toBeGreaterThan(200);
  });

  it('bounds the first packet of a client that has a certificate', async () => {
    const { broker, events } = await aBroker();
    const socket = connectTls({
      port: broker.tlsPort,
      host: '127.0.0.1',
      key: piKey.pem,
      cert: piCertificate.pem,
      ca: authority.certificatePem,
      servername: 'broker.home.fleetgate',
    });
    cleanups.push(() => void socket.destroy());
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    const out = closed(socket);
    // A CONNECT that announces 200 MB.
    socket.write(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x5f]));
    await out;
    expect(events).toContainEqual({ kind: 'connection-cut', username: '', reason: 'packet-too-large', count: 1 });
  });

  it('shows another certificate from the next connection on', async () => {
    const { broker, material } = await aBroker();
    const device = await client(broker);
    const next = await authority.issueBroker([], now(), month);
    broker.setMaterial({ ...material, keyPem: next.keyPem, certificatePem: next.pem });
    const socket = connectTls({ port: broker.tlsPort, host: '127.0.0.1', rejectUnauthorized: false });
    cleanups.push(() => void socket.destroy());
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    expect(socket.getPeerX509Certificate()?.serialNumber).toBe(next.serial);
    expect(device.connected).toBe(true);
  });
});
