import { isFleetError } from '@fleetgate/shared/errors';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { gateText } from '../prompt.js';
import { parseChat } from './chat-request.js';
import { parseJsonBody } from './json-body.js';
import { promptsOf } from './prompts-of.js';
import { parseCompletion, parseScore } from './schema.js';

const messages = [{ role: 'user', content: 'hi' }];
const chat = (fields: object) => parseChat({ model: 'auto', messages, ...fields });

/** The field that a refusal names; undefined when `parse` accepts. */
function paramOf(parse: () => unknown): unknown {
  try {
    parse();
    return undefined;
  } catch (error) {
    if (!isFleetError(error, 'request.invalid')) throw error;
    return error.context['param'];
  }
}

describe('parseChat', () => {
  it('fills in what is left out, and takes null for it', () => {
    const { prompt, stream, includeUsage, explain } = chat({
      temperature: null,
      stop: null,
      seed: null,
      fleetgate: null,
    });
    expect(prompt.sampling).toEqual({ maxTokens: 512, temperature: 1, topP: 1, stop: [] });
    expect(prompt.limits).toEqual({ energy: undefined, latency: undefined });
    expect([stream, includeUsage, explain]).toEqual([false, false, false]);
  });

  it('takes what is asked for', () => {
    const { prompt, explain } = chat({
      max_tokens: 9,
      max_completion_tokens: 7,
      temperature: 0.2,
      top_p: 0.9,
      seed: -3,
      stop: ['a', ''],
      fleetgate: { energyJ: 3, latencyMs: 900, mode: 'auto:eco', explain: true },
      tools: [],
      metadata: { anything: 1 },
    });
    expect(prompt.sampling).toEqual({ maxTokens: 7, temperature: 0.2, topP: 0.9, seed: -3, stop: ['a'] });
    expect(prompt).toMatchObject({ mode: 'eco', limits: { energy: 3, latency: 900 } });
    expect(explain).toBe(true);
    expect(chat({ stop: 'x', top_p: 0 }).prompt.sampling).toMatchObject({ stop: ['x'], temperature: 0, topP: 1 });
  });

  it('joins text parts, and scores the last thing the user said', () => {
    const { prompt } = chat({
      messages: [
        { role: 'developer', content: 'be brief' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'what ' },
            { type: 'text', text: 'is it?' },
          ],
        },
        { role: 'assistant', content: null, tool_calls: [] },
        { role: 'assistant', tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }] },
      ],
    });
    expect(prompt.input).toEqual({
      kind: 'chat',
      messages: [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: 'what is it?' },
        { role: 'assistant', content: '' },
        { role: 'assistant', content: '{"name":"f","arguments":{}}' },
      ],
    });
    expect(gateText(prompt.input)).toBe('what is it?');
  });

  it.each<[object, string]>([
    [{ model: '' }, 'model'],
    [{ model: 7 }, 'model'],
    [{ messages: 'hi' }, 'messages'],
    [{ messages: [] }, 'messages'],
    [{ messages: [{ role: 'user', content: '  ' }] }, 'messages'],
    [{ messages: [{ role: 'robot', content: 'x' }] }, 'messages.0.role'],
    [{ messages: [{ role: 'user', content: 5 }] }, 'messages.0.content'],
    [{ messages: [...messages, { role: 'user', content: [{ type: 'image_url' }] }] }, 'messages.1.content.0.type'],
    [{ max_tokens: 0 }, 'max_tokens'],
    [{ temperature: 2.1 }, 'temperature'],
    [{ top_p: -1 }, 'top_p'],
    [{ n: 0 }, 'n'],
    [{ n: 9 }, 'n'],
    [{ n: 3, fleetgate: { maxCalls: 2 } }, 'n'],
    [{ seed: 1.5 }, 'seed'],
    [{ stop: Array.from({ length: 17 }, () => 'x') }, 'stop'],
    [{ stream: 'yes' }, 'stream'],
    [{ response_format: 'json' }, 'response_format'],
    [{ response_format: { type: 'xml' } }, 'response_format.type'],
    [{ response_format: { type: 'json_schema' } }, 'response_format.json_schema'],
    [{ response_format: { type: 'json_schema', json_schema: { schema: [] } } }, 'response_format.json_schema.schema'],
    [{ response_format: { type: 'json_object' }, grammar: 'root ::= "a"' }, 'grammar'],
    [{ model: 'ensemble', response_format: { type: 'json_object' } }, 'response_format'],
    [{ model: 'auto', fleetgate: { mode: 'vote' }, logprobs: true }, 'logprobs'],
    [{ logprobs: 5 }, 'logprobs'],
    [{ top_logprobs: 2 }, 'top_logprobs'],
    [{ logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
    [{ fleetgate: { energyJ: -1 } }, 'fleetgate.energyJ'],
    [{ fleetgate: { mode: 'wild' } }, 'fleetgate.mode'],
  ])('refuses %j and names %s', (fields, param) => {
    expect(paramOf(() => chat(fields))).toBe(param);
  });
});

