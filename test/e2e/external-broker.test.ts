import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import mqtt from 'mqtt';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { DeviceView, EnrolAnswer, StatusView } from '@fleetgate/shared/api/operations';
import { deviceId, fleetId, jobId, variantId } from '@fleetgate/shared/ids';
import { type Job, type JobNext, type JobOut, jobOutSchema } from '@fleetgate/shared/protocol/job';
import { jobNextTopic, jobOutTopic, jobsTopic, presenceTopic } from '@fleetgate/shared/protocol/topics';

import { hasMosquitto, makeMosquitto, type Mosquitto, NO_MOSQUITTO } from '../support/mosquitto.ts';
import { fleetgate, getJson, type RunningProcess, startFleetgate, until } from '../support/running-fleet.ts';

const EXPERTS = ['math', 'code'];
const home = fleetId('home');

describe.skipIf(!hasMosquitto)(`a fleet on an external mosquitto${hasMosquitto ? '' : ` (${NO_MOSQUITTO})`}`, () => {
  let folder: string;
  let broker: Mosquitto;
  let url: string;
  let controller: RunningProcess<{ dashboard: string; mosquittoConfig: string }>;
  let agent: RunningProcess<object> | undefined;

  const startController = async (httpPort: string): Promise<void> => {
    controller = startFleetgate([
      'controller',
      ...['--data', join(folder, 'controller'), '--experts', join(folder, 'experts'), '--http-port', httpPort],
      ...['--broker-url', broker.url, '--broker-files', broker.filesDir],
    ]);
    url = (await controller.first).dashboard.replace(/\/$/, '');
  };
  const token = () => readFileSync(join(folder, 'controller', 'join-token'), 'utf8').trim();
  const status = () => getJson<StatusView>(`${url}/api/v1/status`);
  const device = (id: string) => getJson<DeviceView>(`${url}/api/v1/devices/${id}`);
  const isOnline = async (id: string) => (await device(id)).state === 'online';
  const isConnected = async () => (await status()).broker === 'connected';
  const ask = () =>
    new OpenAI({ apiKey: 'none', baseURL: `${url}/v1`, maxRetries: 0 }).chat.completions
      .create({ model: 'math', messages: [{ role: 'user', content: 'What is 3 + 4?' }], max_tokens: 8 })
      .withResponse();
  const answers = async (): Promise<boolean> => {
    try {
      return ((await ask()).data.usage?.completion_tokens ?? 0) > 0;
    } catch {
      return false;
    }
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'fleetgate-external-'));
    for (const name of EXPERTS) {
      const from = fileURLToPath(new URL(`../../experts/${name}`, import.meta.url));
      cpSync(from, join(folder, 'experts', name), { recursive: true });
    }
    broker = await makeMosquitto();
    await startController('0');
  }, 60_000);

  afterAll(async () => {
    const codes = [await agent?.stop(), await controller.stop()];
    await broker.remove();
    rmSync(folder, { recursive: true, force: true });
    expect(codes).toEqual([0, 0]);
  }, 60_000);

  it('serves without its broker, and says what that broker needs', async () => {
    expect(await status()).toMatchObject({ broker: 'disconnected', mqttUrl: broker.url });
    const { mosquittoConfig } = await controller.first;
    expect(mosquittoConfig).toContain(`password_file ${join(broker.filesDir, 'passwords')}\n`);
    await broker.configure(mosquittoConfig);
    await broker.start();
    await until(isConnected, 'the controller is let in');
  }, 60_000);

  it('takes in a device after a reload: it is measured, gets a plan and answers', async () => {
    agent = startFleetgate(
      [
        ...['agent', '--controller', url, '--board', 'raspberry-pi-5', '--name', 'pi'],
        ...['--data', join(folder, 'pi'), '--threads', '1'],
      ],
      { FLEETGATE_JOIN_TOKEN: token() },
    );
    await until(() => readFileSync(join(broker.filesDir, 'passwords'), 'utf8').includes('\npi:'), 'pi has a password');
    expect(await device('pi')).toMatchObject({ state: 'never-seen' });
    broker.reload();
    await agent.first;
    await until(async () => (await status()).activePlanId !== null, 'there is a plan', 120_000);
    await until(answers, 'the device holds what the plan places there', 60_000);
    const { data, response } = await ask();
    expect(response.headers.get('x-fleetgate-device')).toBe('pi');
    expect(data.choices[0]?.message.content).not.toBe('');
    const { measurements } = await device('pi');
    expect(measurements.map(({ variantId }) => variantId).sort()).toEqual(['code-q8_0', 'math-q8_0']);
  }, 240_000);

  it('carries an answer whose tokens the controller chooses', async () => {
    const [pi, job] = [deviceId('pi'), jobId('mixed')];
    const client = await mqtt.connectAsync(broker.url, {
      username: 'controller',
      password: readFileSync(join(folder, 'controller', 'broker-password'), 'utf8').trim(),
      clientId: 'mixer',
    });
    const publish = (topic: string, message: object) => client.publishAsync(topic, JSON.stringify(message), { qos: 1 });
    const outs: JobOut[] = [];
    const ended = new Promise<void>((resolve) => {
      client.on('message', (_topic, payload) => {
        const out = jobOutSchema.parse(JSON.parse(payload.toString()));
        outs.push(out);
        if (out.kind === 'next') {
          const next: JobNext = { v: 1, jobId: job, step: out.step, token: out.ids[0] ?? 0 };
          void publish(jobNextTopic(home, pi, job), next);
        } else if (out.kind !== 'accepted' && out.kind !== 'tokens') {
          resolve();
        }
      });
    });
    await client.subscribeAsync(jobOutTopic(home, pi, { jobId: job }), { qos: 1 });
    const input = { kind: 'chat' as const, messages: [{ role: 'user' as const, content: 'What is 3 + 4?' }] };
    const base = { v: 1, jobId: job, variantId: variantId('math-q8_0'), timeoutMs: 30_000 } as const;
    const mix: Job = { ...base, kind: 'mix', input, topK: 256, maxTokens: 40, stop: [] };
    await publish(jobsTopic(home, pi), mix);
    await ended;
    expect(outs.at(-1)).toMatchObject({ kind: 'done', finishReason: 'length', usage: { outputTokens: 40 } });
    expect(outs.filter(({ kind }) => kind === 'next')).toHaveLength(40);
    client.end(true);
  }, 60_000);

  it('takes in telemetry', async () => {
    await until(async () => ((await device('pi')).last.powerW ?? 0) > 0, 'its power is known');
  }, 60_000);

  it('keeps a device to its own topics, and puts a removed one out', async () => {
    const response = await fetch(`${url}/api/v1/enrol`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token: token(), name: 'prober', board: 'linux-x64' }),
    });
    const { secret, mqttUrl } = (await response.json()) as EnrolAnswer;
    broker.reload();
    const prober = mqtt.connect(mqttUrl, {
      username: 'prober',
      password: secret,
      clientId: 'prober',
      protocolVersion: 5,
      reconnectPeriod: 100,
      // The reload takes a moment.
      reconnectOnConnackError: true,
    });
    prober.on('error', () => {});
    await new Promise<void>((resolve) => prober.once('connect', () => resolve()));
    const heard: string[] = [];
    prober.on('message', (topic) => heard.push(topic));
    await prober.subscribeAsync('fleetgate/v1/home/#', { qos: 1 });
    const gone = { v: 1, state: 'offline', epoch: 99_999_999_999_999, reason: 'shutdown', agentVersion: '1' };
    const forged = prober.publishAsync(presenceTopic(home, deviceId('pi')), JSON.stringify(gone), { qos: 1 });
    await expect(forged).rejects.toThrow(/authorized/i);
    await prober.publishAsync(presenceTopic(home, deviceId('prober')), JSON.stringify({ ...gone, state: 'online' }), {
      qos: 1,
    });
    await until(() => isOnline('prober'), 'what it says of itself is heard');
    expect(await answers()).toBe(true);
    expect(await isOnline('pi')).toBe(true);
    expect(heard.filter((topic) => !topic.startsWith('fleetgate/v1/home/prober/'))).toEqual([]);
    const chosen = prober.publishAsync(jobNextTopic(home, deviceId('pi'), jobId('x')), '{}', { qos: 1 });
    await expect(chosen).rejects.toThrow(/authorized/i);
    const closed = new Promise<void>((resolve) => prober.once('close', () => resolve()));
    expect((await fleetgate(['devices', 'remove', 'prober', '--url', url])).code).toBe(0);
    broker.reload();
    await closed;
    prober.end(true);
  }, 60_000);

  it('recovers when the broker is killed and starts again', async () => {
    await broker.stop();
    await until(async () => !(await isConnected()), 'the loss is seen');
    expect(await answers()).toBe(false);
    await broker.start();
    await until(isConnected, 'the controller is back');
    await until(() => isOnline('pi'), 'the device is back');
    await until(answers, 'the fleet answers again', 60_000);
  }, 120_000);

  it('recovers when the controller is killed and starts again: the broker knows it without a reload', async () => {
    const { activePlanId } = await status();
    process.kill(controller.pid, 'SIGKILL');
    await startController(new URL(url).port);
    await until(isConnected, 'the controller is let in');
    await until(answers, 'the fleet answers again', 60_000);
    expect((await status()).activePlanId).toBe(activePlanId);
  }, 120_000);
});
