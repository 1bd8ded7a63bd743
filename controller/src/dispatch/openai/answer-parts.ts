import type { RequestView } from '@fleetgate/shared/api/operations';
import type { RequestId } from '@fleetgate/shared/ids';
import type { TokenChoice } from '@fleetgate/shared/protocol/job';

import type { DispatchedRequest } from '../dispatcher.js';
import type { Choice, RequestEvent } from '../request-events.js';
import { CallReader } from '../tools/call-reader.js';
import type { ToolCall } from '../tools/tool.js';
import { renamed } from './field-names.js';
import type { ParsedRequest } from './schema.js';

/** A whole answer, whatever the API that is to tell it. */
export interface GivenAnswer {
  readonly id: RequestId;
  readonly text: string;
  readonly calls: readonly ToolCall[];
  /** Undefined where nobody asked how likely its tokens were. */
  readonly choices: readonly TokenChoice[] | undefined;
  readonly finishReason: 'stop' | 'length' | 'tool_calls';
  readonly done: RequestEvent & { readonly kind: 'done' };
  readonly record: RequestView;
}

/**
 * What a client is told of one answer, in this order: who gives it, its text with how likely its tokens were, how likely
 * those were that came with no text, and all of it.
 */
export type AnswerPart =
  | { readonly kind: 'chosen'; readonly choice: Choice }
  | { readonly kind: 'text'; readonly text: string; readonly choices?: readonly TokenChoice[] | undefined }
  | { readonly kind: 'choices'; readonly choices: readonly TokenChoice[] }
  | { readonly kind: 'given'; readonly answer: GivenAnswer };

/** An answer as it comes, with its calls told from its words. Throws what the request fails with. */
export async function* answerParts(
  dispatched: DispatchedRequest,
  { offer, prompt, fieldNames }: Pick<ParsedRequest, 'offer' | 'prompt' | 'fieldNames'>,
): AsyncGenerator<AnswerPart, void, undefined> {
  const reader = offer === undefined ? undefined : new CallReader(offer);
  const choices: TokenChoice[] | undefined = prompt.topLogProbs === undefined ? undefined : [];
  /** Told with text that may be a call's: it waits for the next text of the answer. */
  const waiting: TokenChoice[] = [];
  const told = () => (waiting.length === 0 ? {} : { choices: waiting.splice(0) });
  let said = '';
  for await (const event of dispatched.events) {
    if (event.kind === 'chosen') yield event;
    else if (event.kind === 'tokens') {
      const text = reader === undefined ? event.text : reader.push(event.text);
      said += text;
      if (event.choices !== undefined) {
        choices?.push(...event.choices);
        waiting.push(...event.choices);
      }
      if (text !== '') yield { kind: 'text', text, ...told() };
    } else if (event.kind === 'choices') {
      choices?.push(...event.choices);
      yield { kind: 'choices', choices: [...waiting.splice(0), ...event.choices] };
    } else if (event.kind === 'failed') throw renamed(event.error, fieldNames);
    else if (event.kind === 'done') {
      const { text, calls } = reader?.end() ?? { text: '', calls: [] };
      said += text;
      if (text !== '') yield { kind: 'text', text, ...told() };
      else if (waiting.length > 0) yield { kind: 'choices', choices: waiting };
      const finishReason = calls.length > 0 ? 'tool_calls' : event.finishReason;
      const record = dispatched.record();
      const answer = { id: dispatched.id, text: said, calls, choices, finishReason, done: event, record } as const;
      yield { kind: 'given', answer };
    }
  }
}

/** The whole answer. Throws what the request fails with. */
export async function wholeAnswer(
  dispatched: DispatchedRequest,
  request: Pick<ParsedRequest, 'offer' | 'prompt' | 'fieldNames'>,
): Promise<GivenAnswer | undefined> {
  for await (const part of answerParts(dispatched, request)) if (part.kind === 'given') return part.answer;
  return undefined;
}