describe('promptsOf', () => {
  it('shares out what the client allows, and gives each answer a seed of its own', () => {
    const request = chat({ n: 2, seed: 7, fleetgate: { energyJ: 3, maxCalls: 5, latencyMs: 900 } });
    expect(promptsOf(request)).toMatchObject([
      { sampling: { seed: 7 }, limits: { energy: 1.5, calls: 2, latency: 900 } },
      { sampling: { seed: 8 }, limits: { energy: 1.5, calls: 2, latency: 900 } },
    ]);
    const [first, second] = promptsOf(chat({ n: 2 }));
    expect(first?.sampling).toEqual(second?.sampling);
    expect(promptsOf(chat({}))).toHaveLength(1);
  });
});

describe('the form of an answer', () => {
  const schema = { type: 'object', properties: { sure: { type: 'boolean' } } };
  const formOf = (fields: object) => chat(fields).prompt.grammar;

  it('is any text, an object, what a schema says, or a grammar', () => {
    for (const fields of [{}, { response_format: null }, { response_format: { type: 'text' } }, { grammar: '' }]) {
      expect(formOf(fields)).toBeUndefined();
    }
    expect(formOf({ response_format: { type: 'json_object' } })?.kind).toBe('gbnf');
    const strict = { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } };
    expect(formOf({ response_format: strict })).toEqual({ kind: 'json-schema', schema });
    expect(formOf({ grammar: 'root ::= "a"' })).toEqual({ kind: 'gbnf', text: 'root ::= "a"' });
    expect(parseCompletion({ model: 'a', prompt: 'x', grammar: 'root ::= "a"' }).prompt.grammar?.kind).toBe('gbnf');
  });

  it('is no schema that nothing could walk through', () => {
    const deep = JSON.parse(`${'{"items":'.repeat(100_000)}{}${'}'.repeat(100_000)}`) as object;
    const response_format = { type: 'json_schema', json_schema: { name: 'answer', schema: deep } };
    expect(paramOf(() => chat({ response_format }))).toBe('response_format.json_schema.schema');
  });

  it('tells as many likeliest tokens as are asked for', () => {
    expect(chat({}).prompt.topLogProbs).toBeUndefined();
    expect(chat({ logprobs: false }).prompt.topLogProbs).toBeUndefined();
    expect(chat({ logprobs: true }).prompt.topLogProbs).toBe(0);
    expect(chat({ logprobs: true, top_logprobs: 3 }).prompt.topLogProbs).toBe(3);
    expect(parseCompletion({ model: 'a', prompt: 'x', logprobs: 2 }).prompt.topLogProbs).toBe(2);
  });
});

describe('the others', () => {
  it('takes one prompt, as text or as a list of one', () => {
    expect(parseCompletion({ model: 'a', prompt: ['x'] }).prompt.input).toEqual({ kind: 'complete', prompt: 'x' });
    expect(parseCompletion({ model: 'a', prompt: 'x' }).prompt.sampling.maxTokens).toBe(16);
    expect(paramOf(() => parseCompletion({ model: 'a', prompt: ['x', 'y'] }))).toBe('prompt');
    expect(paramOf(() => parseCompletion({ model: 'a', prompt: '' }))).toBe('prompt');
    expect(paramOf(() => parseScore({ model: 'a', prompt: 'x', completion: '' }))).toBe('completion');
  });

  it('answers any body with a request or with request.invalid', () => {
    fc.assert(
      fc.property(fc.anything(), fc.constantFrom(parseChat, parseCompletion, parseScore), (body, parse) => {
        paramOf(() => parse(body));
      }),
    );
    const call = fc.record({
      id: fc.constant('a'),
      function: fc.record({ name: fc.string(), arguments: fc.string() }),
    });
    const message = fc.record(
      {
        role: fc.constantFrom('user', 'assistant', 'tool', 'system'),
        content: fc.oneof(fc.string(), fc.anything()),
        tool_calls: fc.oneof(fc.array(call), fc.anything()),
        tool_call_id: fc.constantFrom('a', null, 1),
      },
      { requiredKeys: ['role'] },
    );
    const parameters = fc.oneof(fc.object(), fc.anything());
    const tool = fc.record({
      type: fc.constant('function'),
      function: fc.record({ name: fc.constant('f'), parameters }),
    });
    const choice = fc.constantFrom('auto', 'required', 'none', { type: 'function', function: { name: 'f' } });
    const asked = fc.record({
      model: fc.constantFrom('auto', 'math'),
      messages: fc.array(message),
      tools: fc.array(tool, { maxLength: 2 }),
      tool_choice: choice,
    });
    fc.assert(fc.property(asked, (body) => void paramOf(() => parseChat(body))));
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void paramOf(() => parseJsonBody(bytes))));
  });
});
