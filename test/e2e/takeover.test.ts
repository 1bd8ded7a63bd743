import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Budgets, DeviceView, PlanView, RequestView, StatusView } from '@fleetgate/shared/api/operations';

import { getJson, type RunningProcess, startFleetgate, until } from '../support/running-fleet.ts';

const VARIANT = 'story-q8_0';
const DEVICES = ['one', 'two'] as const;
const GREEDY: OpenAI.ChatCompletionCreateParamsStreaming = {
  model: 'story',
  messages: [{ role: 'user', content: 'Tell me a long story about a king.' }],
  max_tokens: 400,
  temperature: 0,
  stream: true,
  stream_options: { include_usage: true },
};

/** Everything that a client is told of one streamed answer. */
interface Seen {
  readonly id: string;
  readonly device: string;
  readonly chunks: readonly OpenAI.ChatCompletionChunk[];
}

const likelyOf = ({ chunks }: Seen) => chunks.flatMap(({ choices }) => choices[0]?.logprobs?.content ?? []);
const textOf = ({ chunks }: Seen): string => chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('');

describe('two agents that host the same variant', () => {
  let folder: string;
  let url: string;
  let client: OpenAI;
  let controller: RunningProcess<{ dashboard: string }>;
  const agents = new Map<string, RunningProcess<object>>();

  const startAgent = (name: string): void => {
    const token = readFileSync(join(folder, 'controller', 'join-token'), 'utf8').trim();
    const args = ['agent', '--controller', url, '--board', 'raspberry-pi-5', '--name', name];
    const more = ['--data', join(folder, name), '--threads', '1'];
    agents.set(name, startFleetgate([...args, ...more], { FLEETGATE_JOIN_TOKEN: token }));
  };
  const serves = async (name: string): Promise<boolean> => {
    const { state, variants } = await getJson<DeviceView>(`${url}/api/v1/devices/${name}`);
    const said = variants.find(({ variantId }) => variantId === VARIANT);
    return state === 'online' && said?.residency === 'resident';
  };
  const bothServe = () =>
    until(
      async () => (await Promise.all(DEVICES.map((name) => serves(name).catch(() => false)))).every(Boolean),
      'both serve the variant',
      120_000,
    );
  /** `onText` is called once, when the first text is there. */
  const ask = async (asked = GREEDY, onText: (device: string) => void = () => {}): Promise<Seen> => {
    const { data, response } = await client.chat.completions.create(asked).withResponse();
    const device = response.headers.get('x-fleetgate-device') ?? '';
    const chunks: OpenAI.ChatCompletionChunk[] = [];
    let isFirst = true;
    for await (const chunk of data) {
      chunks.push(chunk);
      if (!isFirst || (chunk.choices[0]?.delta.content ?? '') === '') continue;
      isFirst = false;
      onText(device);
    }
    return { id: response.headers.get('x-request-id') ?? '', device, chunks };
  };
  const record = ({ id }: Seen) => getJson<RequestView>(`${url}/api/v1/requests/${id}`);
  /** Asks, kills the agent that answers in the middle of its answer, and has both back. */
  const askAndKill = async (asked = GREEDY): Promise<Seen> => {
    const seen = await ask(asked, (device) => process.kill(agents.get(device)?.pid ?? 0, 'SIGKILL'));
    await agents.get(seen.device)?.stop();
    startAgent(seen.device);
    await bothServe();
    return seen;
  };
  const expectTakenOver = async (seen: Seen): Promise<void> => {
    const { attempts, endedAtMs, error, state } = await record(seen);
    expect({ state, error }).toEqual({ state: 'succeeded', error: null });
    expect(endedAtMs).not.toBeNull();
    expect(attempts).toMatchObject([
      { deviceId: seen.device, variantId: VARIANT, outcome: 'device.lost' },
      { deviceId: DEVICES.find((name) => name !== seen.device), variantId: VARIANT, outcome: 'succeeded' },
    ]);
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'fleetgate-takeover-'));
    for (const name of ['story', 'math']) {
      const from = fileURLToPath(new URL(`../../experts/${name}`, import.meta.url));
      cpSync(from, join(folder, 'experts', name), { recursive: true });
    }
    controller = startFleetgate([
      ...['controller', '--data', join(folder, 'controller'), '--experts', join(folder, 'experts')],
      ...['--http-port', '0', '--mqtt-port', '0'],
    ]);
    url = (await controller.first).dashboard.replace(/\/$/, '');
    client = new OpenAI({ apiKey: 'none', baseURL: `${url}/v1`, maxRetries: 0 });
    // One device has room for both experts: the second one is on because stories are to survive a loss.
    const budgets = await getJson<Budgets>(`${url}/api/v1/budgets`);
    const story = { ...budgets.defaultClass, minReplicas: 2 };
    const put = await fetch(`${url}/api/v1/budgets`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...budgets, classes: { ...budgets.classes, story } }),
    });
    expect(put.ok).toBe(true);
    for (const name of DEVICES) startAgent(name);
    await bothServe();
  }, 240_000);

  afterAll(async () => {
    const codes = [];
    for (const agent of agents.values()) codes.push(await agent.stop());
    codes.push(await controller.stop());
    rmSync(folder, { recursive: true, force: true });
    expect(codes).toEqual([0, 0, 0]);
  }, 60_000);

  it('have a plan that places it on both, and the other expert as well, checked by the verifier', async () => {
    const { activePlanId } = await getJson<StatusView>(`${url}/api/v1/status`);
    const plan = await getJson<PlanView>(`${url}/api/v1/plans/${activePlanId ?? ''}`);
    const hosts = plan.placements.filter(({ variantId }) => variantId === VARIANT).map(({ deviceId }) => deviceId);
    expect(hosts.toSorted()).toEqual([...DEVICES]);
    // Memory that is free has a second copy of the other one, which nobody asked for.
    expect(plan.placements).toHaveLength(4);
    expect(plan).toMatchObject({ verified: true });
  });

  it('give one greedy answer in one stream, the same to the letter, when one of them is killed in the middle', async () => {
    const whole = await ask(GREEDY);
    const text = textOf(whole);
    const usage = whole.chunks.at(-1)?.usage;
    expect(usage?.completion_tokens).toBeGreaterThan(200);
    expect((await record(whole)).attempts).toHaveLength(1);
    const seen = await askAndKill(GREEDY);
    await expectTakenOver(seen);
    expect(textOf(seen)).toBe(text);
    expect(seen.chunks.filter(({ choices }) => choices[0]?.delta.role !== undefined)).toHaveLength(1);
    const reasons = (of: Seen) => of.chunks.flatMap(({ choices }) => choices[0]?.finish_reason ?? []);
    expect(reasons(seen)).toEqual(reasons(whole));
    expect(reasons(seen)).toHaveLength(1);
    expect(new Set(seen.chunks.map(({ id, model }) => `${id} ${model}`)).size).toBe(1);
    const { completion_tokens, prompt_tokens, total_tokens } = seen.chunks.at(-1)?.usage ?? {};
    expect({ completion_tokens, prompt_tokens, total_tokens }).toEqual({
      completion_tokens: usage?.completion_tokens,
      prompt_tokens: usage?.prompt_tokens,
      total_tokens: (usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0),
    });
  }, 120_000);

  it.each<[string, Partial<OpenAI.ChatCompletionCreateParamsStreaming>]>([
    ['greedy, with how likely its tokens were', { logprobs: true, top_logprobs: 2 }],
    ['drawn by a seed', { temperature: 0.8, seed: 7 }],
    [
      'drawn by a seed, with how likely its tokens were',
      { temperature: 0.8, seed: 7, logprobs: true, top_logprobs: 2 },
    ],
  ])(
    'give an answer that is %s as without a failure',
    async (_, how) => {
      const asked = { ...GREEDY, ...how, stream: true } as const;
      const whole = await ask(asked);
      const seen = await askAndKill(asked);
      await expectTakenOver(seen);
      expect(textOf(seen)).toBe(textOf(whole));
      expect(likelyOf(seen)).toEqual(likelyOf(whole));
      if (how.logprobs !== true) return;
      expect(likelyOf(seen)).toHaveLength(seen.chunks.at(-1)?.usage?.completion_tokens ?? -1);
      let [text, told] = ['', ''];
      for (const { choices } of seen.chunks) {
        text += choices[0]?.delta.content ?? '';
        told += (choices[0]?.logprobs?.content ?? []).map(({ token }) => token).join('');
        // A token whose end may begin a stop string is told with the rest of it.
        expect(told.trimStart().startsWith(text)).toBe(true);
        expect(told.trimStart().length - text.length).toBeLessThan('\nQuestion:'.length);
      }
    },
    120_000,
  );
});
