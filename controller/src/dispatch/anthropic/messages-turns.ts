import { z } from 'zod';

import { invalid } from '../openai/invalid-field.js';
import { read } from '../openai/schema.js';
import type { ToolCall } from '../tools/tool.js';
import type { Turn } from '../tools/turn.js';
import { MOST_SCHEMA_DEPTH, schemaDepth } from '@fleetgate/shared/protocol/grammar';

const message = z.object({
  role: z.enum(['user', 'assistant'], 'expected user or assistant'),
  content: z.unknown().optional(),
});
const block = z.object({ type: z.string('expected a type') });
const blocks = z.union([z.string(), z.array(z.unknown())], 'expected text or a list of blocks');
const textBlock = z.object({ text: z.string('expected text') });
const toolUse = z.object({
  id: z.string('expected the id of a call').max(200),
  name: z.string('expected a name').max(200),
  input: z.record(z.string(), z.unknown(), 'expected an object'),
});
const toolResult = z.object({
  tool_use_id: z.string('expected the id of a call').max(200),
  content: z.unknown().optional(),
  is_error: z.boolean().nullish(),
});
/** What a model thought is not told to the next one. */
const THOUGHTS: ReadonlySet<string> = new Set(['thinking', 'redacted_thinking']);

/** The text of `system`: text, or blocks of it. */
export function systemText(system: unknown): string {
  return system === undefined || system === null ? '' : textOf(system, ['system']);
}

/** The turns of `messages`; what a tool answered is a turn of its own. Throws `request.invalid` naming the block. */
export function messageTurns(messages: readonly unknown[]): readonly Turn[] {
  return messages.flatMap((value, at): readonly Turn[] => {
    const path = ['messages', at];
    const { role, content } = read(message, value, path);
    const said = read(blocks, content, [...path, 'content']);
    if (typeof said === 'string') return [role === 'user' ? { role, text: said } : { role, text: said, calls: [] }];
    return role === 'user' ? userTurns(said, path) : [assistantTurn(said, path)];
  });
}

function userTurns(said: readonly unknown[], path: readonly PropertyKey[]): readonly Turn[] {
  const turns: Turn[] = [];
  said.forEach((value, index) => {
    const at = [...path, 'content', index];
    const { type } = read(block, value, at);
    if (type === 'tool_result') {
      const { tool_use_id: callId, content, is_error: failed } = read(toolResult, value, at);
      const text = content === undefined || content === null ? '' : textOf(content, [...at, 'content']);
      turns.push({ role: 'tool', callId, text: failed === true ? `error: ${text}` : text });
      return;
    }
    const text = textIn(value, type, at);
    const last = turns.at(-1);
    if (last?.role === 'user') turns[turns.length - 1] = { role: 'user', text: `${last.text}${text}` };
    else turns.push({ role: 'user', text });
  });
  return turns;
}

function assistantTurn(said: readonly unknown[], path: readonly PropertyKey[]): Turn {
  let text = '';
  const calls: (ToolCall & { readonly id: string })[] = [];
  said.forEach((value, index) => {
    const at = [...path, 'content', index];
    const { type } = read(block, value, at);
    if (THOUGHTS.has(type)) return;
    if (type !== 'tool_use') {
      text += textIn(value, type, at);
      return;
    }
    const { id, name, input } = read(toolUse, value, at);
    if (schemaDepth(input) > MOST_SCHEMA_DEPTH) throw invalid([...at, 'input'].join('.'), 'nested too deep');
    calls.push({ id, name, arguments: JSON.stringify(input) });
  });
  return { role: 'assistant', text, calls };
}

function textOf(content: unknown, path: readonly PropertyKey[]): string {
  const said = read(blocks, content, path);
  if (typeof said === 'string') return said;
  return said
    .map((value, index) => {
      const at = [...path, index];
      return textIn(value, read(block, value, at).type, at);
    })
    .join('');
}

function textIn(value: unknown, type: string, path: readonly PropertyKey[]): string {
  if (type === 'text') return read(textBlock, value, path).text;
  throw invalid([...path, 'type'].map(String).join('.'), `only blocks of text are supported, got ${type.slice(0, 40)}`);
}
