import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, Output, stepCountIs, streamText, tool } from 'ai';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';

import type { ScriptedJob } from '../scripted-expert-link.js';
import { API_KEY, openTestApi, sayNext, type TestApi } from './test-api.fixture.js';

let api: TestApi;
/** What the next jobs answer, piece by piece; the last one goes on. */
let answers: string[][];

const answer = (job: ScriptedJob): void => sayNext(job, answers);

beforeEach(async () => {
  answers = [['two and two', ' is four']];
  api = await openTestApi(answer);
});

afterEach(() => api.close());

describe("vercel's ai", () => {
  const model = () =>
    createOpenAICompatible({
      name: 'fleetgate',
      baseURL: `${api.base}/v1`,
      apiKey: API_KEY,
      includeUsage: true,
      supportsStructuredOutputs: true,
    })('auto');
  const ran: unknown[] = [];
  const tools = {
    weather: tool({
      description: 'Tells the weather.',
      inputSchema: z.object({ city: z.string(), days: z.number().int().optional() }),
      execute: (given) => {
        ran.push(given);
        return { degrees: 20 };
      },
    }),
  };
  const call = ['{"name": "weather", ', '"arguments": {"city": "Paris", "days": null}}'];

  beforeEach(() => {
    ran.length = 0;
  });

  it('generates and streams text, with usage', async () => {
    const asked = { model: model(), prompt: 'what is two and two?', maxRetries: 0 };
    const whole = await generateText(asked);
    expect([whole.text, whole.finishReason, whole.usage.totalTokens]).toEqual(['two and two is four', 'stop', 10]);
    const stream = streamText(asked);
    expect(await stream.text).toBe('two and two is four');
    expect([await stream.finishReason, (await stream.usage).totalTokens]).toEqual(['stop', 10]);
  });

  it('runs tools in steps, whole and streamed', async () => {
    const asked = { model: model(), prompt: 'how warm is it?', tools, stopWhen: stepCountIs(3), maxRetries: 0 };
    answers = [call, ['It is 20 degrees.']];
    const whole = await generateText(asked);
    expect([whole.text, whole.steps.map(({ finishReason }) => finishReason)]).toEqual([
      'It is 20 degrees.',
      ['tool-calls', 'stop'],
    ]);
    answers = [call, ['It is 20 ', 'degrees.']];
    const stream = streamText(asked);
    expect(await stream.text).toBe('It is 20 degrees.');
    expect(ran).toEqual([{ city: 'Paris' }, { city: 'Paris' }]);
    expect(api.link.jobs[3]?.job).toMatchObject({
      messages: [
        { role: 'system', content: expect.stringContaining('"name":"weather"') },
        { role: 'user', content: 'how warm is it?' },
        { role: 'assistant', content: '{"name":"weather","arguments":{"city":"Paris"}}' },
        { role: 'user', content: 'Result of weather: {"degrees":20}' },
      ],
    });
  });

  it('asks for a call, and for an object', async () => {
    answers = [call];
    const forced = await generateText({ model: model(), prompt: 'x', tools, toolChoice: 'required', maxRetries: 0 });
    expect(forced.toolCalls).toMatchObject([{ toolName: 'weather', input: { city: 'Paris' } }]);
    expect(api.link.jobs[0]?.job).toMatchObject({ grammar: { kind: 'json-schema' } });
    answers = [['{"sum": 4}']];
    const output = Output.object({ schema: z.object({ sum: z.number() }) });
    expect((await generateText({ model: model(), prompt: 'x', output, maxRetries: 0 })).output).toEqual({ sum: 4 });
  });
});

