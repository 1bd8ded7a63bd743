import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type {
  Budgets,
  DeviceView,
  ListBody,
  PlanView,
  RequestView,
  VariantView,
} from '@fleetgate/shared/api/operations';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';

import { writeLora } from '../../agent/src/gguf/lora.fixture.ts';
import { NO_CHROMIUM, findChromium, openChromium } from '../support/chromium.ts';
import { clickThrough } from '../support/dashboard-click-through.ts';
import { type RunningFleet, fleetgate, getJson, readOrNothing, startFleet, until } from '../support/running-fleet.ts';

const chromium = findChromium();
const DOMAINS = ['math', 'code', 'medical', 'finance', 'story', 'dialogue'];

/** The first validation prompts of a domain: never used for training. */
function prompts(domain: string, count: number): string[] {
  return readFileSync(new URL(`../../experts/data/${domain}.valid.jsonl`, import.meta.url), 'utf8')
    .split('\n', count)
    .map((line) => (JSON.parse(line) as { prompt: string }).prompt);
}

describe('the main job, end to end, on real models', () => {
  let fleet: RunningFleet;
  let client: OpenAI;

  beforeAll(async () => {
    fleet = await startFleet();
    client = new OpenAI({ apiKey: 'none', baseURL: `${fleet.url}/v1`, maxRetries: 0 });
  }, 240_000);

  afterAll(async () => {
    expect(await fleet.stop()).toBe(0);
  }, 60_000);

  it('measures every device and activates a verified plan', async () => {
    const { items: devices } = await getJson<ListBody<DeviceView>>(`${fleet.url}/api/v1/devices`);
    expect(devices.map((device) => `${device.id} ${device.board} ${device.state}`).sort()).toEqual([
      'jetson jetson-orin-nano online',
      'phone android-phone online',
      'pi raspberry-pi-5 online',
    ]);
    for (const device of devices) {
      expect(device.measurements).toHaveLength(9);
      expect(device.power?.source).toBe('modelled');
    }
    const plan = await getJson<PlanView>(`${fleet.url}/api/v1/plans/${fleet.planId}`);
    expect(plan).toMatchObject({ state: 'active', verified: true });
    expect(plan.placements.length).toBeGreaterThanOrEqual(DOMAINS.length);
  });

  it('streams real tokens to the official client and says who answered, at what cost and why', async () => {
    const stream = await client.chat.completions
      .create({
        model: 'auto',
        messages: [{ role: 'user', content: prompts('math', 1)[0] ?? '' }],
        stream: true,
        stream_options: { include_usage: true },
        max_tokens: 24,
        temperature: 0,
      })
      .withResponse();
    let text = '';
    let usage: (OpenAI.CompletionUsage & { energy_joules?: number; energy_source?: string }) | undefined;
    for await (const chunk of stream.data) {
      text += chunk.choices[0]?.delta.content ?? '';
      if (chunk.usage) usage = chunk.usage;
    }
    expect(text.length).toBeGreaterThan(10);
    expect(usage?.completion_tokens).toBeGreaterThan(0);
    expect(usage?.energy_joules).toBeGreaterThan(0);
    expect(usage?.energy_source).toBe('modelled');
    expect(stream.response.headers.get('x-fleetgate-expert')).toBe('math');
    const id = stream.response.headers.get('x-request-id') ?? '';
    const record = await getJson<RequestView>(`${fleet.url}/api/v1/requests/${id}`);
    expect(record).toMatchObject({ state: 'succeeded', expertId: 'math', classId: 'math' });
    expect(record.why).not.toBe('');
    expect(record.candidates.filter((candidate) => candidate.chosen)).toHaveLength(1);
    expect(record.actual?.latencyMs).toBeGreaterThan(0);
  });

  it('calls a tool where it has to, through each API', async () => {
    const content = prompts('code', 1)[0] ?? '';
    const name = 'sort_list';
    const parameters = {
      type: 'object',
      properties: {
        order: { anyOf: [{ const: 'up' }, { const: 'down' }] },
        stable: { type: 'boolean' },
        how: { type: 'object', properties: { in_place: { type: 'boolean' } } },
      },
      required: ['order', 'how'],
    };
    const isCall = (given: unknown): void => {
      const { order, stable, how, ...rest } = given as Record<string, unknown>;
      expect([order, rest]).toEqual([expect.stringMatching(/^(up|down)$/), {}]);
      // What is not required may be left out, and null is not told for it.
      expect([undefined, true, false]).toContain(stable);
      expect([{}, { in_place: true }, { in_place: false }]).toContainEqual(how);
    };
    const asked = { model: 'code', temperature: 0, messages: [{ role: 'user' as const, content }] };
    const tools = [{ type: 'function' as const, function: { name, parameters } }];
    const chat = await client.chat.completions
      .stream({ ...asked, tools, tool_choice: { type: 'function', function: { name } } })
      .finalChatCompletion();
    const [made] = chat.choices[0]?.message.tool_calls ?? [];
    expect([chat.choices[0]?.finish_reason, made?.function.name]).toEqual(['tool_calls', name]);
    isCall(JSON.parse(made?.function.arguments ?? ''));
    const { output } = await client.responses.create({
      model: 'code',
      input: content,
      tools: [{ type: 'function', name, parameters, strict: false }],
      tool_choice: 'required',
      parallel_tool_calls: false,
    });
    expect(output.map(({ type }) => type)).toEqual(['function_call']);
    const [call] = output;
    isCall(JSON.parse(call?.type === 'function_call' ? call.arguments : ''));
    const anthropic = new Anthropic({ apiKey: 'none', baseURL: fleet.url, maxRetries: 0 });
    const { content: blocks, stop_reason } = await anthropic.messages.create({
      ...{ model: 'code', max_tokens: 200, messages: asked.messages },
      tools: [{ name, input_schema: { ...parameters, type: 'object' } }],
      tool_choice: { type: 'tool', name },
    });
    const [block] = blocks;
    expect([stop_reason, block?.type]).toEqual(['tool_use', 'tool_use']);
    isCall(block?.type === 'tool_use' ? block.input : {});
  });

  it('keeps an answer to a schema, an object or a grammar, and tells how likely its tokens were', async () => {
    const messages = [{ role: 'user' as const, content: prompts('code', 1)[0] ?? '' }];
    const asked = { model: 'auto', messages, temperature: 0, max_tokens: 200 };
    const schema = { type: 'object', properties: { sure: { type: 'boolean' }, kind: { enum: ['loop', 'list'] } } };
    const parsed = await client.chat.completions.create({
      ...asked,
      response_format: { type: 'json_schema', json_schema: { name: 'answer', schema } },
      logprobs: true,
      top_logprobs: 2,
    });
    const [choice] = parsed.choices;
    expect(JSON.parse(choice?.message.content ?? '')).toEqual({
      sure: expect.any(Boolean),
      kind: expect.stringMatching(/^(loop|list)$/),
    });
    expect(choice?.finish_reason).toBe('stop');
    const told = choice?.logprobs?.content ?? [];
    expect(told.map(({ token }) => token).join('')).toBe(choice?.message.content);
    expect(told).toHaveLength(parsed.usage?.completion_tokens ?? -1);
    const stream = client.chat.completions.stream({ ...asked, response_format: { type: 'json_object' } });
    const streamed = (await stream.finalChatCompletion()).choices[0];
    // A model as small may fill an object for ever; what there is of it is one.
    if (streamed?.finish_reason === 'stop') expect(typeof JSON.parse(streamed.message.content ?? '')).toBe('object');
    else expect(streamed?.message.content).toMatch(/^\{/);
    const yesOrNo = { ...asked, grammar: 'root ::= "yes" | "no"' };
    expect((await client.chat.completions.create(yesOrNo)).choices[0]?.message.content).toMatch(/^(yes|no)$/);
    const broken = client.chat.completions.create({ ...asked, grammar: 'root ::= (' } as typeof asked);
    await expect(broken).rejects.toMatchObject({ status: 400 });
  });

  it('gives texts as vectors of one length, the same for the same text', async () => {
    const [one, other] = prompts('math', 2);
    const input = [one ?? '', other ?? '', one ?? ''];
    const { data, usage } = await client.embeddings.create({ model: 'math', input });
    const vectors = data.map(({ embedding }) => embedding);
    const likeness = (a = 0, b = 0): number =>
      (vectors[a] ?? []).reduce((sum, value, i) => sum + value * (vectors[b]?.[i] ?? 0), 0);
    expect([likeness(0, 0), likeness(0, 2)].map((value) => Number(value.toFixed(3)))).toEqual([1, 1]);
    expect(likeness(0, 1)).toBeLessThan(0.999);
    expect(usage.prompt_tokens).toBeGreaterThan(10);
    const plain = await client.embeddings.create({ model: 'math', input: one ?? '', encoding_format: 'float' });
    for (const [i, value] of (plain.data[0]?.embedding ?? []).entries()) {
      expect(value).toBeCloseTo(vectors[0]?.[i] ?? NaN, 3);
    }
  });

  it('answers greedily the same twice', async () => {
    const ask = () =>
      client.chat.completions.create({
        model: 'story',
        messages: [{ role: 'user', content: 'Who was the king?' }],
        max_tokens: 16,
        temperature: 0,
      });
    const [first, second] = [await ask(), await ask()];
    expect(first.choices[0]?.message.content).toBe(second.choices[0]?.message.content);
  });

  it("picks the domain's own expert for nearly every validation prompt", async () => {
    const chosen: Record<string, string[]> = {};
    for (const domain of DOMAINS) {
      chosen[domain] = [];
      for (const prompt of prompts(domain, 5)) {
        const { response } = await client.chat.completions
          .create({ model: 'auto', messages: [{ role: 'user', content: prompt }], max_tokens: 2 })
          .withResponse();
        chosen[domain].push(response.headers.get('x-fleetgate-expert') ?? '');
      }
    }
    const right = DOMAINS.flatMap((domain) => chosen[domain]?.filter((expert) => expert === domain) ?? []);
    expect(right.length, JSON.stringify(chosen)).toBeGreaterThanOrEqual(27);
  }, 120_000);

  it('asks an expert that is good in general where no domain fits', async () => {
    const { response } = await client.chat.completions
      .create({ model: 'auto', messages: [{ role: 'user', content: 'Write a haiku about rain' }], max_tokens: 2 })
      .withResponse();
    expect(['moe', 'big', 'generalist']).toContain(response.headers.get('x-fleetgate-expert'));
  });

  it('lets several experts answer, each way with its calls, joules and milliseconds on record', async () => {
    for (const model of ['cascade', 'ensemble', 'vote', 'brief']) {
      const question = { role: 'user' as const, content: prompts('medical', 1)[0] ?? '' };
      const { data, response } = await client.chat.completions
        .create({ model, messages: [question], max_tokens: 12, temperature: 0 })
        .withResponse();
      expect(data.choices[0]?.message.content?.length, model).toBeGreaterThan(0);
      const id = response.headers.get('x-request-id') ?? '';
      const record = await getJson<RequestView>(`${fleet.url}/api/v1/requests/${id}`);
      expect(record, model).toMatchObject({ state: 'succeeded', mode: model, collaboration: { how: model } });
      const calls = record.collaboration?.calls ?? [];
      expect(calls.length, model).toBeGreaterThanOrEqual(model === 'cascade' ? 1 : 2);
      const joules = calls.reduce((sum, { energyJ }) => sum + (energyJ ?? 0), 0);
      expect(record.actual?.energyJ, model).toBeCloseTo(joules, 6);
      for (const { requestId, outcome } of calls) {
        const call = await getJson<RequestView>(`${fleet.url}/api/v1/requests/${requestId}`);
        expect({ outcome, of: call.callOf }, model).toEqual({ outcome: 'succeeded', of: id });
      }
    }
  }, 60_000);

  it('mixes experts token by token: a text that turns to another domain costs fewer bits than under any one', async () => {
    const score = async (model: string): Promise<number> => {
      const response = await fetch(`${fleet.url}/api/v1/score`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          model,
          prompt: 'How many apples are 3 apples and 4 apples?',
          completion:
            '3 + 4 = 7 apples.\nThe answer is 7\nQuestion: Can I get a large latte with oat milk?\n' +
            "Answer: Alright, please check the order details and confirm they're correct.",
        }),
      });
      return ((await response.json()) as { bits: number }).bits;
    };
    const ensemble = await score('ensemble');
    for (const expert of ['math', 'dialogue']) expect(ensemble, expert).toBeLessThan(0.9 * (await score(expert)));
  }, 60_000);

  it('lists every expert and variant as a model', async () => {
    const models = await client.models.list();
    const ids = models.data.map((model) => model.id);
    expect(ids).toEqual(expect.arrayContaining(['auto', 'auto:eco', 'ensemble', ...DOMAINS, 'math-q8_0', 'moe']));
  });

  it('is operated from the command line', async () => {
    const chat = await fleetgate(['chat', '--url', fleet.url, '--model', 'math', 'What is 2 + 2?']);
    expect(chat).toMatchObject({ code: 0 });
    expect(chat.stdout).toMatch(/math.*J.*ms/);
    for (const args of [
      ['devices'],
      ['experts'],
      ['plan', 'show'],
      ['plan', 'explain'],
      ['budget', 'show'],
      ['requests'],
    ]) {
      const plain = await fleetgate([...args, '--url', fleet.url]);
      expect(plain, args.join(' ')).toMatchObject({ code: 0 });
      const json = await fleetgate([...args, '--url', fleet.url, '--json']);
      expect(() => JSON.parse(json.stdout) as unknown, args.join(' ')).not.toThrow();
    }
    const impossible = await fleetgate(['budget', 'set', '--power', '1', '--url', fleet.url]);
    expect(impossible.stdout).toMatch(/the plan in force stays[^]*cannot hold together:[^]*would help:/);
    const possible = await fleetgate(['budget', 'set', '--power', 'none', '--url', fleet.url]);
    expect(possible.stdout).toContain('Demand-weighted quality');
    expect((await fleetgate(['devices', '--url', 'http://127.0.0.1:1'])).code).toBe(1);
    expect((await fleetgate(['no-such-command'])).code).toBe(2);
  }, 120_000);

  it('is measured by the benchmarks, down to the least energy that a plan can meet', async () => {
    const bench = async (name: string) => {
      const { code, stdout, stderr } = await fleetgate(['bench', name, '--limit', '1', '--json', '--url', fleet.url]);
      expect(code, stderr).toBe(0);
      const { reports } = JSON.parse(stdout) as {
        reports: { figures: { what: string; ours: number }[]; tables: { rows: string[][] }[] }[];
      };
      return reports[0];
    };
    for (const name of ['agent', 'dispatch', 'gate']) {
      for (const { what, ours } of (await bench(name))?.figures ?? []) expect(ours, what).toBeGreaterThan(0);
    }
    const points = (await bench('budget'))?.tables[0]?.rows ?? [];
    expect(points.map(([name]) => name)).toEqual(['present', 'half-way', 'tightest']);
    expect(Number(points[2]?.[1])).toBeLessThan(Number(points[0]?.[1]));
    const budgets = await getJson<Budgets>(`${fleet.url}/api/v1/budgets`);
    expect(budgets.classes).toEqual({});
  }, 180_000);

  it('takes in another build of an expert, which a device loads in part, and measures', async () => {
    const { facts } = (await getJson<ListBody<VariantView>>(`${fleet.url}/api/v1/variants`)).items.find(
      ({ id }) => id === 'moe-q8_0',
    ) as VariantView;
    const added = await fleetgate(['experts', 'offload', 'moe', '--resident', '30%', '--url', fleet.url, '--json']);
    expect(JSON.parse(added.stdout)).toMatchObject({ id: 'moe-q8_0-r30', made: { from: 'moe-q8_0', loss: {} } });
    const slabBudgetBytes = Math.floor(0.3 * (facts.slabsBytes ?? 0));
    let measured: DeviceView['measurements'][number] | undefined;
    while (measured === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      const { items } = await getJson<ListBody<DeviceView>>(`${fleet.url}/api/v1/devices`);
      measured = items
        .flatMap(({ measurements }) => measurements)
        .find(({ variantId, serving }) => variantId === 'moe-q8_0-r30' && serving?.slabBudgetBytes === slabBudgetBytes);
    }
    expect(measured.decodeTokensPerS).toBeGreaterThan(0);
    const removed = await fleetgate(['experts', 'remove-variant', 'moe-q8_0-r30', '--url', fleet.url, '--json']);
    expect(JSON.parse(removed.stdout)).toEqual({ removed: 'moe-q8_0-r30' });
  }, 90_000);

  it('takes in an adapter over the file of an expert, which devices fetch, load and measure', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'fleetgate-adapter-'));
    const [base, path] = [
      new URL('../../experts/math/math-q8_0.gguf', import.meta.url).pathname,
      join(folder, 'a.gguf'),
    ];
    writeLora(path, await readGguf(base), ['blk.0.attn_q.weight']);
    const argv = ['add-variant', 'math', '--adapter', `${path}@0.5`, '--name', 'math-adapted', '--loss', 'math=0.01'];
    const added = await fleetgate(['experts', ...argv, '--url', fleet.url, '--json']);
    rmSync(folder, { recursive: true });
    expect(JSON.parse(added.stdout), added.stderr).toMatchObject({ serving: { adapters: [{ scale: 0.5 }] } });
    let measured: DeviceView['measurements'][number] | undefined;
    while (measured === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      const { items } = await getJson<ListBody<DeviceView>>(`${fleet.url}/api/v1/devices`);
      measured = items.flatMap(({ measurements }) => measurements).find((one) => one.variantId === 'math-adapted');
    }
    expect(measured.serving?.adapters).toMatchObject([{ scale: 0.5 }]);
    expect((await fleetgate(['experts', 'remove-variant', 'math-adapted', '--url', fleet.url])).code).toBe(0);
  }, 90_000);

  it('keeps no text of prompts, answers and comments: not in its files, nor in what it says', async () => {
    const secret = 'quetzal-4711-zyxomma';
    const ask = (model: string) =>
      client.chat.completions
        .create({
          model,
          messages: [{ role: 'user', content: `Tom has 12 apples, says ${secret}. How many are left?` }],
          max_tokens: 24,
          temperature: 0,
        })
        .withResponse();
    const answers = [await ask('auto'), await ask('cascade')];
    await expect(ask('no-such-model')).rejects.toMatchObject({ status: 404 });
    const ids = answers.map(({ response }) => response.headers.get('x-request-id') ?? '');
    const rated = await fetch(`${fleet.url}/v1/feedback`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ request_id: ids[0], rating: 'up', comment: secret }),
    });
    expect(rated.ok).toBe(true);
    const kept = (): string[] =>
      readdirSync(fleet.dataDir, { recursive: true, withFileTypes: true })
        .filter((file) => file.isFile() && !file.name.endsWith('.gguf'))
        .map((file) => readOrNothing(join(file.parentPath, file.name), 'latin1'));
    // Records are written a moment after the answer; that they are found says that texts would be.
    await until(() => ids.every((id) => kept().some((text) => text.includes(id))), 'the requests are in the database');
    const texts = [secret, ...answers.map(({ data }) => data.choices[0]?.message.content ?? '')];
    for (const text of texts.filter(({ length }) => length >= 20)) {
      const bytes = Buffer.from(text).toString('latin1');
      expect(kept().filter((file) => file.includes(bytes))).toEqual([]);
      expect(fleet.said()).not.toContain(text);
    }
  });

  it('serves health, metrics, the API description and the dashboard', async () => {
    for (const path of ['/healthz', '/readyz', '/api/openapi.json', '/'])
      expect((await fetch(fleet.url + path)).status, path).toBe(200);
    const metrics = await (await fetch(`${fleet.url}/metrics`)).text();
    expect(metrics).toMatch(/^fleetgate_requests_total\{state="succeeded",expert="math"\} [1-9]/m);
    expect(metrics).toMatch(/^vllm:generation_tokens_total\{model_name="math"\} [1-9]/m);
    expect(metrics).toMatch(
      /^gen_ai_server_time_to_first_token_seconds_count\{.*gen_ai_request_model="auto".*\} [1-9]/m,
    );
  });

  describe.skipIf(chromium === null)(
    chromium === null ? `in a browser (skipped: ${NO_CHROMIUM})` : 'in a browser',
    () => {
      it.each([
        { name: 'real-desktop', viewport: { width: 1440, height: 900 } },
        { name: 'real-phone', viewport: { width: 360, height: 740 } },
      ])(
        'shows devices, streams an answer with its record, refuses an impossible budget ($name)',
        async ({ name, viewport }) => {
          const pictures = new URL('../artefacts', import.meta.url).pathname;
          mkdirSync(pictures, { recursive: true });
          const browser = await openChromium(chromium ?? '', { viewport });
          try {
            const page = browser.context.pages()[0] ?? (await browser.context.newPage());
            const seen = await clickThrough(page, fleet.url, { name, pictures, patienceMs: 60_000 });
            expect(seen.devices.toSorted()).toEqual(['jetson', 'phone', 'pi']);
            expect(seen.answer.length).toBeGreaterThan(0);
            expect(seen.refusal).not.toBe('');
            expect(seen.overflowPx).toBe(0);
          } finally {
            await browser.close();
          }
        },
        180_000,
      );
    },
  );
});
