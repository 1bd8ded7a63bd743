import type OpenAI from 'openai';
import { APIError } from 'openai';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { aDevice } from '../dispatch-fixtures.js';
import type { ScriptedJob } from '../scripted-expert-link.js';
import { openTestApi, sayNext, type TestApi } from './test-api.fixture.js';
import { rejection } from './rejection.fixture.js';

const CALL = '{"name": "weather", "arguments": {"city": "Paris", "days": null}}';

let api: TestApi;
let client: OpenAI;
/** What the next jobs answer, piece by piece; the last one goes on. */
let answers: string[][];

const answer = (job: ScriptedJob): void => sayNext(job, answers);

beforeEach(async () => {
  answers = [Array.from(CALL)];
  api = await openTestApi(answer);
  ({ client } = api);
});

afterEach(() => api.close());

const messages = [{ role: 'user' as const, content: 'how warm is it in Paris?' }];
const weather: OpenAI.ChatCompletionFunctionTool = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'Tells the weather.',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer' } },
      required: ['city'],
    },
  },
};
const asked = { model: 'auto', messages, tools: [weather] };

const refusal = (call: Promise<unknown>): Promise<APIError> => rejection(APIError, call);

describe('tools, as the openai client uses them', () => {
  it('answers with a call that a grammar keeps to the tools, where one is required', async () => {
    const { choices, usage } = await client.chat.completions.create({ ...asked, tool_choice: 'required' });
    expect(choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: { role: 'assistant', content: null },
    });
    const [call] = choices[0]?.message.tool_calls ?? [];
    expect(call).toEqual({
      id: expect.stringMatching(/^call_/),
      type: 'function',
      function: { name: 'weather', arguments: '{"city":"Paris"}' },
    });
    expect(usage?.total_tokens).toBe(10);
    expect(api.link.jobs[0]).toMatchObject({ device: 'jetson', job: { grammar: { kind: 'json-schema' } } });
    const named = { type: 'function', function: { name: 'weather' } } as const;
    await client.chat.completions.create({ ...asked, tool_choice: named });
    expect(api.link.jobs[1]?.job).toMatchObject({
      grammar: { schema: { properties: { name: { const: 'weather' }, arguments: { type: 'object' } } } },
      messages: [{ role: 'system', content: expect.stringContaining('"name":"weather"') }, messages[0]],
    });
  });

  it('answers with words or with a call, where either may come', async () => {
    answers = [['It is ', 'warm.'], [CALL]];
    const words = (await client.chat.completions.create(asked)).choices[0];
    expect(words).toMatchObject({ finish_reason: 'stop', message: { content: 'It is warm.' } });
    expect(words?.message).not.toHaveProperty('tool_calls');
    expect((await client.chat.completions.create(asked)).choices[0]?.finish_reason).toBe('tool_calls');
    expect(api.link.jobs[0]?.job).not.toHaveProperty('grammar');
    const none = await client.chat.completions.create({ ...asked, tool_choice: 'none' });
    expect(none.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: CALL } });
    expect(api.link.jobs[2]?.job).toMatchObject({ messages });
  });

  it('streams calls as the stream helper puts them together', async () => {
    const one = await client.chat.completions.stream({ ...asked, tool_choice: 'required' }).finalChatCompletion();
    expect(one.choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: { role: 'assistant', content: null },
    });
    expect(one.choices[0]?.message.tool_calls).toMatchObject([
      { type: 'function', function: { name: 'weather', arguments: '{"city":"Paris"}' } },
    ]);
    answers = [['I look.\n', '<tool', '_call>', CALL, '</tool_call>\n<tool_call>', CALL, '</tool_call>']];
    const stream = client.chat.completions.stream({ ...asked, stream_options: { include_usage: true } });
    const told: string[] = [];
    stream.on('content', (delta) => told.push(delta));
    const done: string[] = [];
    stream.on('tool_calls.function.arguments.done', ({ index, arguments: given }) => done.push(`${index} ${given}`));
    const two = await stream.finalChatCompletion();
    expect(told).toEqual(['I look.\n']);
    expect(done).toEqual(['0 {"city":"Paris"}', '1 {"city":"Paris"}']);
    expect(new Set(two.choices[0]?.message.tool_calls?.map(({ id }) => id)).size).toBe(2);
    expect(two.usage?.total_tokens).toBe(10);
    answers = [['It ', 'is ', 'warm.']];
    const words: string[] = [];
    for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
      const text = chunk.choices[0]?.delta.content ?? '';
      if (text !== '') words.push(text);
    }
    expect(words.join('')).toBe('It is warm.');
  });

  it.each([false, true])(
    'has its tools run by the client, with their results coming back (streamed: %s)',
    async (stream) => {
      answers = [[CALL], ['It is 20', ' degrees.']];
      const ran: unknown[] = [];
      const tool = {
        ...weather,
        function: {
          ...weather.function,
          parse: JSON.parse,
          function: (given: unknown) => {
            ran.push(given);
            return '20 degrees';
          },
        },
      };
      const asking = { ...asked, tools: [tool as never] };
      const runner = stream
        ? client.chat.completions.runTools({ ...asking, stream: true })
        : client.chat.completions.runTools(asking);
      expect(await runner.finalContent()).toBe('It is 20 degrees.');
      expect(ran).toEqual([{ city: 'Paris' }]);
      expect(api.link.jobs[1]?.job).toMatchObject({
        messages: [
          { role: 'system' },
          messages[0],
          { role: 'assistant', content: '{"name":"weather","arguments":{"city":"Paris"}}' },
          { role: 'user', content: 'Result of weather: 20 degrees' },
        ],
      });
    },
  );

  it('says what is wrong with tools before anything is dispatched', async () => {
    const of = (fields: object) => refusal(client.chat.completions.create({ ...asked, ...fields }));
    const param = async (fields: object) => {
      const { status, param: field } = await of(fields);
      return [status, field];
    };
    const withParameters = (parameters: unknown) => ({
      tools: [weather, { ...weather, function: { name: 'b', parameters } }],
    });
    expect(await param(withParameters({ type: 'strin' }))).toEqual([400, 'tools.1.function.parameters']);
    expect(await param(withParameters('text'))).toEqual([400, 'tools.1.function.parameters']);
    expect(await param(withParameters({ type: 'string' }))).toEqual([400, 'tools.1.function.parameters']);
    expect(await param({ tools: [weather, weather] })).toEqual([400, 'tools']);
    expect(await param({ tools: Array.from({ length: 129 }, () => weather) })).toEqual([400, 'tools']);
    expect(await param({ tools: [{ type: 'web_search' }] })).toEqual([400, 'tools.0.type']);
    expect(await param({ tools: [{ type: 'function', function: { name: 'a b' } }] })).toEqual([
      400,
      'tools.0.function.name',
    ]);
    expect(await param({ tool_choice: { type: 'function', function: { name: 'x' } } })).toEqual([
      400,
      'tool_choice.function.name',
    ]);
    expect(await param({ tools: [], tool_choice: 'required' })).toEqual([400, 'tool_choice']);
    expect(await param({ tool_choice: 'maybe' })).toEqual([400, 'tool_choice']);
    expect(await param({ model: 'ensemble' })).toEqual([400, 'tools']);
    expect(await param({ response_format: { type: 'json_object' } })).toEqual([400, 'response_format']);
    expect(await param({ messages: [...messages, { role: 'tool', content: '20' }] })).toEqual([
      400,
      'messages.1.tool_call_id',
    ]);
    const description = 'x'.repeat(900_000);
    const large = await of({ tools: [{ ...weather, function: { ...weather.function, description } }] });
    expect([large.status, large.param, large.message]).toEqual([
      400,
      'tools',
      expect.stringContaining('at most 131072'),
    ]);
    let deep: object = {};
    for (let level = 0; level < 500; level++) deep = { items: deep };
    expect(await param(withParameters(deep))).toEqual([400, 'tools.1']);
    expect((await of({ tools: [{ ...weather, padding: 'x'.repeat(1_100_000) }] })).status).toBe(413);
    expect(api.link.jobs).toEqual([]);
  });

  it('is told which field asks for what no engine can do', async () => {
    api.fleet.put(aDevice('jetson', ['math-q8_0', 'code-q8_0']));
    const error = await refusal(client.chat.completions.create({ ...asked, tool_choice: 'required' }));
    expect([error.status, error.param]).toEqual([400, 'tool_choice']);
    const { choices } = await client.chat.completions.create(asked);
    expect(choices[0]?.finish_reason).toBe('tool_calls');
  });
});
