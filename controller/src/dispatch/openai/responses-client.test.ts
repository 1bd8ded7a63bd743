import { isFleetError } from '@fleetgate/shared/errors';
import * as fc from 'fast-check';
import type OpenAI from 'openai';
import { APIError } from 'openai';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { aDevice } from '../dispatch-fixtures.js';
import type { ScriptedJob } from '../scripted-expert-link.js';
import { parseResponses } from './responses-request.js';
import { openTestApi, type TestApi } from './test-api.fixture.js';
import { rejection } from './rejection.fixture.js';

const CALL = '{"name": "weather", "arguments": {"city": "Paris"}}';

let api: TestApi;
let client: OpenAI;
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
  ({ client } = api);
});

afterEach(() => api.close());

const asked = { model: 'auto', input: 'what is two and two?' };
const weather: OpenAI.Responses.FunctionTool = {
  type: 'function',
  name: 'weather',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  strict: false,
};

const refusal = (call: Promise<unknown>): Promise<APIError> => rejection(APIError, call);

describe('the responses of the openai client', () => {
  it('are whole answers, with who gave them and what they cost', async () => {
    const { data, response } = await client.responses
      .create({ ...asked, instructions: 'be brief', max_output_tokens: 9, temperature: 0.5, store: false })
      .withResponse();
    expect(data).toMatchObject({
      object: 'response',
      status: 'completed',
      model: 'math-q8_0',
      output_text: 'two and two is four',
      instructions: 'be brief',
      store: false,
      error: null,
      usage: { input_tokens: 7, output_tokens: 3, total_tokens: 10, input_tokens_details: { cached_tokens: 3 } },
    });
    expect(response.headers.get('x-fleetgate-device')).toBe('jetson');
    expect(response.headers.get('x-request-id')).toMatch(/^req-/);
    expect(api.link.jobs[0]?.job).toMatchObject({
      messages: [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: 'what is two and two?' },
      ],
      sampling: { maxTokens: 9, temperature: 0.5 },
    });
    reason = 'length';
    const cut = await client.responses.create(asked);
    expect([cut.status, cut.incomplete_details?.reason]).toEqual(['incomplete', 'max_output_tokens']);
  });

  it('are streamed in events that its helper puts together', async () => {
    const kinds: string[] = [];
    const stream = client.responses.stream(asked);
    stream.on('event', ({ type }) => kinds.push(type));
    const whole = await stream.finalResponse();
    expect(whole).toMatchObject({
      status: 'completed',
      output_text: 'two and two is four',
      usage: { total_tokens: 10 },
    });
    expect(kinds).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      ...(kinds.filter((kind) => kind === 'response.output_text.delta').length > 1
        ? ['response.output_text.delta']
        : []),
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ]);
    let at = 0;
    for await (const event of await client.responses.create({ ...asked, stream: true })) {
      expect(event.sequence_number).toBe(at++);
    }
    reason = 'length';
    expect((await client.responses.stream(asked).finalResponse()).status).toBe('incomplete');
  });

  it('call functions, and take what they answer', async () => {
    pieces = ['I look.\n<tool_call>', CALL, '</tool_call>'];
    const whole = await client.responses.create({ ...asked, tools: [weather] });
    const streamed = await client.responses.stream({ ...asked, tools: [weather] }).finalResponse();
    const [, made] = whole.output;
    if (made?.type !== 'function_call') throw new Error('expected a call');
    for (const { output } of [whole, streamed]) {
      expect(output).toMatchObject([
        { type: 'message', content: [{ type: 'output_text', text: 'I look.\n' }] },
        { type: 'function_call', name: 'weather', arguments: '{"city":"Paris"}', status: 'completed' },
      ]);
    }
    pieces = [CALL];
    const forced = await client.responses.create({
      ...asked,
      tools: [weather],
      tool_choice: { type: 'function', name: 'weather' },
    });
    expect(forced.output.map(({ type }) => type)).toEqual(['function_call']);
    expect(api.link.jobs[2]?.job).toMatchObject({ grammar: { kind: 'json-schema' } });
    pieces = ['It is warm.'];
    const told = await client.responses.create({
      model: 'auto',
      tools: [weather],
      input: [
        { role: 'user', content: [{ type: 'input_text', text: 'how warm is it?' }] },
        ...(whole.output as OpenAI.Responses.ResponseInputItem[]),
        { type: 'function_call_output', call_id: made.call_id, output: '20 degrees' },
      ],
    });
    expect(told.output_text).toBe('It is warm.');
    expect(api.link.jobs[3]?.job).toMatchObject({
      messages: [
        { role: 'system' },
        { role: 'user', content: 'how warm is it?' },
        { role: 'assistant', content: 'I look.\n\n{"name":"weather","arguments":{"city":"Paris"}}' },
        { role: 'user', content: 'Result of weather: 20 degrees' },
      ],
    });
  });

  it('keep to a schema', async () => {
    pieces = ['{"sum": 4}'];
    const schema = { type: 'object', properties: { sum: { type: 'number' } } };
    const format = { type: 'json_schema' as const, name: 'sum', schema };
    const { output_text } = await client.responses.create({ ...asked, text: { format } });
    expect(output_text).toBe('{"sum": 4}');
    expect(api.link.jobs[0]?.job).toMatchObject({ grammar: { kind: 'json-schema', schema } });
    api.fleet.put(aDevice('jetson', ['math-q8_0', 'code-q8_0']));
    const error = await refusal(client.responses.create({ ...asked, text: { format } }));
    expect([error.status, error.param]).toEqual([400, 'text.format']);
  });

  it('fail with a status before they begin, and with an event after that', async () => {
    expect(await refusal(client.responses.create({ ...asked, model: 'nobody', stream: true }))).toMatchObject({
      status: 404,
      code: 'model_not_found',
    });
    api.link.behave = (job) => {
      job.accepted();
      job.tokens('two');
      api.fleet.offline('jetson');
    };
    const failed = await client.responses.stream(asked).finalResponse();
    expect([failed.status, failed.error?.code]).toEqual(['failed', 'device_lost']);
  });

  it.each<[object, string]>([
    [{ previous_response_id: 'resp_1' }, 'previous_response_id'],
    [{ store: true }, 'store'],
    [{ background: true }, 'background'],
    [{ conversation: 'conv_1' }, 'conversation'],
    [{ input: '' }, 'input'],
    [{ input: [] }, 'input'],
    [{ input: [{ role: 'robot', content: 'x' }] }, 'input.0.role'],
    [{ input: [{ type: 'item_reference', id: 'x' }] }, 'input.0.type'],
    [{ input: [{ role: 'user', content: [{ type: 'input_image' }] }] }, 'input.0.content.0.type'],
    [{ max_output_tokens: 0 }, 'max_output_tokens'],
    [{ text: { format: { type: 'json_schema', name: 'a' } } }, 'text.format.schema'],
    [{ model: 'ensemble', text: { format: { type: 'json_object' } } }, 'text.format'],
    [{ tools: [{ type: 'web_search' }] }, 'tools.0.type'],
    [{ tools: [{ ...weather, parameters: { type: 'x' } }] }, 'tools.0.parameters'],
    [{ tools: [weather], tool_choice: { type: 'function', name: 'x' } }, 'tool_choice.name'],
    [{ tools: [weather], text: { format: { type: 'json_object' } } }, 'text.format'],
  ])('refuse %j and name %s', async (fields, param) => {
    const error = await refusal(client.responses.create({ ...asked, ...fields }));
    expect([error.status, error.type, error.param]).toEqual([400, 'invalid_request_error', param]);
    expect(api.link.jobs).toEqual([]);
  });

  it('answer any body with a request or with request.invalid', () => {
    const input = fc.array(
      fc.record({
        type: fc.constantFrom('message', 'function_call', 1, null),
        role: fc.anything(),
        content: fc.anything(),
      }),
    );
    const body = fc.oneof(
      fc.anything(),
      fc.record({ model: fc.constant('auto'), input: fc.oneof(input, fc.anything()), tools: fc.anything() }),
    );
    fc.assert(
      fc.property(body, (value) => {
        try {
          parseResponses(value);
        } catch (error) {
          if (!isFleetError(error, 'request.invalid')) throw error;
        }
      }),
    );
  });
});
