import type { FleetError } from '@fleetgate/shared/errors';
import type { RequestId } from '@fleetgate/shared/ids';

import { errorFrame } from '../../platform/error-body.js';
import type { Choice } from '../request-events.js';
import type { GivenAnswer } from './answer-parts.js';
import { callId, explanation, randomOf, spentBy } from './answers.js';
import type { AnswerStart, ApiForm, ApiFrames } from './api-form.js';
import type { ResponsesRequest } from './responses-request.js';
import type { Frame } from './sse.js';

interface Head {
  readonly id: RequestId;
  readonly explain: boolean;
  /** Fields of the response that its answer does not change. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Answers as /v1/responses gives them: one answer each. */
export function responsesForm(echo: ResponsesRequest['echo'], { id, at, request }: AnswerStart): ApiForm {
  const head: Head = {
    id,
    explain: request.explain,
    fields: {
      id: `resp_${randomOf(id)}`,
      object: 'response',
      created_at: Math.floor(at / 1000),
      ...{ background: false, store: false, previous_response_id: null, metadata: {}, truncation: 'disabled' },
      reasoning: { effort: null, summary: null },
      ...echo,
    },
  };
  return {
    endMark: 'none',
    frames: () => new ResponsesFrames(head),
    body: ([answer]) => (answer === undefined ? {} : responseOf(head, answer)),
  };
}

function responseOf({ fields, explain }: Head, answer: GivenAnswer): object {
  const isCut = answer.finishReason === 'length';
  const said =
    answer.text !== '' || answer.calls.length === 0 ? [messageOf(answer.id, answer.text, statusOf(answer))] : [];
  return {
    ...fields,
    status: statusOf(answer),
    error: null,
    incomplete_details: isCut ? { reason: 'max_output_tokens' } : null,
    model: answer.done.choice.variantId,
    output: [...said, ...answer.calls.map((_, at) => callOf(answer, at))],
    usage: usageOf(answer),
    ...(explain ? { fleetgate: explanation(answer.record) } : {}),
  };
}

function statusOf({ finishReason }: GivenAnswer): 'completed' | 'incomplete' {
  return finishReason === 'length' ? 'incomplete' : 'completed';
}

function usageOf(answer: GivenAnswer): object {
  const { promptTokens, reusedTokens, outputTokens, energyJ, energySource } = spentBy([answer]);
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: reusedTokens, cache_write_tokens: 0 },
    output_tokens: outputTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: promptTokens + outputTokens,
    energy_joules: energyJ,
    energy_source: energySource,
  };
}

const partOf = (text: string): object => ({ type: 'output_text', text, annotations: [], logprobs: [] });
const messageId = (id: RequestId): string => `msg_${randomOf(id)}`;

function messageOf(id: RequestId, text: string | undefined, status: string): object {
  const content = text === undefined ? [] : [partOf(text)];
  return { type: 'message', id: messageId(id), status, role: 'assistant', content };
}

function callOf({ id, calls }: GivenAnswer, at: number): object {
  const { name, arguments: given } = calls[at] ?? { name: '', arguments: '' };
  const ids = { id: `fc_${randomOf(id)}_${at}`, call_id: callId(id, at) };
  return { type: 'function_call', ...ids, name, arguments: given, status: 'completed' };
}

/** The events of one response. They are numbered; each output is added, grows and is done before the next one. */
class ResponsesFrames implements ApiFrames {
  readonly #head: Head;
  #sequence = 0;
  #begun = false;
  #speaks = false;

  constructor(head: Head) {
    this.#head = head;
  }

  begin(_at: number, { variantId }: Choice): readonly Frame[] {
    this.#begun = true;
    const response = this.#unfinished({ model: variantId, status: 'in_progress', error: null });
    return [this.#event('response.created', { response }), this.#event('response.in_progress', { response })];
  }

  text(_at: number, text: string): readonly Frame[] {
    return [
      ...this.#speak(),
      this.#event('response.output_text.delta', { ...this.#part(), delta: text, logprobs: [] }),
    ];
  }

  logProbs(): readonly Frame[] {
    return [];
  }

  finish(_at: number, answer: GivenAnswer): readonly Frame[] {
    const isSilent = answer.text === '' && answer.calls.length > 0;
    const first = isSilent ? 0 : 1;
    return [
      ...(isSilent ? [] : [...this.#speak(), ...this.#saidAll(answer)]),
      ...answer.calls.flatMap((_, at) => this.#call(answer, at, first + at)),
    ];
  }

  end([answer]: readonly GivenAnswer[]): readonly Frame[] {
    if (answer === undefined) return [];
    return [this.#event(`response.${statusOf(answer)}`, { response: responseOf(this.#head, answer) })];
  }

  failed(error: FleetError): readonly Frame[] {
    const { code, message } = errorFrame(error).error;
    const created = this.#begun
      ? []
      : [this.#event('response.created', { response: this.#unfinished({ status: 'in_progress', error: null }) })];
    const response = this.#unfinished({ status: 'failed', error: { code: code ?? 'server_error', message } });
    return [...created, this.#event('response.failed', { response })];
  }

  /** What comes before the first text. */
  #speak(): readonly Frame[] {
    if (this.#speaks) return [];
    this.#speaks = true;
    const item = messageOf(this.#head.id, undefined, 'in_progress');
    return [
      this.#event('response.output_item.added', { output_index: 0, item }),
      this.#event('response.content_part.added', { ...this.#part(), part: partOf('') }),
    ];
  }

  #saidAll(answer: GivenAnswer): readonly Frame[] {
    const { text } = answer;
    return [
      this.#event('response.output_text.done', { ...this.#part(), text, logprobs: [] }),
      this.#event('response.content_part.done', { ...this.#part(), part: partOf(text) }),
      this.#event('response.output_item.done', { output_index: 0, item: messageOf(answer.id, text, statusOf(answer)) }),
    ];
  }

  #call(answer: GivenAnswer, at: number, index: number): readonly Frame[] {
    const item = callOf(answer, at);
    const { name = '', arguments: given = '' } = answer.calls[at] ?? {};
    const place = { item_id: `fc_${randomOf(answer.id)}_${at}`, output_index: index };
    return [
      this.#event('response.output_item.added', {
        output_index: index,
        item: { ...item, arguments: '', status: 'in_progress' },
      }),
      this.#event('response.function_call_arguments.delta', { ...place, delta: given }),
      this.#event('response.function_call_arguments.done', { ...place, name, arguments: given }),
      this.#event('response.output_item.done', { output_index: index, item }),
    ];
  }

  #part(): object {
    return { item_id: messageId(this.#head.id), output_index: 0, content_index: 0 };
  }

  #unfinished(fields: object): object {
    return { ...this.#head.fields, incomplete_details: null, model: null, output: [], usage: null, ...fields };
  }

  #event(type: string, fields: object): Frame {
    return { event: type, data: JSON.stringify({ type, sequence_number: this.#sequence++, ...fields }) };
  }
}
