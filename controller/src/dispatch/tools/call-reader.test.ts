import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { CallReader } from './call-reader.js';
import { MOST_CALLS, type ToolChoice, type ToolOffer } from './tool.js';

const parameters = {
  type: 'object',
  properties: { city: { type: 'string' }, days: { type: 'integer' } },
  required: ['city'],
};
const tools = [
  { name: 'weather', parameters },
  { name: 'now', parameters: { type: 'object', properties: {} } },
];
const offer = (choice: ToolChoice = 'auto', parallel = true): ToolOffer => ({ tools, choice, parallel });

/** An answer that comes in the given pieces: what was told while it came, and what its end has made of it. */
function read(pieces: readonly string[], of = offer()) {
  const reader = new CallReader(of);
  const told = pieces.map((piece) => reader.push(piece)).join('');
  const { text, calls } = reader.end();
  return { told, text: told + text, calls: calls.map(({ name, arguments: given }) => `${name}${given}`) };
}

const paris = 'weather{"city":"Paris"}';

describe('CallReader', () => {
  it.each<[string, readonly string[]]>([
    ['{"name":"weather","arguments":{"city":"Paris"}}', [paris]],
    ['\n {"name": "weather", "parameters": {"city": "Paris"}}', [paris]],
    ['{"name":"weather","arguments":"{\\"city\\":\\"Paris\\"}"}', [paris]],
    ['{"type":"function","function":{"name":"weather","arguments":{"city":"Paris"}}}', [paris]],
    ['{"name":"weather","arguments":{"city":"Paris","days":null}}', [paris]],
    ['```json\n{"name":"now"}\n```', ['now{}']],
    [
      '<tool_call>\n{"name":"now","arguments":{}}\n</tool_call>\n<tool_call>{"name":"now"}</tool_call>',
      ['now{}', 'now{}'],
    ],
    ['[{"name":"now"}, {"name":"weather","arguments":{"city":"a}]\\""}}]', ['now{}', 'weather{"city":"a}]\\""}']],
    ['{"name":"now"}\nResult: it is noon.', ['now{}']],
    ['{"name":"now"};{"name":"now"}', ['now{}', 'now{}']],
  ])('reads %j as calls, however it comes', (answer, calls) => {
    for (const pieces of [[answer], Array.from(answer)]) expect(read(pieces)).toEqual({ told: '', text: '', calls });
  });

  it.each([
    ['It is warm.'],
    ['{"answer": 4}'],
    ['{}'],
    ['[1, 2]'],
    ['{"name":"nobody","arguments":{}}'],
    ['{"name":"weather","arguments":{"city":"Par'],
    ['{"name":"weather","arguments":[1]}'],
    ['```python\nprint(1)\n```'],
    ['a <tool_call>{"name":"nobody"}</tool_call>'],
    ['<tool'],
    [''],
  ])('reads %j as words', (answer) => {
    for (const pieces of [[answer], Array.from(answer)])
      expect(read(pieces)).toMatchObject({ text: answer, calls: [] });
  });

  it('tells words that come before a tag at once, and what cannot be a call as soon as that is clear', () => {
    expect(read(['I look. ', '<tool_', 'call>{"name":"now"}'])).toEqual({
      told: 'I look. ',
      text: 'I look. ',
      calls: ['now{}'],
    });
    expect(read(['<think>Paris.</thi', 'nk>\n', '{"name":"now"}'])).toEqual({
      told: '<think>Paris.</think>',
      text: '<think>Paris.</think>',
      calls: ['now{}'],
    });
    expect(read(['{', '"ans', 'wer": 4}']).told).toBe('{"answer": 4}');
    expect(read([' '.repeat(300), 'x']).told).toBe(`${' '.repeat(300)}x`);
  });

  it('keeps to what was chosen and to one call where only one is wanted', () => {
    const two = '[{"name":"now"},{"name":"weather","arguments":{"city":"Paris"}}]';
    expect(read([two], offer('auto', false)).calls).toEqual(['now{}']);
    expect(read(['{"name":"weather","arguments":{"city":"x"}}'], offer({ name: 'now' })).calls).toEqual([]);
    expect(read(['{"name":"now"}'.repeat(MOST_CALLS + 3)]).calls).toHaveLength(MOST_CALLS);
    expect(read(['no JSON'], offer('required'))).toEqual({ told: '', text: 'no JSON', calls: [] });
  });

  it('loses nothing of any answer without a call, and says the same however it comes', () => {
    const piece = fc.constantFrom(
      '{',
      '"name"',
      ':',
      '"now"',
      '}',
      '<tool_call>',
      '</think>',
      '<tool',
      '```',
      '[',
      ']',
      ' ',
      'a',
      '"',
      '\\',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), fc.constantFrom(offer(), offer('required')), (pieces, of) => {
        const [whole, split] = [read([pieces.join('')], of), read(pieces, of)];
        expect(split.text).toBe(whole.text);
        expect(split.calls).toEqual(whole.calls);
        if (whole.calls.length === 0) expect(whole.text).toBe(pieces.join(''));
      }),
    );
  });
});
