import { z } from 'zod';

import { conversationOf, type Turn } from '../tools/turn.js';
import { chatLogProbs, topLogProbsOf } from './answer-form.js';
import { invalid } from './invalid-field.js';
import { openRequest, type ParsedRequest, read, sharedFields, tokenLimit } from './schema.js';
import { checkToolSize, offerOf, toolFields } from './tool-fields.js';

/** Longest answer when a chat client names no limit, tokens; a device's time is not the client's to leave open. */
export const DEFAULT_CHAT_TOKENS = 512;

const textParts = z.array(z.object({ type: z.string(), text: z.string().optional() })).superRefine((parts, context) => {
  parts.forEach(({ type }, at) => {
    if (type === 'text') return;
    context.addIssue({
      code: 'custom',
      path: [at, 'type'],
      message: `only parts of type text are supported, got ${type}`,
    });
  });
});

const toolCall = z.object({
  id: z.string('expected the id of a call').max(200),
  type: z.literal('function', 'only calls of type function are supported').optional(),
  function: z.object({ name: z.string().max(200), arguments: z.string('expected JSON as text') }),
});

const message = z.object({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool', 'function']),
  content: z.unknown().optional(),
  tool_calls: z.array(toolCall).nullish(),
  tool_call_id: z.string('expected the id of a call').max(200).nullish(),
  name: z.string().max(200).nullish(),
});
type Message = z.infer<typeof message>;

const chatSchema = z.object({
  ...sharedFields,
  messages: z.array(message, 'expected a list of messages').min(1, 'expected at least one message'),
  max_completion_tokens: tokenLimit,
  ...chatLogProbs,
  ...toolFields,
});

/** Body of POST /v1/chat/completions. Throws `request.invalid` naming the field; unknown fields are ignored. */
export function parseChat(body: unknown): ParsedRequest {
  if (typeof body === 'object' && body !== null && 'tools' in body) checkToolSize(body.tools);
  const request = read(chatSchema, body);
  const turns = request.messages.map((one, at) => turnOf(one, at));
  if (turns.every((turn) => isSilent(turn))) throw invalid('messages', 'expected some text');
  return openRequest('/v1/chat/completions', request, {
    ...chatOf(turns, request),
    maxTokens: request.max_completion_tokens ?? request.max_tokens ?? DEFAULT_CHAT_TOKENS,
    topLogProbs: topLogProbsOf(request),
  });
}

function chatOf(turns: readonly Turn[], request: z.infer<typeof chatSchema>) {
  const offer = offerOf(request);
  return { input: { kind: 'chat' as const, ...conversationOf(turns, offer) }, offer };
}

function turnOf({ role, content, tool_calls: calls, tool_call_id: callId, name }: Message, at: number): Turn {
  const text = contentOf(content, at);
  switch (role) {
    case 'system':
    case 'developer':
      return { role: 'system', text };
    case 'user':
      return { role, text };
    case 'assistant': {
      const made = (calls ?? []).map(({ id, function: { name: of, arguments: given } }) => ({
        id,
        name: of,
        arguments: given,
      }));
      return { role, text, calls: made };
    }
    case 'tool':
    case 'function':
      if (role === 'tool' && callId == null) throw invalid(`messages.${at}.tool_call_id`, 'expected the id of a call');
      return { role: 'tool', callId: callId ?? '', name: name ?? undefined, text };
  }
}

function isSilent(turn: Turn): boolean {
  return turn.text.trim() === '' && (turn.role !== 'assistant' || turn.calls.length === 0);
}

function contentOf(content: unknown, at: number): string {
  if (typeof content === 'string') return content;
  // An assistant's turn of tool calls alone has no text.
  if (content === null || content === undefined) return '';
  if (!Array.isArray(content)) throw invalid(`messages.${at}.content`, 'expected text or a list of parts');
  return read(textParts, content, ['messages', at, 'content'])
    .map((part) => part.text ?? '')
    .join('');
}
