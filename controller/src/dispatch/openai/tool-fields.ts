import { MOST_SCHEMA_DEPTH, schemaDepth } from '@fleetgate/shared/protocol/grammar';
import { z } from 'zod';

import { schemaFault } from '../tools/json-schema.js';
import type { JsonSchema, Tool, ToolChoice, ToolOffer } from '../tools/tool.js';
import { invalid } from './invalid-field.js';

/** OpenAI's own bound. */
const MOST_TOOLS = 128;
/** Of all tools as JSON: every one of them is read by the model, and a message to a device has to hold them. */
const MOST_TOOL_CHARACTERS = 128 * 1024;
/** Levels of a tool's own fields above its schema. */
const LEVELS_ABOVE = 4;

export const toolName = z.string('expected a name').regex(/^[\w-]{1,64}$/, 'expected 1 to 64 letters, digits, _ or -');
export const toolDescription = z.string('expected text').nullish();
export const toolParameters = z.record(z.string(), z.unknown(), 'expected a JSON schema').nullish();

const chatTool = z.object({
  type: z.literal('function', 'only tools of type function are supported'),
  function: z.object(
    { name: toolName, description: toolDescription, parameters: toolParameters },
    'expected a function',
  ),
});

const chatToolChoice = z.union(
  [
    z.enum(['none', 'auto', 'required']),
    z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) }),
  ],
  'expected none, auto, required, or {"type":"function","function":{"name":...}}',
);

export const toolFields = {
  tools: z.array(chatTool, 'expected a list of tools').nullish(),
  tool_choice: chatToolChoice.nullish(),
  parallel_tool_calls: z.boolean('expected true or false').nullish(),
};

/** Throws `request.invalid` for tools too many, too large or nested too deep; before anything else looks at them. */
export function checkToolSize(tools: unknown): void {
  if (!Array.isArray(tools)) return;
  if (tools.length > MOST_TOOLS) throw invalid('tools', `${tools.length} tools, expected at most ${MOST_TOOLS}`);
  for (const [at, tool] of tools.entries()) {
    if (schemaDepth(tool, -LEVELS_ABOVE) <= MOST_SCHEMA_DEPTH) continue;
    throw invalid(`tools.${at}`, `nested deeper than ${MOST_SCHEMA_DEPTH} levels, expected less`);
  }
  const { length } = JSON.stringify(tools);
  if (length <= MOST_TOOL_CHARACTERS) return;
  throw invalid('tools', `${length} characters of JSON, expected at most ${MOST_TOOL_CHARACTERS}`);
}

/** The tools of a chat request; undefined where there are none, or no call is wanted. Throws `request.invalid`. */
export function offerOf(fields: z.infer<z.ZodObject<typeof toolFields>>): ToolOffer | undefined {
  const { tools, tool_choice: choice, parallel_tool_calls: parallel } = fields;
  const read = (tools ?? []).map(({ function: tool }, at) => toolOf(tool, `tools.${at}.function`));
  const wanted = choice != null && typeof choice === 'object' ? { name: choice.function.name } : (choice ?? 'auto');
  return openOffer(read, wanted, { parallel: parallel !== false, nameField: 'tool_choice.function.name' });
}

/** A tool of which an API's schema has read the fields; `path` names it in what is refused. */
export function toolOf(
  tool: {
    readonly name: string;
    readonly description?: string | null | undefined;
    readonly parameters?: JsonSchema | null | undefined;
  },
  path: string,
  parametersField = 'parameters',
): Tool {
  const parameters = tool.parameters ?? { type: 'object', properties: {} };
  const field = `${path}.${parametersField}`;
  const fault = schemaFault(parameters);
  if (fault !== undefined) throw invalid(field, fault);
  const { type } = parameters;
  if (type !== undefined && type !== 'object') {
    throw invalid(field, `expected a schema of type object, got ${JSON.stringify(type).slice(0, 40)}`);
  }
  return { name: tool.name, description: tool.description ?? undefined, parameters };
}

/** Throws `request.invalid` for two tools of one name, and for a choice that no tool can meet. */
export function openOffer(
  tools: readonly Tool[],
  choice: ToolChoice | 'none',
  { parallel, nameField }: { readonly parallel: boolean; readonly nameField: string },
): ToolOffer | undefined {
  const names = new Set(tools.map(({ name }) => name));
  const twice = tools.find(({ name }, at) => tools.findIndex((one) => one.name === name) !== at);
  if (twice !== undefined) throw invalid('tools', `two tools of the name ${twice.name}`);
  if (typeof choice === 'object' && !names.has(choice.name)) {
    throw invalid(nameField, `no tool of the name ${JSON.stringify(choice.name.slice(0, 80))} is given`);
  }
  if (choice === 'required' && tools.length === 0) throw invalid('tool_choice', 'expected tools to choose from');
  return choice === 'none' || tools.length === 0 ? undefined : { tools, choice, parallel };
}