/** What coding tools send: many tools of nested schemas, a long system prompt in parts, and fields that nobody here knows. */
describe('a coding tool', () => {
  const names = ['read_file', 'write_file', 'edit_file', 'list_files', 'search', 'run_command', 'fetch', 'todo_write'];
  const tools = Array.from({ length: 24 }, (_, at) => ({
    type: 'function',
    function: {
      name: names[at] ?? `tool_${at}`,
      description: `Does ${at}. ${'It is described at length. '.repeat(40)}`,
      strict: false,
      parameters: {
        $schema: 'http://json-schema.org/draft-07/schema#',
        type: 'object',
        additionalProperties: false,
        properties: {
          path: { type: 'string', description: 'of the file', minLength: 1 },
          lines: { anyOf: [{ type: 'array', items: { type: 'integer' } }, { type: 'null' }], default: null },
          edits: {
            type: 'array',
            items: {
              type: 'object',
              properties: { old: { type: 'string' }, new: { type: 'string' } },
              required: ['old'],
            },
          },
          mode: { enum: ['fast', 'slow'] },
        },
        required: ['path'],
      },
    },
  }));
  const system = [
    { type: 'text', text: `You are a coding agent. ${'Be careful with files. '.repeat(400)}` },
    { type: 'text', text: 'Working directory: /src', cache_control: { type: 'ephemeral' } },
  ];
  const request = (messages: readonly object[]) => ({
    model: 'auto',
    messages: [{ role: 'system', content: system }, { role: 'user', content: 'Fix the test.' }, ...messages],
    ...{ tools, tool_choice: 'auto', parallel_tool_calls: true },
    ...{ stream: true, stream_options: { include_usage: true }, max_completion_tokens: 4096, temperature: 0 },
    ...{ store: false, metadata: { session: '1' }, reasoning_effort: 'medium', user: 'u', service_tier: 'auto' },
    ...{ prompt_cache_key: 'k', verbosity: 'low', logit_bias: {}, presence_penalty: 0, frequency_penalty: 0 },
  });
  interface Chunk {
    readonly choices: readonly {
      readonly index: number;
      readonly delta: {
        readonly content?: string;
        readonly tool_calls?: readonly { readonly index: number; readonly id: string }[];
      };
      readonly finish_reason: string | null;
    }[];
    readonly usage?: { readonly total_tokens: number };
  }

  /** The frames of a stream, as a client without a library reads them. */
  async function send(body: object): Promise<readonly Chunk[]> {
    const response = await fetch(`${api.base}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    expect(response.status).toBe(200);
    const frames = (await response.text()).trim().split('\n\n');
    expect(frames.pop()).toBe('data: [DONE]');
    return frames.map((frame) => JSON.parse(frame.slice('data: '.length)) as Chunk);
  }

  it('is told where no expert has room for so much', async () => {
    const response = await fetch(`${api.base}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify(request([])),
    });
    expect([response.status, await response.json()]).toMatchObject([400, { error: { param: 'messages' } }]);
  });

  it('gets its calls streamed, and goes on with their results', async () => {
    await api.close();
    api = await openTestApi(answer, { contextTokens: 65_536 });
    answers = [
      [
        'I read both.\n',
        '<tool_call>{"name":"read_file","arguments":{"path":"a.ts"}}</tool_call>',
        '\n<tool_call>\n',
        '{"name":"search","arguments":{"path":"b","mode":null}}\n</tool_call>',
      ],
      ['Done.'],
    ];
    const first = await send(request([]));
    const deltas = first.flatMap(({ choices }) => choices.map(({ delta }) => delta));
    expect(deltas.map(({ content = '' }) => content).join('')).toBe('I read both.\n');
    const calls = deltas.flatMap(({ tool_calls: made = [] }) => made);
    expect(calls).toMatchObject([
      { index: 0, type: 'function', function: { name: 'read_file', arguments: '{"path":"a.ts"}' } },
      { index: 1, type: 'function', function: { name: 'search', arguments: '{"path":"b"}' } },
    ]);
    expect(first.flatMap(({ choices }) => choices.map((choice) => choice.finish_reason)).at(-1)).toBe('tool_calls');
    expect(first.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 10 } });
    const second = await send(
      request([
        { role: 'assistant', content: 'I read both.\n', tool_calls: calls, reasoning_content: 'hm' },
        ...calls.map(({ id }, at) => ({
          role: 'tool',
          tool_call_id: id,
          content: [{ type: 'text', text: `result ${at}` }],
        })),
      ]),
    );
    expect(second.flatMap(({ choices }) => choices.map(({ delta }) => delta.content ?? '')).join('')).toBe('Done.');
    const [, job] = api.link.jobs;
    if (job?.job.kind !== 'chat') throw new Error('expected a chat');
    expect(job.job.messages.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'user']);
    expect(job.job.messages[3]?.content).toBe('Result of read_file: result 0\n\nResult of search: result 1');
    expect(job.job.sampling).toMatchObject({ maxTokens: 4096, temperature: 0 });
  });
});
