import Anthropic, { APIError } from '@anthropic-ai/sdk';
import { isFleetError } from '@fleetgate/shared/errors';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { API_KEY, openTestApi, type TestApi } from '../openai/test-api.fixture.js';
import type { ScriptedJob } from '../scripted-expert-link.js';
import { countTokens, parseMessages } from './messages-request.js';
import { rejection } from '../openai/rejection.fixture.js';

const CALL = '{"name": "weather", "arguments": {"city": "Paris"}}';

let api: TestApi;
let client: Anthropic;
let pieces: string[];
let reason: 'stop' | 'length';

function answer(job: ScriptedJob): void {
  job.accepted();
  for (const piece of pieces) job.tokens(piece);
  job.done(reason, { reusedTokens: 3 });
}

beforeEach(async () => {
  [pieces, reason] = [['two and two', ' is four'], 'stop'];
  api = await openTestApi(answer);
  client = new Anthropic({ baseURL: api.base, apiKey: API_KEY, maxRetries: 0 });
});

afterEach(() => api.close());

const asked = { model: 'auto', max_tokens: 9, messages: [{ role: 'user' as const, content: 'what is two and two?' }] };
/** Of the older API: the client's types know it no longer. */
const sampling: object = { temperature: 0.5 };
const weather: Anthropic.Tool = {
  name: 'weather',
  description: 'Tells the weather.',
  input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};

const refusal = (call: Promise<unknown>): Promise<APIError> => rejection(APIError, call);

