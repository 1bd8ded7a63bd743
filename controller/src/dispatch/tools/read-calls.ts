import { MOST_SCHEMA_DEPTH, schemaDepth } from '@fleetgate/shared/protocol/grammar';

import { isSchema } from './json-schema.js';
import { withoutAbsent } from './schema-form.js';
import { MOST_CALLS, type ToolCall, type ToolOffer } from './tool.js';

/** What models of several families put before a call. */
export const CALL_TAG = '<tool_call>';
const BEFORE = /\s*(?:<\/?tool_call>\s*|```\w*\s*)*/y;
const BETWEEN = /\s*[,;]?\s*(?:<\/?tool_call>\s*|```\w*\s*)*/y;

/**
 * The calls that a text begins with: objects of a name and arguments, one after the other or in a list, bare, fenced or
 * tagged. What comes after them is left out: a model that writes on makes up what the tool would answer. Empty where
 * the text does not begin with a call of a tool that is offered. O(length).
 */
export function readCalls(text: string, offer: ToolOffer): readonly ToolCall[] {
  const most = offer.parallel ? MOST_CALLS : 1;
  const calls: ToolCall[] = [];
  let at = skip(BEFORE, text, 0);
  while (calls.length < most) {
    const end = valueEnd(text, at);
    if (end === undefined) break;
    const found = callsOf(parsed(text.slice(at, end)), offer);
    if (found === undefined) break;
    calls.push(...found);
    at = skip(BETWEEN, text, end);
  }
  return calls.slice(0, most);
}

/** Undefined for a value that is not all calls. */
function callsOf(value: unknown, offer: ToolOffer): readonly ToolCall[] | undefined {
  if (value === undefined || schemaDepth(value) > MOST_SCHEMA_DEPTH) return undefined;
  const found = (Array.isArray(value) ? value : [value]).map((one: unknown) => callOf(one, offer));
  return found.every((call) => call !== undefined) && found.length > 0 ? found : undefined;
}

function callOf(value: unknown, { tools, choice }: ToolOffer): ToolCall | undefined {
  if (!isSchema(value)) return undefined;
  const call = isSchema(value['function']) ? value['function'] : value;
  const { name } = call;
  const tool = tools.find((one) => one.name === name);
  if (tool === undefined || (typeof choice === 'object' && choice.name !== name)) return undefined;
  const told = call['arguments'] ?? call['parameters'] ?? {};
  const given = typeof told === 'string' ? parsed(told) : told;
  if (!isSchema(given) || schemaDepth(given) > MOST_SCHEMA_DEPTH) return undefined;
  const { parameters } = tool;
  return { name: tool.name, arguments: JSON.stringify(withoutAbsent(given, parameters, parameters)) };
}

/** Where the object or list ends that begins at `at`; undefined where none does, or it is cut off. */
function valueEnd(text: string, at: number): number | undefined {
  if (text[at] !== '{' && text[at] !== '[') return undefined;
  let depth = 0;
  let isText = false;
  for (let i = at; i < text.length; i++) {
    const character = text[i];
    if (isText) {
      if (character === '\\') i++;
      else if (character === '"') isText = false;
    } else if (character === '"') isText = true;
    else if (character === '{' || character === '[') depth++;
    else if ((character === '}' || character === ']') && --depth === 0) return i + 1;
  }
  return undefined;
}

function skip(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
