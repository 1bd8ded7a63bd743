import { describe, expect, it } from 'vitest';

import { paramsOf } from './boards.js';
import { parseChurn, parseTrace } from './trace.js';

describe('parseTrace', () => {
  it('reads what the public traces call their columns, in any order, sorted by time', () => {
    expect(parseTrace('t_s,context_tokens,generated_tokens\n2.5,374,44\n0,10,0\n', 'azure')).toEqual([
      { atMs: 0, promptTokens: 10, outputTokens: 1 },
      { atMs: 2500, promptTokens: 374, outputTokens: 44 },
    ]);
    expect(parseTrace('output_tokens,t_s,input_tokens\r\n500,0.0,6758\r\n', 'mooncake')).toEqual([
      { atMs: 0, promptTokens: 6758, outputTokens: 500 },
    ]);
  });

  it.each([
    ['no header that it knows', 'a,b\n1,2', /expected a column t_s/],
    ['words for numbers', 't_s,input_tokens,output_tokens\n0,many,2', /line 2, context_tokens.*got "many"/],
    ['a short line', 't_s,input_tokens,output_tokens\n0,1', /line 2, generated_tokens.*got null/],
    ['negative time', 't_s,input_tokens,output_tokens\n-1,1,1', /line 2, t_s/],
  ])('says what is wrong with %s', (_, text, message) => {
    expect(() => parseTrace(text, 'file')).toThrow(message);
  });
});

describe('parseChurn', () => {
  it('reads joins and losses, and says what is neither', () => {
    expect(parseChurn('t_s,event,node\n480.0,add,node1\n', 'spot')).toEqual([
      { atMs: 480_000, kind: 'add', node: 'node1' },
    ]);
    expect(() => parseChurn('t_s,event,node\n0,gone,node1\n', 'spot')).toThrow(/line 2, event.*add or remove.*"gone"/);
  });
});

describe('paramsOf', () => {
  it.each([
    ['gemma-2-9b-it', 9],
    ['Meta-Llama-3.1-70B-Instruct', 70],
    ['Yi-1.5-34B-Chat', 34],
    ['Qwen2.5-0.5B', 0.5],
    ['Phi-3.5-mini-instruct', 3.82],
    ['math', undefined],
    ['gpt-4o-2024-05-13', undefined],
  ])('knows the size of %s from its name: %s', (name, size) => {
    expect(paramsOf(name)).toBe(size);
  });
});
