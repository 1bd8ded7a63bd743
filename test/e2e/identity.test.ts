import { cpSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { DeviceView, StatusView } from '@fleetgate/shared/api/operations';

import { fleetgate, getJson, type RunningProcess, startFleetgate, until } from '../support/running-fleet.ts';

describe('a device that is known by its key', () => {
  let folder: string;
  let url: string;
  let controller: RunningProcess<{ dashboard: string }>;
  let agent: RunningProcess<object> | undefined;

  const device = () => getJson<DeviceView>(`${url}/api/v1/devices/pi`);
  const startController = async (httpPort: string): Promise<void> => {
    controller = startFleetgate([
      ...['controller', '--data', join(folder, 'controller'), '--experts', join(folder, 'experts')],
      ...['--http-port', httpPort, '--mqtt-port', '0', '--mqtts-port', '0', '--plain-mqtt', 'off', '--approve-devices'],
    ]);
    url = (await controller.first).dashboard.replace(/\/$/, '');
  };
  const operate = async (...args: readonly string[]): Promise<unknown> => {
    const { code, stdout, stderr } = await fleetgate(['devices', ...args, '--url', url, '--json']);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    return JSON.parse(stdout);
  };
  const startAgent = (token: string): RunningProcess<object> =>
    startFleetgate(
      [
        ...['agent', '--controller', url, '--board', 'raspberry-pi-5', '--name', 'pi'],
        ...['--data', join(folder, 'pi'), '--threads', '1'],
      ],
      { FLEETGATE_JOIN_TOKEN: token },
    );
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
    folder = mkdtempSync(join(tmpdir(), 'fleetgate-identity-'));
    const from = fileURLToPath(new URL('../../experts/math', import.meta.url));
    cpSync(from, join(folder, 'experts', 'math'), { recursive: true });
    await startController('0');
  }, 60_000);

  afterAll(async () => {
    await agent?.stop();
    const code = await controller.stop();
    rmSync(folder, { recursive: true, force: true });
    expect(code).toBe(0);
  }, 60_000);

  it('joins by a token for one device, once a person has let it in', async () => {
    const { token } = (await operate('join-token', '--ttl', '10m')) as { token: string };
    agent = startAgent(token);
    await until(async () => JSON.stringify(await operate('pending')).includes('"pi"'), 'it waits');
    expect(await operate('tokens')).toMatchObject({ items: [{ usesLeft: 0 }] });
    await operate('approve', 'pi');
    await agent.first;
    expect((await device()).state).toBe('online');
    const kept = join(folder, 'pi', 'certificate.json');
    expect(statSync(kept).mode & 0o777).toBe(0o600);
    const { mqttTlsUrl } = await getJson<StatusView>(`${url}/api/v1/status`);
    const identity = JSON.parse(readFileSync(join(folder, 'pi', 'identity.json'), 'utf8')) as { mqttUrl: string };
    expect(identity.mqttUrl).toBe(mqttTlsUrl);
  }, 120_000);

  it('answers over its TLS connection', async () => {
    await until(
      async () => (await getJson<StatusView>(`${url}/api/v1/status`)).activePlanId !== null,
      'a plan',
      120_000,
    );
    await until(answers, 'the device holds what the plan places there', 60_000);
    const { data, response } = await ask();
    expect(response.headers.get('x-fleetgate-device')).toBe('pi');
    expect(data.choices[0]?.message.content).not.toBe('');
  }, 240_000);

  it('is out when it is revoked, and stays out when the controller starts again', async () => {
    await operate('revoke', 'pi');
    // Known at once, not when its lease has run out; and its connection is cut.
    expect((await device()).state).toBe('offline');
    await until(() => /broker\.(?:unreachable|refused)/.test(agent?.said() ?? ''), 'its agent has lost the broker');
    expect(await answers()).toBe(false);
    expect((await fleetgate(['devices', 'show', 'pi', '--url', url])).stdout).toMatch(/known by +nothing any more/);
    const { port } = new URL(url);
    await controller.stop();
    await startController(port);
    // Its agent asks at once and a few times more; what it is told is the same.
    await until(() => /broker\.refused/.test(agent?.said() ?? ''), 'the agent is refused', 60_000);
    expect((await device()).state).toBe('offline');
    expect(await answers()).toBe(false);
  }, 120_000);
});
