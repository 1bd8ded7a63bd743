import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type {
  DeviceView,
  EnrolAnswer,
  ListBody,
  LiveEvent,
  RequestView,
  StatusView,
} from '@fleetgate/shared/api/operations';
import { deviceId, fleetId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { encode } from '@fleetgate/shared/protocol/codec';
import { desiredTopic, presenceTopic, reportedTopic } from '@fleetgate/shared/protocol/topics';
import { type Desired, desiredSchema } from '@fleetgate/shared/protocol/twin';
import mqtt from 'mqtt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type ControllerConfig, loadConfig } from './config/config.js';
import { aReported } from './fleet/device.fixture.js';
import { type RunningController, startController } from './main.js';

const home = fleetId('home');
const pi = deviceId('pi');

let folder: string;
let controller: RunningController | undefined;
const clients: mqtt.MqttClient[] = [];

const configuration = (flags: Readonly<Record<string, unknown>> = {}): ControllerConfig =>
  loadConfig({
    flags: {
      dataDir: join(folder, 'controller'),
      httpPort: 0,
      mqttPort: 0,
      leaseMs: 2000,
      telemetryBatchMs: 500,
      telemetrySampleMs: 500,
      // The gate is not what is tested here.
      outcomesPath: join(folder, 'none.jsonl.gz'),
      ...flags,
    },
    environment: {},
  });
const start = async (flags: Readonly<Record<string, unknown>> = {}): Promise<RunningController> => {
  controller = await startController(configuration(flags), { log: silentLogger });
  return controller;
};
const token = (): string => readFileSync(join(folder, 'controller', 'join-token'), 'utf8').trim();
const url = (path: string): string => `${controller?.httpUrl ?? ''}${path}`;
const get = async <T>(path: string): Promise<T> => (await (await fetch(url(path))).json()) as T;
const send = (path: string, method: string, body?: object): Promise<Response> =>
  fetch(url(path), {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
const enrol = async (name: string): Promise<EnrolAnswer> => {
  const response = await send('/api/v1/enrol', 'POST', { token: token(), name, board: 'raspberry-pi-5' });
  expect(response.status).toBe(201);
  return (await response.json()) as EnrolAnswer;
};
const stateOf = async (name: string): Promise<string> => (await get<DeviceView>(`/api/v1/devices/${name}`)).state;
const until = async (condition: () => Promise<boolean> | boolean): Promise<void> => {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
};

/** A device by hand: its connection and every desired document that reaches it. */
async function connect(answer: EnrolAnswer, epoch: number): Promise<{ client: mqtt.MqttClient; desired: Desired[] }> {
  const id = deviceId(answer.deviceId);
  const presence = { v: 1, epoch, agentVersion: '1' };
  const client = mqtt.connect(answer.mqttUrl, {
    username: id,
    password: answer.secret,
    clientId: id,
    reconnectPeriod: 100,
    will: {
      topic: presenceTopic(home, id),
      payload: encode({ ...presence, state: 'offline', reason: 'will' }),
      qos: 1,
      retain: true,
    },
  });
  clients.push(client);
  client.on('error', () => {});
  const desired: Desired[] = [];
  client.on('message', (_topic, payload) => desired.push(desiredSchema.parse(JSON.parse(payload.toString()))));
  await new Promise<void>((resolve) => client.once('connect', () => resolve()));
  await client.subscribeAsync(desiredTopic(home, id), { qos: 1 });
  const greet = (): Promise<unknown> =>
    client.publishAsync(presenceTopic(home, id), encode({ ...presence, state: 'online', reason: 'connected' }), {
      qos: 1,
      retain: true,
    });
  await greet();
  await client.publishAsync(reportedTopic(home, id), encode(aReported({ epoch })), { qos: 1, retain: true });
  return { client, desired };
}

/** Whether a device has been asked to measure; before that it was told to wait. */
const isAsked = (desired: readonly Desired[]): boolean => (desired.at(-1)?.variants.length ?? 0) > 0;

/** Process ids below this one whose command line matches. */
function descendants(pattern: RegExp): readonly number[] {
  const children = (pid: number): number[] =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .split(' ')
      .filter((text) => text !== '')
      .map(Number);
  return children(process.pid).filter((pid) => pattern.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8')));
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-controller-'));
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.end(true);
  await controller?.stop();
  controller = undefined;
  rmSync(folder, { recursive: true, force: true });
});

describe('a running controller', () => {
  it('lets a device in that asks again because the answer was lost, with the new secret alone', async () => {
    await start();
    const ask = async (nonce: string): Promise<Response> =>
      send('/api/v1/enrol', 'POST', { token: token(), name: 'pi', board: 'raspberry-pi-5', nonce });
    const nonce = 'n'.repeat(43);
    const lost = (await (await ask(nonce)).json()) as EnrolAnswer;
    const answer = (await (await ask(nonce)).json()) as EnrolAnswer;
    const old = { username: 'pi', password: lost.secret, clientId: 'pi', reconnectPeriod: 0 };
    await expect(mqtt.connectAsync(answer.mqttUrl, old)).rejects.toThrow(/password/i);
    await connect(answer, 1);
    await until(async () => (await stateOf('pi')) === 'online');
    expect((await ask(nonce)).status).toBe(409);
  });

  it('takes a device from enrolment to its desired document, and loses it by its lease', async () => {
    await start();
    const answer = await enrol('pi');
    expect(answer).toMatchObject({ fleet: 'home', deviceId: 'pi' });
    expect(await stateOf('pi')).toBe('never-seen');
    const { client, desired } = await connect(answer, 1);
    await until(async () => (await stateOf('pi')) === 'online');
    await until(() => isAsked(desired));
    expect(desired.at(-1)).toMatchObject({ state: 'active', planId: null });
    expect(new Set(desired.at(-1)?.variants.map(({ purpose }) => purpose))).toEqual(new Set(['measure']));
    // Silent, but with its connection open: no will tells of it.
    client.removeAllListeners('message');
    await until(async () => (await stateOf('pi')) === 'offline');
  });

  it('hears the will of a device that is cut off, and no late one of an old session', async () => {
    await start();
    const answer = await enrol('pi');
    const { client } = await connect(answer, 1);
    await until(async () => (await stateOf('pi')) === 'online');
    client.options.reconnectPeriod = 0;
    client.stream.destroy();
    await until(async () => (await stateOf('pi')) === 'offline');
    const again = await connect(answer, 2);
    await until(async () => (await stateOf('pi')) === 'online');
    const late = encode({ v: 1, state: 'offline', epoch: 1, reason: 'will', agentVersion: '1' });
    await again.client.publishAsync(presenceTopic(home, pi), late, { qos: 1 });
    expect(await stateOf('pi')).toBe('online');
  });

  it('survives kill -9 of its broker, and publishes every desired document again', async () => {
    await start({ leaseMs: 60_000 });
    const { desired } = await connect(await enrol('pi'), 1);
    await until(() => isAsked(desired));
    const [broker] = descendants(/process-broker-main/);
    const seen = desired.length;
    process.kill(broker ?? 0, 'SIGKILL');
    await until(() => desired.length > seen);
    expect(desired.at(-1)).toEqual(desired[seen - 1]);
    await until(async () => (await get<StatusView>('/api/v1/status')).broker === 'connected');
  });

  it('keeps devices, budgets and generations over a restart', async () => {
    await start({ leaseMs: 60_000 });
    const { desired } = await connect(await enrol('pi'), 5);
    await until(() => isAsked(desired));
    const generation = desired.at(-1)?.generation ?? 0;
    const budgets = await get<object>('/api/v1/budgets');
    expect((await send('/api/v1/budgets', 'PUT', { ...budgets, fleetPowerW: 42 })).status).toBe(200);
    await controller?.stop();
    await start({ leaseMs: 60_000 });
    expect(await get<DeviceView>('/api/v1/devices/pi')).toMatchObject({
      state: 'online',
      epoch: 5,
      desiredGeneration: generation,
    });
    expect(await get('/api/v1/budgets')).toMatchObject({ fleetPowerW: 42 });
    expect((await send('/api/v1/enrol', 'POST', { token: token(), name: 'pi', board: 'raspberry-pi-5' })).status).toBe(
      409,
    );
  });

  it('removes a device, cuts it off and frees its name', async () => {
    await start();
    const { client } = await connect(await enrol('pi'), 1);
    client.options.reconnectPeriod = 0;
    const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
    expect((await send('/api/v1/devices/pi', 'DELETE')).status).toBe(204);
    await closed;
    expect((await send('/api/v1/devices/pi', 'DELETE')).status).toBe(404);
    expect(await get('/api/v1/devices')).toEqual({ items: [] });
    await enrol('pi');
  });

  it('gives a device its artefacts, whole and from any byte on, and nobody a file outside', async () => {
    await start({ apiKey: 'a-key-of-enough-length' });
    const { deviceId: id, secret } = await enrol('pi');
    const key = { authorization: 'Bearer a-key-of-enough-length' };
    const variants = (await (await fetch(url('/api/v1/variants'), { headers: key })).json()) as ListBody<{
      readonly sha256: string;
      readonly sizeBytes: number;
    }>;
    const { sha256, sizeBytes } = variants.items[0] ?? { sha256: '', sizeBytes: 0 };
    const fetchArtefact = (headers: Record<string, string>): Promise<Response> =>
      fetch(url(`/api/v1/artefacts/${sha256}`), { headers });
    const device = { authorization: `Bearer ${id}:${secret}` };
    expect((await fetchArtefact({})).status).toBe(401);
    expect((await fetchArtefact({ authorization: `Bearer ${id}:wrong` })).status).toBe(401);
    const whole = new Uint8Array(await (await fetchArtefact(device)).arrayBuffer());
    expect(whole.length).toBe(sizeBytes);
    const part = await fetchArtefact({ ...device, range: `bytes=${sizeBytes - 10}-` });
    expect([part.status, part.headers.get('content-range')]).toEqual([
      206,
      `bytes ${sizeBytes - 10}-${sizeBytes - 1}/${sizeBytes}`,
    ]);
    expect(new Uint8Array(await part.arrayBuffer())).toEqual(whole.slice(-10));
    expect((await fetchArtefact({ ...device, range: `bytes=${sizeBytes}-` })).status).toBe(416);
    for (const other of ['..%2f..%2fjoin-token', '0'.repeat(64), 'x']) {
      expect((await fetch(url(`/api/v1/artefacts/${other}`), { headers: key })).status, other).toBe(404);
    }
    // Not by another spelling of a path that needs the key.
    expect((await fetch(url('/%61pi/v1/devices'))).status).toBe(401);
    expect((await fetch(url('/healthz'))).status).toBe(200);
  });

  it('answers unknown paths and bad bodies in one envelope, and the dashboard with its policy', async () => {
    await start();
    const unknown = await fetch(url('/api/v1/nothing'));
    expect([unknown.status, await unknown.json()]).toMatchObject([404, { error: { code: 'unknown_url' } }]);
    expect((await send('/api/v1/budgets', 'PUT', { fleetPowerW: -1 })).status).toBe(400);
    expect((await send('/api/v1/enrol', 'POST', { token: 'wrong', name: 'x', board: 'raspberry-pi-5' })).status).toBe(
      401,
    );
    expect((await send('/api/v1/enrol', 'POST', { token: token(), name: 'x', board: 'toaster' })).status).toBe(400);
    expect((await fetch(url('/api/v1/telemetry?device=pi&metric=powerW'))).status).toBe(404);
    expect((await fetch(url('/api/v1/telemetry?device=pi'))).status).toBe(400);
    expect((await fetch(url('/readyz'))).status).toBe(503);
    const method = await send('/api/v1/budgets', 'DELETE');
    expect([method.status, method.headers.get('allow')]).toEqual([405, 'GET, HEAD, PUT']);
    // What a page of somebody else's can send without asking.
    const form = new URLSearchParams({ model: 'auto', prompt: 'x' });
    expect((await fetch(url('/v1/completions'), { method: 'POST', body: form })).status).toBe(415);
    const huge = await send('/v1/chat/completions', 'POST', { model: 'auto', text: 'x'.repeat(10 * 1024 * 1024) });
    expect([huge.status, await huge.json()]).toMatchObject([413, { error: { code: 'request.too-large' } }]);
    const openApi = await get<{ readonly paths: object }>('/api/openapi.json');
    expect(Object.keys(openApi.paths)).toEqual(
      expect.arrayContaining([
        ...[
          'chat/completions',
          'completions',
          'embeddings',
          'messages',
          'messages/count_tokens',
          'models',
          'responses',
        ].map((name) => `/v1/${name}`),
        '/api/v1/budgets',
      ]),
    );
    expect(openApi.paths).toMatchObject({
      '/v1/responses': { post: { summary: expect.any(String), requestBody: { required: true } } },
      '/v1/messages': { post: { summary: expect.any(String), requestBody: { required: true } } },
    });
    expect((await fetch(url('/healthz'))).headers.get('content-security-policy')).toContain("default-src 'self'");
  });

  it('sends the trace of a request within that of its client, before it ends', async () => {
    const bodies: string[] = [];
    const collector = createHttpServer((request, response) => {
      request.on('data', (part: Buffer) => bodies.push(part.toString()));
      request.on('end', () => response.end('{}'));
    });
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
    await start({ tracesUrl: `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces` });
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
    const answer = await fetch(url('/v1/chat/completions'), {
      method: 'POST',
      headers: { 'content-type': 'application/json', traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
      body: JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'hello' }] }),
    });
    expect(answer.status).toBe(503);
    const record = await get<RequestView>(`/api/v1/requests/${answer.headers.get('x-request-id') ?? ''}`);
    expect(record.traceParent).toBe(`00-${traceId}-00f067aa0ba902b7-01`);
    await controller?.stop();
    collector.closeAllConnections();
    collector.close();
    const sent = bodies.join('');
    for (const text of [traceId, record.id, 'dispatch.no-plan']) expect(sent).toContain(text);
    expect(sent).not.toContain('hello');
  });

  it('tells clients of the live feed how everything is and what changes', async () => {
    await start();
    const abort = new AbortController();
    const response = await fetch(url('/api/v1/events'), { signal: abort.signal });
    const events: LiveEvent[] = [];
    const reading = (async () => {
      let text = '';
      for await (const chunk of response.body ?? []) {
        text += Buffer.from(chunk).toString();
        const frames = text.split('\n\n');
        text = frames.pop() ?? '';
        for (const frame of frames) {
          const data = /^data: (.*)$/m.exec(frame)?.[1];
          if (data !== undefined) events.push(JSON.parse(data) as LiveEvent);
        }
      }
    })().catch(() => {});
    await enrol('pi');
    await until(() => events.some((event) => event.type === 'device' && event.device.id === 'pi'));
    expect(events[0]?.type).toBe('status');
    abort.abort();
    await reading;
  });
});

