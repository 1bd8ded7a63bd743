import type { ChatMessage } from '@fleetgate/shared/protocol/job';

import type { ToolCall, ToolOffer } from './tool.js';

/** One turn of a conversation, as every API has it. */
export type Turn =
  | { readonly role: 'system' | 'user'; readonly text: string }
  | {
      readonly role: 'assistant';
      readonly text: string;
      readonly calls: readonly (ToolCall & { readonly id: string })[];
    }
  /** What a tool answered. */
  | { readonly role: 'tool'; readonly callId: string; readonly name?: string | undefined; readonly text: string };

export interface Conversation {
  readonly messages: readonly ChatMessage[];
  /** The last thing the user said, where messages alone do not tell: what tools answered is written as the user's too. */
  readonly question?: string;
}

/**
 * A conversation as messages of text, with the tools described in its system message.
 *
 * Templates of small models know neither tools nor a turn of one, and many want turns to alternate: calls are written as
 * the model is asked to write them, what tools answered as the user's turn, together with what else the user says then.
 */
export function conversationOf(turns: readonly Turn[], offer: ToolOffer | undefined): Conversation {
  const messages: ChatMessage[] = [];
  const names = new Map<string, string>();
  let wasTool = false;
  for (const turn of turns) {
    if (turn.role === 'assistant') for (const { id, name } of turn.calls) names.set(id, name);
    const content = contentOf(turn, names);
    const last = messages.at(-1);
    const isTool = turn.role === 'tool';
    const role = isTool ? 'user' : turn.role;
    // Two turns that the client itself wrote one after the other stay two.
    if (last !== undefined && wasTool && role === 'user') {
      messages[messages.length - 1] = { role, content: `${last.content}\n\n${content}` };
    } else messages.push({ role, content });
    wasTool = isTool;
  }
  const described = offer === undefined ? messages : withTools(messages, offer);
  if (!turns.some(({ role }) => role === 'tool')) return { messages: described };
  const question = turns.findLast((turn) => turn.role === 'user' && turn.text.trim() !== '');
  return { messages: described, question: question?.text ?? '' };
}

function contentOf(turn: Turn, names: ReadonlyMap<string, string>): string {
  switch (turn.role) {
    case 'system':
    case 'user':
      return turn.text;
    case 'assistant': {
      if (turn.calls.length === 0) return turn.text;
      const calls = turn.calls.map(
        ({ name, arguments: given }) => `{"name":${JSON.stringify(name)},"arguments":${given}}`,
      );
      const written = calls.length === 1 ? (calls[0] ?? '') : `[${calls.join(',')}]`;
      return turn.text === '' ? written : `${turn.text}\n${written}`;
    }
    case 'tool': {
      const name = turn.name ?? names.get(turn.callId);
      return `Result of ${name ?? 'the call'}: ${turn.text}`;
    }
  }
}

function withTools(messages: readonly ChatMessage[], offer: ToolOffer): readonly ChatMessage[] {
  const [first, ...rest] = messages;
  const text = describeTools(offer);
  if (first?.role !== 'system') return [{ role: 'system', content: text }, ...messages];
  return [{ role: 'system', content: `${first.content}\n\n${text}` }, ...rest];
}

function describeTools({ tools, choice, parallel }: ToolOffer): string {
  const asked = typeof choice === 'object' ? tools.filter(({ name }) => name === choice.name) : tools;
  const lines = asked.map(({ name, description, parameters }) => JSON.stringify({ name, description, parameters }));
  const several = parallel ? ' To call several, answer with a JSON list of such objects.' : '';
  const call = `{"name": <name of the tool>, "arguments": <object of its arguments>}`;
  const how =
    choice === 'auto'
      ? `Where a tool is needed, answer with nothing but this JSON: ${call}.${several} Where none is needed, answer in words.`
      : `Answer with nothing but a call of a tool, as this JSON: ${call}.${several}`;
  return `You can call these tools:\n${lines.join('\n')}\n${how}`;
}
