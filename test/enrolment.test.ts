import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import mqtt from 'mqtt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { DeviceView, JoinTokenView, StatusView } from '@fleetgate/shared/api/operations';
import { type Clock, systemClock } from '@fleetgate/shared/clock';
import { boardId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { systemRandom } from '@fleetgate/shared/random';
import { unixMs } from '@fleetgate/shared/units/quantity';

import { makeKey } from '../agent/src/link/device-certificate.ts';
import { CertificateRenewal } from '../agent/src/link/certificate-renewal.ts';
import { type Enrolled, enrol, renewCertificate } from '../agent/src/link/http-enrolment.ts';
import type { LinkState } from '../agent/src/link/controller-link.ts';
import { MqttControllerLink } from '../agent/src/link/mqtt-controller-link.ts';
import { loadConfig } from '../controller/src/config/config.ts';
import { type RunningController, startController } from '../controller/src/main.ts';
import { getJson, until } from './support/running-fleet.ts';

const DAY_MS = 86_400_000;

let folder: string;
let controller: RunningController;
const cleanups: (() => Promise<unknown>)[] = [];
const { signal } = new AbortController();
const around = { clock: systemClock, random: systemRandom, log: silentLogger, signal };

async function start(flags: object = {}): Promise<void> {
  const config = loadConfig({
    flags: {
      ...{ dataDir: join(folder, 'controller'), httpPort: 0, mqttPort: 0, mqttTlsPort: 0 },
      // Without a gate: nothing is asked here.
      outcomesPath: join(folder, 'none.jsonl.gz'),
      ...flags,
    },
    environment: {},
  });
  controller = await startController(config, { log: silentLogger });
}
const status = () => getJson<StatusView>(`${controller.httpUrl}/api/v1/status`);
const stateOf = async (name: string) =>
  (await getJson<DeviceView>(`${controller.httpUrl}/api/v1/devices/${name}`)).state;
const send = (method: string, path: string, body?: object) =>
  fetch(`${controller.httpUrl}/api/v1${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
const token = async (body: object = {}) =>
  ((await (await send('POST', '/join-tokens', body)).json()) as JoinTokenView).token ?? '';
const askedBy = (name: string, joinToken: string) => ({
  controllerUrl: controller.httpUrl,
  token: joinToken,
  name,
  board: boardId('raspberry-pi-5'),
  nonce: `${name}-${'n'.repeat(40)}`,
  keyPem: makeKey(),
});

/** The agent's own line to the broker. */
function connect({ identity, certificate }: Enrolled, url = identity.mqttUrl) {
  let state: LinkState = { state: 'disconnected', epoch: 0 };
  const link = new MqttControllerLink({
    identity,
    certificate: () => certificate,
    brokerUrl: () => Promise.resolve(url),
    epochs: { next: () => systemClock.now() },
    agentVersion: '1',
    ...around,
  });
  link.start({
    onMessage: () => {},
    onState: (next) => {
      state = next;
    },
  });
  cleanups.push(() => link.close());
  return { isConnected: () => state.state === 'connected' };
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-enrolment-'));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  await controller.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('a device and its controller', () => {
  it('know each other by keys: enrolled by a pinned token, renewed, revoked, out for good', async () => {
    await start();
    const enrolled = await enrol(askedBy('pi', await token()), around);
    const { identity, certificate } = enrolled;
    expect(identity.mqttUrl).toBe((await status()).mqttTlsUrl);
    expect(identity.mqttUrl).toMatch(/^mqtts:/);
    const session = connect(enrolled);
    await until(session.isConnected, 'the device is let in');
    await until(async () => (await stateOf('pi')) === 'online', 'it is heard');
    const renewed = await renewCertificate(controller.httpUrl, identity, certificate, signal);
    expect(renewed?.certificate.keyPem).not.toBe(certificate?.keyPem);
    expect(session.isConnected()).toBe(true);
    const next = connect({ identity, certificate: renewed?.certificate });
    await until(next.isConnected, 'it is let in by the new one');
    expect((await send('DELETE', '/devices/pi/credentials')).status).toBe(204);
    expect(await stateOf('pi')).toBe('offline');
    await until(() => !next.isConnected(), 'its connection is cut');
    await controller.stop();
    await start();
    const url = (await status()).mqttTlsUrl ?? '';
    const { keyPem: key, certificate: cert, authority: ca, brokerName: servername } = renewed?.certificate ?? {};
    const login = { key, cert, ca, servername, clientId: 'pi', reconnectPeriod: 0 } as mqtt.IClientOptions;
    await expect(mqtt.connectAsync(url, login, false)).rejects.toThrow(/bad username/i);
    const asking = renewCertificate(controller.httpUrl, identity, renewed?.certificate, signal);
    await expect(asking).rejects.toMatchObject({ code: 'enrol.certificate-refused' });
  }, 60_000);

  it('the device refuses a controller of another authority than its token names, and an answer without one', async () => {
    await start();
    const [mark, id, secret] = (await token()).split('.');
    const forged = [mark, id, secret, 'A'.repeat(43)].join('.');
    await expect(enrol(askedBy('pi', forged), around)).rejects.toMatchObject({ code: 'enrol.foreign-authority' });
  });

  it('a device that was enrolled with a secret only gets a certificate for it and uses that', async () => {
    await start();
    const kept = readFileSync(join(folder, 'controller', 'join-token'), 'utf8').trim();
    const response = await send('POST', '/enrol', { token: kept, name: 'old', board: 'raspberry-pi-5' });
    const answer = (await response.json()) as { secret: string; mqttUrl: string };
    expect(answer.mqttUrl).toMatch(/^mqtt:/);
    const { identity } = await enrol(askedBy('new', kept), around);
    const old = { ...identity, deviceId: 'old' as typeof identity.deviceId, ...answer };
    const plain = connect({ identity: old, certificate: undefined });
    await until(plain.isConnected, 'it is let in by its secret');
    const urls: string[] = [];
    const renewal = new CertificateRenewal({
      ...around,
      kept: undefined,
      keep: () => {},
      fetch: async (present) => {
        const renewed = await renewCertificate(controller.httpUrl, old, present, signal);
        urls.push(renewed?.mqttUrl ?? '');
        return renewed?.certificate;
      },
    });
    await renewal.start();
    renewal.stop();
    const secure = connect({ identity: old, certificate: renewal.current() }, urls[0]);
    await until(secure.isConnected, 'it is let in by its certificate');
  }, 30_000);

  it('renews by itself after two thirds of the time that its certificate is good', async () => {
    await start();
    const { identity, certificate } = await enrol(askedBy('pi', await token()), around);
    const kept: unknown[] = [];
    const later: Clock = { ...systemClock, now: () => unixMs(systemClock.now() + shiftMs) };
    let shiftMs = 19 * DAY_MS;
    const renewal = new CertificateRenewal({
      ...around,
      clock: later,
      kept: certificate,
      keep: (renewed) => kept.push(renewed),
      fetch: async (present) => (await renewCertificate(controller.httpUrl, identity, present, signal))?.certificate,
    });
    await renewal.start();
    renewal.stop();
    expect(kept).toEqual([]);
    shiftMs = 21 * DAY_MS;
    await renewal.start();
    renewal.stop();
    expect(kept).toEqual([renewal.current()]);
    expect(renewal.current()?.keyPem).not.toBe(certificate?.keyPem);
  });
});

describe('a controller', () => {
  it('that is for this machine has no authority and answers as before', async () => {
    await start({ mqttTlsPort: undefined });
    const joined = await enrol(askedBy('pi', await token()), around);
    expect(joined.certificate).toBeUndefined();
    expect(joined.identity.mqttUrl).toMatch(/^mqtt:/);
    expect(statSync(join(folder, 'controller', 'authority'), { throwIfNoEntry: false })).toBeUndefined();
    const renewed = await renewCertificate(controller.httpUrl, joined.identity, undefined, signal);
    expect(renewed).toBeUndefined();
  });

  it('that others reach takes MQTT without TLS on loopback only', async () => {
    await start({ host: '0.0.0.0', mqttTlsPort: undefined, apiKey: 'k'.repeat(20) });
    expect(controller.mqttUrl).toMatch(/^mqtt:\/\/127\.0\.0\.1:/);
  });

  it('without plain MQTT is connected by a certificate of its own', async () => {
    await start({ mqttPlain: 'off' });
    expect(controller.mqttUrl).toMatch(/^mqtts:/);
    await until(async () => (await status()).broker === 'connected', 'it is connected');
    const bare = mqtt.connectAsync(controller.mqttUrl, { rejectUnauthorized: false, reconnectPeriod: 0 }, false);
    await expect(bare).rejects.toThrow();
  });

  it('where a person decides has a device wait until that has happened', async () => {
    await start({ approveDevices: true });
    const asking = enrol(askedBy('pi', await token()), around);
    const list = async () =>
      (await getJson<{ items: { name: string; keySha256: string }[] }>(`${controller.httpUrl}/api/v1/enrolments`))
        .items;
    await until(async () => (await list()).length === 1, 'it is listed');
    expect(await list()).toMatchObject([{ name: 'pi', keySha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string }]);
    expect((await send('POST', '/enrolments/pi/approve')).status).toBe(204);
    const session = connect(await asking);
    await until(session.isConnected, 'it is let in');
    expect((await send('POST', '/enrolments/nobody/deny')).status).toBe(404);
  }, 30_000);
});
