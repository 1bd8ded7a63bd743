import { z } from 'zod';

import { invalid } from '../openai/invalid-field.js';
import { openRequest, type ParsedRequest, read, sharedFields } from '../openai/schema.js';
import { checkToolSize, openOffer, toolDescription, toolName, toolOf } from '../openai/tool-fields.js';
import { promptTokens } from '../prompt.js';
import type { ToolChoice, ToolOffer } from '../tools/tool.js';
import { conversationOf, type Turn } from '../tools/turn.js';
import { messageTurns, systemText } from './messages-turns.js';

const MOST_STOPS = 16;

const tool = z.object({
  type: z.literal('custom', 'only tools of the client are supported').nullish(),
  name: toolName,
  description: toolDescription,
  input_schema: z.record(z.string(), z.unknown(), 'expected a JSON schema'),
});

const toolChoice = z.discriminatedUnion(
  'type',
  [
    z.object({ type: z.literal('auto'), disable_parallel_tool_use: z.boolean().nullish() }),
    z.object({ type: z.literal('any'), disable_parallel_tool_use: z.boolean().nullish() }),
    z.object({ type: z.literal('tool'), name: z.string('expected a name') }),
    z.object({ type: z.literal('none') }),
  ],
  'expected the type auto, any, tool or none',
);

const { model, temperature, top_p, stream, fleetgate } = sharedFields;
const countedFields = {
  model,
  messages: z.array(z.unknown(), 'expected a list of messages').min(1, 'expected at least one message'),
  system: z.unknown().optional(),
  tools: z.array(tool, 'expected a list of tools').nullish(),
  tool_choice: toolChoice.nullish(),
};
const countSchema = z.object(countedFields);
const messagesSchema = z.object({
  ...countedFields,
  ...{ temperature, top_p, stream, fleetgate },
  max_tokens: z.number('expected a number').int().min(1, 'expected at least 1'),
  stop_sequences: z.array(z.string('expected text')).max(MOST_STOPS, `expected at most ${MOST_STOPS}`).nullish(),
});

/** Body of POST /v1/messages. Throws `request.invalid` naming the field; unknown fields are ignored. */
export function parseMessages(body: unknown): ParsedRequest {
  checkSize(body);
  const fields = read(messagesSchema, body);
  const { max_tokens: maxTokens, stop_sequences: stop, tools: _tools, tool_choice: _choice, ...request } = fields;
  const offer = offerOf(fields);
  const input = { kind: 'chat' as const, ...conversationOf(turnsOf(fields), offer) };
  return openRequest('/v1/messages', { ...request, stop }, { input, maxTokens, offer });
}

/** Body of POST /v1/messages/count_tokens: tokens by the length of what a model would read, right within a third or so. */
export function countTokens(body: unknown): number {
  checkSize(body);
  const fields = read(countSchema, body);
  return promptTokens({ kind: 'chat', ...conversationOf(turnsOf(fields), offerOf(fields)) }, undefined);
}

type Counted = z.infer<typeof countSchema>;

function turnsOf({ system, messages }: Counted): readonly Turn[] {
  const text = systemText(system);
  const turns = messageTurns(messages);
  if (turns.length === 0) throw invalid('messages', 'expected some text');
  return text === '' ? turns : [{ role: 'system', text }, ...turns];
}

function offerOf({ tools, tool_choice: choice }: Counted): ToolOffer | undefined {
  const found = (tools ?? []).map(({ name, description, input_schema: parameters }, at) =>
    toolOf({ name, description, parameters }, `tools.${at}`, 'input_schema'),
  );
  const parallel =
    choice == null || !('disable_parallel_tool_use' in choice) || choice.disable_parallel_tool_use !== true;
  return openOffer(found, wantedOf(choice), { parallel, nameField: 'tool_choice.name' });
}

function wantedOf(choice: Counted['tool_choice']): ToolChoice | 'none' {
  switch (choice?.type) {
    case undefined:
    case 'auto':
      return 'auto';
    case 'any':
      return 'required';
    case 'tool':
      return { name: choice.name };
    case 'none':
      return 'none';
  }
}

function checkSize(body: unknown): void {
  if (typeof body === 'object' && body !== null && 'tools' in body) checkToolSize(body.tools);
}
