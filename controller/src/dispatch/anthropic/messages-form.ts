import type { FleetError } from '@fleetgate/shared/errors';
import type { RequestId } from '@fleetgate/shared/ids';

import { httpError } from '../../platform/error-body.js';
import { messagesErrorBody } from '../../platform/messages-error-body.js';
import type { GivenAnswer } from '../openai/answer-parts.js';
import { explanation, randomOf, spentBy } from '../openai/answers.js';
import type { AnswerStart, ApiForm, ApiFrames } from '../openai/api-form.js';
import type { Frame } from '../openai/sse.js';
import type { Choice } from '../request-events.js';

/** Answers as Anthropic's /v1/messages gives them: one answer each. */
export function messagesForm({ id, request }: AnswerStart): ApiForm {
  return {
    endMark: 'none',
    frames: () => new MessagesFrames(id),
    body: ([answer]) => {
      if (answer === undefined) return {};
      const said = answer.text === '' ? [] : [{ type: 'text', text: answer.text, citations: null }];
      return {
        ...headOf(id, answer.done.choice),
        content: [...said, ...answer.calls.map((_, at) => ({ ...callOf(answer, at), input: inputOf(answer, at) }))],
        stop_reason: stopReason(answer),
        usage: usageOf(answer),
        ...(request.explain ? { fleetgate: explanation(answer.record) } : {}),
      };
    },
  };
}

function headOf(id: RequestId, { variantId }: Choice): object {
  const ends = { stop_reason: null, stop_sequence: null };
  return { id: `msg_${randomOf(id)}`, type: 'message', role: 'assistant', model: variantId, content: [], ...ends };
}

/** Devices do not tell which stop sequence has ended an answer: that is the end of its turn as well. */
function stopReason({ finishReason }: GivenAnswer): string {
  switch (finishReason) {
    case 'stop':
      return 'end_turn';
    case 'length':
      return 'max_tokens';
    case 'tool_calls':
      return 'tool_use';
  }
}

function usageOf(answer: GivenAnswer): object {
  const { promptTokens, reusedTokens, outputTokens, energyJ, energySource } = spentBy([answer]);
  return {
    input_tokens: promptTokens - reusedTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: reusedTokens,
    output_tokens: outputTokens,
    energy_joules: energyJ,
    energy_source: energySource,
  };
}

function callOf({ id, calls }: GivenAnswer, at: number): object {
  return { type: 'tool_use', id: `toolu_${randomOf(id)}_${at}`, name: calls[at]?.name, input: {} };
}

function inputOf({ calls }: GivenAnswer, at: number): unknown {
  return JSON.parse(calls[at]?.arguments ?? '{}');
}

/** The events of one message: blocks one after the other, each started, grown and stopped. */
class MessagesFrames implements ApiFrames {
  readonly #id: RequestId;
  #blocks = 0;
  #speaks = false;

  constructor(id: RequestId) {
    this.#id = id;
  }

  begin(_at: number, choice: Choice): readonly Frame[] {
    // How long the prompt was is known when the answer ends.
    const message = { ...headOf(this.#id, choice), usage: { input_tokens: 0, output_tokens: 0 } };
    return [event('message_start', { message })];
  }

  text(_at: number, text: string): readonly Frame[] {
    const start = this.#speaks ? [] : [this.#start({ type: 'text', text: '', citations: null })];
    this.#speaks = true;
    return [...start, this.#delta({ type: 'text_delta', text })];
  }

  logProbs(): readonly Frame[] {
    return [];
  }

  finish(_at: number, answer: GivenAnswer): readonly Frame[] {
    const said = this.#speaks ? [this.#stop()] : [];
    const calls = answer.calls.flatMap(({ arguments: given }, at) => [
      this.#start(callOf(answer, at)),
      this.#delta({ type: 'input_json_delta', partial_json: given }),
      this.#stop(),
    ]);
    const delta = { stop_reason: stopReason(answer), stop_sequence: null };
    return [...said, ...calls, event('message_delta', { delta, usage: usageOf(answer) })];
  }

  end(): readonly Frame[] {
    return [event('message_stop', {})];
  }

  failed(error: FleetError): readonly Frame[] {
    return [{ event: 'error', data: JSON.stringify(messagesErrorBody(httpError(error), this.#id)) }];
  }

  #start(block: object): Frame {
    return event('content_block_start', { index: this.#blocks, content_block: block });
  }

  #delta(delta: object): Frame {
    return event('content_block_delta', { index: this.#blocks, delta });
  }

  #stop(): Frame {
    return event('content_block_stop', { index: this.#blocks++ });
  }
}

function event(type: string, fields: object): Frame {
  return { event: type, data: JSON.stringify({ type, ...fields }) };
}