describe('the messages of the Anthropic client', () => {
  it('are whole answers, with who gave them and what they cost', async () => {
    const { data, response, request_id } = await client.messages
      .create({
        ...asked,
        system: [{ type: 'text', text: 'be brief' }],
        stop_sequences: ['five'],
        metadata: { user_id: 'x' },
        ...sampling,
      })
      .withResponse();
    expect(data).toMatchObject({
      type: 'message',
      role: 'assistant',
      model: 'math-q8_0',
      content: [{ type: 'text', text: 'two and two is four' }],
      stop_reason: 'end_turn',
      usage: { input_tokens: 4, cache_read_input_tokens: 3, output_tokens: 3 },
    });
    expect(response.headers.get('x-fleetgate-device')).toBe('jetson');
    expect((await api.ledger.list({ limit: 1 }))[0]?.id).toBe(request_id);
    expect(api.link.jobs[0]?.job).toMatchObject({
      messages: [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: 'what is two and two?' },
      ],
      sampling: { maxTokens: 9, temperature: 0.5, stop: ['five'] },
    });
    reason = 'length';
    expect((await client.messages.create(asked)).stop_reason).toBe('max_tokens');
  });

  it('are streamed in events that its helper puts together', async () => {
    const kinds: string[] = [];
    const stream = client.messages.stream(asked);
    stream.on('streamEvent', ({ type }) => kinds.push(type));
    const whole = await stream.finalMessage();
    expect(await stream.finalText()).toBe('two and two is four');
    expect(whole).toMatchObject({ stop_reason: 'end_turn', usage: { input_tokens: 4, output_tokens: 3 } });
    const deltas = kinds.filter((kind) => kind === 'content_block_delta');
    expect(kinds).toEqual([
      'message_start',
      'content_block_start',
      ...deltas,
      'content_block_stop',
      'message_delta',
      'message_stop',
    ]);
  });

  it('use tools, and take what they answer', async () => {
    pieces = ['I look.\n<tool_call>', CALL, '</tool_call>'];
    const whole = await client.messages.create({ ...asked, tools: [weather] });
    const streamed = await client.messages.stream({ ...asked, tools: [weather] }).finalMessage();
    for (const { content, stop_reason } of [whole, streamed]) {
      expect(stop_reason).toBe('tool_use');
      expect(content).toMatchObject([
        { type: 'text', text: 'I look.\n' },
        { type: 'tool_use', name: 'weather', input: { city: 'Paris' } },
      ]);
    }
    const [, made] = whole.content;
    if (made?.type !== 'tool_use') throw new Error('expected a call');
    pieces = ['It is warm.'];
    await client.messages.create({
      ...asked,
      tools: [weather],
      messages: [
        ...asked.messages,
        { role: 'assistant', content: whole.content },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: made.id, content: [{ type: 'text', text: '20 degrees' }] },
            { type: 'tool_result', tool_use_id: 'x', is_error: true, content: 'lost' },
            { type: 'text', text: 'And tomorrow?' },
          ],
        },
      ],
    });
    expect(api.link.jobs[2]?.job).toMatchObject({
      messages: [
        { role: 'system' },
        asked.messages[0],
        { role: 'assistant', content: 'I look.\n\n{"name":"weather","arguments":{"city":"Paris"}}' },
        { role: 'user', content: 'Result of weather: 20 degrees\n\nResult of the call: error: lost\n\nAnd tomorrow?' },
      ],
    });
    pieces = [CALL];
    for (const tool_choice of [{ type: 'any' as const }, { type: 'tool' as const, name: 'weather' }]) {
      const forced = await client.messages.create({ ...asked, tools: [weather], tool_choice });
      expect(forced.content.map(({ type }) => type)).toEqual(['tool_use']);
    }
    expect(api.link.jobs[4]?.job).toMatchObject({ grammar: { kind: 'json-schema' } });
    const none = await client.messages.create({ ...asked, tools: [weather], tool_choice: { type: 'none' } });
    expect(none.content).toMatchObject([{ type: 'text', text: CALL }]);
  });

  it('are counted without a model', async () => {
    const { input_tokens: short } = await client.messages.countTokens({ model: 'auto', messages: asked.messages });
    const { input_tokens: long } = await client.messages.countTokens({
      model: 'auto',
      messages: asked.messages,
      tools: [weather],
      system: 'be brief',
    });
    expect(short).toBe(6);
    expect(long).toBeGreaterThan(short);
    expect(api.link.jobs).toEqual([]);
  });

  it('fail in the words of that API, before they begin and after it', async () => {
    const of = async (fields: object) => {
      const { status, error } = await refusal(client.messages.create({ ...asked, ...fields }));
      return { status, body: error as { type: string; error: { type: string; param: string | null } } };
    };
    expect(await of({ model: 'nobody' })).toMatchObject({
      status: 404,
      body: { type: 'error', error: { type: 'not_found_error', message: expect.stringContaining('nobody') } },
    });
    expect(await of({ max_tokens: undefined })).toMatchObject({
      status: 400,
      body: { error: { type: 'invalid_request_error', param: 'max_tokens' } },
    });
    api.policy = undefined;
    expect(await of({})).toMatchObject({ status: 503, body: { error: { type: 'overloaded_error' } } });
    const stranger = new Anthropic({ baseURL: api.base, apiKey: 'wrong', maxRetries: 0 });
    const unknown = await refusal(stranger.messages.create(asked));
    expect([unknown.status, unknown.type]).toEqual([401, 'authentication_error']);
    const broken = await fetch(`${api.base}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': API_KEY, 'content-type': 'application/json' },
      body: '{"model":',
    });
    expect([broken.status, await broken.json()]).toMatchObject([400, { type: 'error', request_id: expect.anything() }]);
  });

  it('end with an error where the device is lost', async () => {
    api.link.behave = (job) => {
      job.accepted();
      job.tokens('two');
      api.fleet.offline('jetson');
    };
    const error = await refusal(client.messages.stream(asked).finalMessage());
    expect(error.message).toContain('device_lost');
    expect(error.type).toBe('api_error');
  });

  it.each<[object, string]>([
    [{ messages: [] }, 'messages'],
    [{ messages: [{ role: 'system', content: 'x' }] }, 'messages.0.role'],
    [{ messages: [{ role: 'user', content: 5 }] }, 'messages.0.content'],
    [{ messages: [{ role: 'user', content: [{ type: 'image' }] }] }, 'messages.0.content.0.type'],
    [{ messages: [{ role: 'user', content: [{ type: 'tool_result' }] }] }, 'messages.0.content.0.tool_use_id'],
    [
      { messages: [{ role: 'assistant', content: [{ type: 'tool_use', id: 'a', name: 'b' }] }] },
      'messages.0.content.0.input',
    ],
    [{ system: 5 }, 'system'],
    [{ stop_sequences: 'x' }, 'stop_sequences'],
    [{ tools: [{ type: 'web_search_20250305', name: 'web_search' }] }, 'tools.0.type'],
    [{ tools: [{ ...weather, input_schema: { type: 'x' } }] }, 'tools.0.input_schema'],
    [{ tools: [weather], tool_choice: { type: 'tool', name: 'x' } }, 'tool_choice.name'],
    [{ tool_choice: { type: 'any' } }, 'tool_choice'],
  ])('refuse %j and name %s', (fields, param) => {
    let refused: unknown;
    try {
      parseMessages({ ...asked, ...fields });
    } catch (error) {
      refused = error;
    }
    expect(isFleetError(refused, 'request.invalid') && refused.context['param']).toBe(param);
  });

  it('answer any body with a request or with request.invalid', () => {
    const block = fc.record({
      type: fc.constantFrom('text', 'tool_use', 'tool_result', 1),
      text: fc.anything(),
      content: fc.anything(),
    });
    const content = fc.oneof(fc.array(block), fc.anything());
    const messages = fc.array(fc.record({ role: fc.constantFrom('user', 'assistant'), content }));
    const body = fc.record({ model: fc.constant('auto'), max_tokens: fc.constant(5), messages, system: fc.anything() });
    fc.assert(
      fc.property(fc.oneof(body, fc.anything()), fc.constantFrom(parseMessages, countTokens), (value, parse) => {
        try {
          parse(value);
        } catch (error) {
          if (!isFleetError(error, 'request.invalid')) throw error;
        }
      }),
    );
  });
});
