import { z } from 'zod';

import type { Turn } from '../tools/turn.js';
import { invalid } from './invalid-field.js';
import { read } from './schema.js';

const TEXT_PARTS: ReadonlySet<string> = new Set(['input_text', 'output_text', 'text']);

const part = z.object({ type: z.string(), text: z.string().optional() });
const content = z.union([z.string(), z.array(part)], 'expected text or a list of parts');

const entry = z.object({ type: z.string().nullish() });
const message = z.object({
  role: z.enum(['system', 'developer', 'user', 'assistant'], 'expected system, developer, user or assistant'),
  content,
});
const call = z.object({
  call_id: z.string('expected the id of a call').max(200),
  name: z.string('expected a name').max(200),
  arguments: z.string('expected JSON as text'),
});
const output = z.object({ call_id: z.string('expected the id of a call').max(200), output: content });

/**
 * The turns of a conversation in `input`. A call belongs to what the model said just before it; what it thought is left
 * out. Throws `request.invalid` naming the entry.
 */
export function inputTurns(input: string | readonly unknown[]): readonly Turn[] {
  if (typeof input === 'string') return input.trim() === '' ? [] : [{ role: 'user', text: input }];
  const turns: Turn[] = [];
  input.forEach((value, at) => {
    const path = ['input', at];
    const { type } = read(entry, value, path);
    switch (type ?? 'message') {
      case 'message': {
        const { role, content: said } = read(message, value, path);
        const text = textOf(said, `input.${at}.content`);
        if (role === 'assistant') turns.push({ role, text, calls: [] });
        else turns.push({ role: role === 'user' ? 'user' : 'system', text });
        return;
      }
      case 'function_call': {
        const { call_id: id, name, arguments: given } = read(call, value, path);
        const last = turns.at(-1);
        const made = { id, name, arguments: given };
        if (last?.role !== 'assistant') turns.push({ role: 'assistant', text: '', calls: [made] });
        else turns[turns.length - 1] = { ...last, calls: [...last.calls, made] };
        return;
      }
      case 'function_call_output': {
        const { call_id: callId, output: told } = read(output, value, path);
        turns.push({ role: 'tool', callId, text: textOf(told, `input.${at}.output`) });
        return;
      }
      case 'reasoning':
        return;
      default:
        throw invalid(`input.${at}.type`, `expected message, function_call or function_call_output, got ${type}`);
    }
  });
  return turns;
}

function textOf(said: z.infer<typeof content>, field: string): string {
  if (typeof said === 'string') return said;
  return said
    .map(({ type, text }, at) => {
      if (TEXT_PARTS.has(type)) return text ?? '';
      throw invalid(`${field}.${at}.type`, `only parts of text are supported, got ${type.slice(0, 40)}`);
    })
    .join('');
}
