import { mkdtempSync, rmSync, writeFileSync, readFileSync, chmodSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import mqtt from 'mqtt';
import OpenAI, { APIError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type {
  Budgets,
  DeviceView,
  EnrolAnswer,
  ListBody,
  PlanView,
  RequestView,
} from '@fleetgate/shared/api/operations';
import { deviceId, fleetId } from '@fleetgate/shared/ids';
import { presenceTopic, reportedTopic, telemetryTopic } from '@fleetgate/shared/protocol/topics';

import { type RunningFleet, descendants, fleetgate, getJson, startFleet, until } from '../support/running-fleet.ts';

const LONG = {
  model: 'story',
  messages: [{ role: 'user' as const, content: 'Tell me a long story about a king.' }],
  max_tokens: 250,
  temperature: 0.8,
  seed: 7,
};

describe('faults of a running fleet', () => {
  let fleet: RunningFleet;
  let client: OpenAI;

  beforeAll(async () => {
    fleet = await startFleet();
    client = new OpenAI({ apiKey: 'none', baseURL: `${fleet.url}/v1`, maxRetries: 0 });
  }, 240_000);

  afterAll(async () => {
    expect(await fleet.stop()).toBe(0);
  }, 60_000);

  const device = (id: string) => getJson<DeviceView>(`${fleet.url}/api/v1/devices/${id}`);
  const record = (id: string) => getJson<RequestView>(`${fleet.url}/api/v1/requests/${id}`);
  const activePlan = async () =>
    (await getJson<{ activePlanId: string | null }>(`${fleet.url}/api/v1/status`)).activePlanId;
  /** The device that hosts an expert in the active plan. */
  const hostOf = async (variant: string) => {
    const plan = await getJson<PlanView>(`${fleet.url}/api/v1/plans/${(await activePlan()) ?? ''}`);
    return plan.placements.find((placement) => placement.variantId === variant)?.deviceId ?? '';
  };
  const answers = async (model = 'auto') => {
    await until(
      async () => {
        try {
          await client.chat.completions.create({
            model,
            messages: [{ role: 'user', content: 'What is 3 + 4?' }],
            max_tokens: 4,
          });
          return true;
        } catch {
          return false;
        }
      },
      `${model} answers again`,
      60_000,
    );
  };
  /** Starts a long answer, does `fault` after its first token, and gives what the client saw. */
  const duringAnAnswer = async (fault: (host: string) => void | Promise<void>, asked = LONG) => {
    // The device that hosts it may have been started again a moment ago.
    await answers(asked.model);
    const { data, response } = await client.chat.completions.create({ ...asked, stream: true }).withResponse();
    const host = response.headers.get('x-fleetgate-device') ?? '';
    let text = '';
    let before = '';
    const ids = new Set<string>();
    let finish: string | null = null;
    let error: unknown;
    let struck = false;
    try {
      for await (const chunk of data) {
        ids.add(chunk.id);
        text += chunk.choices[0]?.delta.content ?? '';
        finish = chunk.choices[0]?.finish_reason ?? finish;
        if (!struck && text !== '') {
          struck = true;
          before = text;
          await fault(host);
        }
      }
    } catch (caught) {
      error = caught;
    }
    return { id: response.headers.get('x-request-id') ?? '', host, text, before, ids, finish, error };
  };
  const agentOf = (name: string) =>
    descendants(fleet.pid, new RegExp(`fleetgate\\.mjs agent .*--name ${name} `))[0] ?? 0;

  it('tells the client when an agent is killed in the middle of an answer, and goes on', async () => {
    const seen = await duringAnAnswer((host) => void process.kill(agentOf(host), 'SIGKILL'));
    expect(seen.error).toBeInstanceOf(APIError);
    expect((seen.error as APIError).code).toBe('device_lost');
    expect(await record(seen.id)).toMatchObject({ state: 'failed', error: { code: 'device.lost' } });
    await until(async () => (await device(seen.host)).state === 'online', 'the agent is back');
    await answers();
  }, 120_000);

  it('goes on with an answer by another device when its agent is killed, in the same stream', async () => {
    const seen = await duringAnAnswer((host) => void process.kill(agentOf(host), 'SIGKILL'), {
      ...LONG,
      model: 'auto',
    });
    expect(seen.error).toBeUndefined();
    expect(['stop', 'length']).toContain(seen.finish);
    expect(seen.ids.size).toBe(1);
    expect(seen.text.length).toBeGreaterThan(seen.before.length);
    const { state, attempts, actual } = await record(seen.id);
    expect(state).toBe('succeeded');
    expect(attempts.map(({ outcome }) => outcome)).toEqual(['device.lost', 'succeeded']);
    expect(attempts[1]?.deviceId).not.toBe(seen.host);
    expect(actual?.outputTokens).toBeGreaterThan(0);
    await until(async () => (await device(seen.host)).state === 'online', 'the agent is back');
    await answers();
  }, 120_000);

  it('tells the client when the engine is killed in the middle of an answer; the agent stays up', async () => {
    const before = new Map<string, number>();
    const seen = await duringAnAnswer((host) => {
      const agent = agentOf(host);
      before.set(host, agent);
      const engine = descendants(agent, /llama-engine-child/)[0] ?? 0;
      process.kill(engine, 'SIGKILL');
    });
    expect(seen.error).toBeInstanceOf(APIError);
    expect(await record(seen.id)).toMatchObject({ state: 'failed', error: { code: 'engine.crashed' } });
    expect(agentOf(seen.host)).toBe(before.get(seen.host));
    await until(async () => (await device(seen.host)).engine?.state === 'ready', 'the engine is back');
    await answers();
  }, 120_000);

  it('survives kill -9 of the broker', async () => {
    process.kill(descendants(fleet.pid, /process-broker-main/)[0] ?? 0, 'SIGKILL');
    await until(
      async () => (await getJson<{ broker: string }>(`${fleet.url}/api/v1/status`)).broker === 'connected',
      'the broker is back',
      60_000,
    );
    await answers();
    const { items } = await getJson<ListBody<DeviceView>>(`${fleet.url}/api/v1/devices`);
    await until(
      async () => (await Promise.all(items.map(({ id }) => device(id)))).every(({ state }) => state === 'online'),
      'every device is back',
    );
  }, 120_000);

  it('survives kill -9 of the controller with its state and plan', async () => {
    const plan = await activePlan();
    const devices = (await getJson<ListBody<DeviceView>>(`${fleet.url}/api/v1/devices`)).items
      .map(({ id }) => id)
      .sort();
    const controller = descendants(fleet.pid, /fleetgate\.mjs controller /)[0] ?? 0;
    process.kill(controller, 'SIGKILL');
    await until(
      async () => {
        try {
          return (
            (await activePlan()) !== null && descendants(fleet.pid, /fleetgate\.mjs controller /)[0] !== controller
          );
        } catch {
          return false;
        }
      },
      'the controller is back',
      60_000,
    );
    await answers();
    expect(
      (await getJson<ListBody<DeviceView>>(`${fleet.url}/api/v1/devices`)).items.map(({ id }) => id).sort(),
    ).toEqual(devices);
    expect(await activePlan()).toBe(plan);
  }, 180_000);

  it('counts a device as lost that stops without a will, and serves without it', async () => {
    const host = await hostOf('math-q8_0');
    const agent = agentOf(host);
    process.kill(agent, 'SIGSTOP');
    try {
      await until(async () => (await device(host)).state === 'offline', 'its lease has run out', 90_000);
      await answers();
    } finally {
      process.kill(agent, 'SIGCONT');
    }
    await until(async () => (await device(host)).state === 'online', 'it is back', 60_000);
  }, 240_000);

  it('stops generating on the device when the client goes away', async () => {
    const abort = new AbortController();
    const { data, response } = await client.chat.completions
      .create({ ...LONG, stream: true }, { signal: abort.signal })
      .withResponse();
    for await (const chunk of data) {
      if ((chunk.choices[0]?.delta.content ?? '') !== '') {
        abort.abort();
        break;
      }
    }
    const id = response.headers.get('x-request-id') ?? '';
    await until(async () => (await record(id)).state === 'cancelled', 'the record says cancelled');
    const host = response.headers.get('x-fleetgate-device') ?? '';
    await until(async () => ((await device(host)).last.runningJobs ?? 0) === 0, 'the device is idle');
  }, 60_000);

  it('refuses budgets that no plan can meet, says what conflicts and what would help, and keeps the old plan', async () => {
    const plan = await activePlan();
    const budgets = await getJson<Budgets>(`${fleet.url}/api/v1/budgets`);
    const put = (body: Budgets) =>
      fetch(`${fleet.url}/api/v1/budgets`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    expect((await put({ ...budgets, fleetPowerW: 0.5 })).ok).toBe(true);
    const rejected = async () =>
      (await getJson<ListBody<PlanView>>(`${fleet.url}/api/v1/plans`)).items.find(
        ({ state, status }) => state === 'rejected' && status === 'infeasible',
      );
    await until(async () => (await rejected()) !== undefined, 'the new plan is rejected');
    const view = await rejected();
    expect(view?.conflict).toContain('power');
    expect(view?.relaxations?.map(({ text }) => text).join('; ')).toMatch(/W/);
    expect(await activePlan()).toBe(plan);
    await answers();
    expect((await put(budgets)).ok).toBe(true);
    expect((await put({ ...budgets, fleetPowerW: -1 })).status).toBe(400);
  }, 120_000);

  it('answers bad prompts with a reason', async () => {
    const post = (body: string | Uint8Array<ArrayBuffer>) =>
      fetch(`${fleet.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      });
    const statusOf = async (response: Response) => {
      const body = (await response.json()) as { error: { message: string; type: string; code: string | null } };
      expect(body.error.message).not.toBe('');
      return response.status;
    };
    const chat = (content: unknown) => JSON.stringify({ model: 'auto', messages: [{ role: 'user', content }] });
    expect(await statusOf(await post(chat('')))).toBe(400);
    expect(await statusOf(await post(chat('x'.repeat(10 * 1024 * 1024))))).toBe(413);
    expect(await statusOf(await post(Uint8Array.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d])))).toBe(400);
    expect(await statusOf(await post(chat('word '.repeat(5000))))).toBe(400);
    expect(await statusOf(await post('{'))).toBe(400);
    expect(
      await statusOf(
        await post(JSON.stringify({ model: 'no-such-model', messages: [{ role: 'user', content: 'hi' }] })),
      ),
    ).toBe(404);
    await answers();
  }, 60_000);

  it('lets a device in only with the join token, once per name', async () => {
    const enrol = (body: object) =>
      fetch(`${fleet.url}/api/v1/enrol`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    expect((await enrol({ token: 'wrong', name: 'intruder', board: 'linux-x64' })).status).toBe(401);
    const token = readFileSync(join(fleet.dataDir, 'controller', 'join-token'), 'utf8').trim();
    expect((await enrol({ token, name: 'pi', board: 'raspberry-pi-5' })).status).toBe(409);
    const twin = await fleetgate(
      [
        'agent',
        '--controller',
        fleet.url,
        '--board',
        'linux-x64',
        '--name',
        'pi',
        '--data',
        join(fleet.dataDir, 'twin'),
      ],
      { FLEETGATE_JOIN_TOKEN: token },
    );
    expect(twin.code).toBe(2);
    expect(twin.stderr).toMatch(/pi/);
  }, 60_000);

  it('keeps a device to its own topics and survives every kind of broken message', async () => {
    const token = readFileSync(join(fleet.dataDir, 'controller', 'join-token'), 'utf8').trim();
    const answer = await fetch(`${fleet.url}/api/v1/enrol`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token, name: 'prober', board: 'linux-x64' }),
    });
    const { fleet: fleetName, secret, mqttUrl } = (await answer.json()) as EnrolAnswer;
    const [home, me, other] = [fleetId(fleetName), deviceId('prober'), deviceId('pi')];
    const connect = () =>
      mqtt.connectAsync(mqttUrl, { username: 'prober', password: secret, clientId: 'prober', reconnectPeriod: 0 });
    const presence = (epoch: number, state: string, v = 1) =>
      JSON.stringify({ v, state, epoch, reason: 'connected', agentVersion: 'test' });

    const link = await connect();
    await link.publishAsync(presenceTopic(home, me), presence(5, 'online'), { qos: 1, retain: true });
    await until(async () => (await device('prober')).state === 'online', 'the prober is online');
    // Late (an older session's will), malformed, of a future version, binary, twice the same.
    await link.publishAsync(presenceTopic(home, me), presence(4, 'offline'), { qos: 1 });
    await link.publishAsync(presenceTopic(home, me), presence(6, 'offline', 9), { qos: 1 });
    await link.publishAsync(reportedTopic(home, me), '{"v":1', { qos: 1 });
    await link.publishAsync(reportedTopic(home, me), Buffer.from([0xff, 0x00, 0xfe]), { qos: 1 });
    await link.publishAsync(
      telemetryTopic(home, me),
      JSON.stringify({ v: 1, epoch: 5, seq: 0, t0Ms: 0, dtMs: 1, n: 2, sentAtMs: 0, columns: { powerW: [1] } }),
      { qos: 1 },
    );
    for (let i = 0; i < 2; i++)
      await link.publishAsync(presenceTopic(home, me), presence(5, 'online'), { qos: 1, retain: true });
    expect(await device('prober')).toMatchObject({ state: 'online', epoch: 5 });
    await link.endAsync();

    const cut = async (publish: (client: mqtt.MqttClient) => void) => {
      const intruder = await connect();
      const closed = new Promise<void>((resolve) => intruder.once('close', () => resolve()));
      intruder.on('error', () => {});
      publish(intruder);
      await closed;
      intruder.end(true);
    };
    await cut(
      (intruder) =>
        void intruder.publish(presenceTopic(home, other), presence(99_999_999_999_999, 'offline'), { qos: 1 }),
    );
    await cut((intruder) => void intruder.publish(telemetryTopic(home, me), Buffer.alloc(1024 * 1024), { qos: 1 }));
    expect((await device('pi')).state).toBe('online');
    await answers();
    expect((await fleetgate(['devices', 'remove', 'prober', '--url', fleet.url])).code).toBe(0);
  }, 60_000);

  it('refuses model files that are truncated or no models', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'fleetgate-gguf-'));
    try {
      const real = readFileSync(new URL('../../experts/math/math-q8_0.gguf', import.meta.url));
      writeFileSync(join(folder, 'truncated.gguf'), real.subarray(0, real.length / 2));
      writeFileSync(join(folder, 'noise.gguf'), Buffer.alloc(4096, 7));
      for (const name of ['truncated.gguf', 'noise.gguf', 'missing.gguf']) {
        const added = await fleetgate(['experts', 'add', join(folder, name), '--url', fleet.url]);
        expect(added.code, name).not.toBe(0);
        expect(added.stderr, name).toMatch(/hint|expected|not/i);
        expect(added.stderr, name).not.toMatch(/\n\s+at /);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    await answers();
  }, 60_000);
});

describe('faults at the start', () => {
  it('names a taken port', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    const data = mkdtempSync(join(tmpdir(), 'fleetgate-port-'));
    try {
      for (const flag of ['--http-port', '--mqtt-port']) {
        const other = flag === '--http-port' ? '--mqtt-port' : '--http-port';
        const up = await fleetgate(['up', flag, String(port), other, '0', '--fleet', 'none', '--data', data]);
        expect(up.code, up.stderr).toBe(1);
        expect(up.stderr).toContain(String(port));
        expect(up.stderr).toContain(flag);
      }
    } finally {
      server.close();
      rmSync(data, { recursive: true, force: true });
    }
  }, 90_000);

  it('names a data directory that cannot be written', async () => {
    const data = mkdtempSync(join(tmpdir(), 'fleetgate-readonly-'));
    // A file where the folder should be: refused for every user, root included.
    writeFileSync(join(data, 'file'), '');
    mkdirSync(join(data, 'locked'));
    chmodSync(join(data, 'locked'), 0o500);
    try {
      const up = await fleetgate([
        'up',
        '--fleet',
        'none',
        '--http-port',
        '0',
        '--mqtt-port',
        '0',
        '--data',
        join(data, 'file', 'below'),
      ]);
      expect(up.code).toBe(1);
      expect(up.stderr).toMatch(/cannot be written/);
    } finally {
      chmodSync(join(data, 'locked'), 0o700);
      rmSync(data, { recursive: true, force: true });
    }
  }, 60_000);
});
