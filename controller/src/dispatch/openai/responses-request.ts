import { z } from 'zod';

import { openOffer, toolDescription, toolName, toolOf, toolParameters, checkToolSize } from './tool-fields.js';
import { conversationOf } from '../tools/turn.js';
import type { ToolOffer } from '../tools/tool.js';
import { DEFAULT_CHAT_TOKENS } from './chat-request.js';
import { inWords } from './field-names.js';
import { invalid } from './invalid-field.js';
import { openRequest, type ParsedRequest, read, sharedFields, tokenLimit } from './schema.js';
import { inputTurns } from './responses-input.js';

const notKept = (what: string) => z.null(`${what}: nothing is kept between requests`).optional();

const textFormat = z.discriminatedUnion(
  'type',
  [
    z.object({ type: z.literal('text') }),
    z.object({ type: z.literal('json_object') }),
    z.object({
      type: z.literal('json_schema'),
      name: z.string().optional(),
      schema: z.record(z.string(), z.unknown(), 'expected a JSON schema'),
    }),
  ],
  'expected the type text, json_object or json_schema',
);

const functionTool = z.object({
  type: z.literal('function', 'only tools of type function are supported'),
  name: toolName,
  description: toolDescription,
  parameters: toolParameters,
});

const toolChoice = z.union(
  [z.enum(['none', 'auto', 'required']), z.object({ type: z.literal('function'), name: z.string() })],
  'expected none, auto, required, or {"type":"function","name":...}',
);

const { model, temperature, top_p, stream, fleetgate } = sharedFields;
const responsesSchema = z.object({
  ...{ model, temperature, top_p, stream, fleetgate },
  input: z.union([z.string(), z.array(z.unknown()).min(1, 'expected some input')], 'expected text or a list'),
  instructions: z.string('expected text').nullish(),
  max_output_tokens: tokenLimit,
  text: z.object({ format: textFormat.nullish() }).nullish(),
  tools: z.array(functionTool, 'expected a list of tools').nullish(),
  tool_choice: toolChoice.nullish(),
  parallel_tool_calls: z.boolean('expected true or false').nullish(),
  store: z.literal(false, 'nothing is kept: expected false').nullish(),
  background: z.literal(false, 'nothing is kept: expected false').nullish(),
  previous_response_id: notKept('expected the whole conversation in input'),
  conversation: notKept('expected the whole conversation in input'),
  prompt: notKept('expected the text of the prompt in input'),
});
type Fields = z.infer<typeof responsesSchema>;

/** Chat's names of fields, and the ones of this API. */
const NAMES = {
  messages: 'input',
  response_format: 'text.format',
  'response_format.json_schema.schema': 'text.format.schema',
};

/** A read request, and what of it its response repeats. */
export interface ResponsesRequest {
  readonly request: ParsedRequest;
  readonly echo: Readonly<Record<string, unknown>>;
}

/** Body of POST /v1/responses. Throws `request.invalid` naming the field; unknown fields are ignored. */
export function parseResponses(body: unknown): ResponsesRequest {
  if (typeof body === 'object' && body !== null && 'tools' in body) checkToolSize(body.tools);
  const fields = read(responsesSchema, body);
  const turns = inputTurns(fields.input);
  if (turns.length === 0) throw invalid('input', 'expected some text');
  const { instructions } = fields;
  const system = instructions == null || instructions === '' ? [] : [{ role: 'system' as const, text: instructions }];
  const offer = offerOf(fields);
  const request = inWords(NAMES, () =>
    openRequest('/v1/responses', chatFields(fields), {
      input: { kind: 'chat', ...conversationOf([...system, ...turns], offer) },
      maxTokens: fields.max_output_tokens ?? DEFAULT_CHAT_TOKENS,
      offer,
    }),
  );
  return { request: { ...request, fieldNames: { ...NAMES, ...request.fieldNames } }, echo: echoOf(fields) };
}

function chatFields({ text, ...fields }: Fields) {
  const format = text?.format;
  const { model: name, temperature: heat, top_p: share, stream: streamed, fleetgate: wishes } = fields;
  return {
    ...{ model: name, temperature: heat, top_p: share, stream: streamed, fleetgate: wishes },
    response_format:
      format?.type === 'json_schema' ? { type: format.type, json_schema: { schema: format.schema } } : format,
  };
}

function offerOf({ tools, tool_choice: choice, parallel_tool_calls: parallel }: Fields): ToolOffer | undefined {
  const found = (tools ?? []).map((tool, at) => toolOf(tool, `tools.${at}`));
  const wanted = choice != null && typeof choice === 'object' ? { name: choice.name } : (choice ?? 'auto');
  return openOffer(found, wanted, { parallel: parallel !== false, nameField: 'tool_choice.name' });
}

function echoOf(fields: Fields): ResponsesRequest['echo'] {
  return {
    instructions: fields.instructions ?? null,
    max_output_tokens: fields.max_output_tokens ?? null,
    parallel_tool_calls: fields.parallel_tool_calls !== false,
    temperature: fields.temperature ?? 1,
    top_p: fields.top_p ?? 1,
    text: { format: fields.text?.format ?? { type: 'text' } },
    tool_choice: fields.tool_choice ?? 'auto',
    tools: fields.tools ?? [],
  };
}