describe('a controller that cannot start', () => {
  it('names a taken port and leaves nothing running', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    try {
      await expect(start({ httpPort: port })).rejects.toMatchObject({
        code: 'port.taken',
        message: expect.stringContaining(String(port)) as string,
        hint: expect.stringContaining('--http-port') as string,
      });
      await expect(start({ mqttPort: port })).rejects.toMatchObject({
        code: 'port.taken',
        hint: expect.stringContaining('--mqtt-port') as string,
      });
      expect(descendants(/process-broker-main/)).toEqual([]);
    } finally {
      server.close();
    }
    await start();
  });

  it('names a data directory that it cannot use', async () => {
    writeFileSync(join(folder, 'file'), '');
    await expect(start({ dataDir: join(folder, 'file', 'below') })).rejects.toMatchObject({
      code: 'data-dir.not-writable',
    });
  });

  it('names a damaged database', async () => {
    await start();
    await controller?.stop();
    writeFileSync(join(folder, 'controller', 'control.sqlite'), 'not a database '.repeat(1000));
    await expect(start()).rejects.toMatchObject({ code: 'store.corrupt' });
  });

  it('names a folder of experts that is not there', async () => {
    await expect(start({ expertsDir: join(folder, 'none') })).rejects.toMatchObject({ code: 'config.invalid' });
  });

  it('keeps its secrets to its owner, and a key where others can reach it', async () => {
    await start({ host: '0.0.0.0' });
    for (const name of ['join-token', 'api-key', 'control.sqlite']) {
      expect(statSync(join(folder, 'controller', name)).mode & 0o007, name).toBe(0);
    }
    expect((await fetch(url('/api/v1/devices'))).status).toBe(401);
  });
});
