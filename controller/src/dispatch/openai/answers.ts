import type { RequestView } from '@fleetgate/shared/api/operations';
import type { FleetError } from '@fleetgate/shared/errors';
import type { RequestId } from '@fleetgate/shared/ids';
import type { TokenChoice } from '@fleetgate/shared/protocol/job';

import { errorFrame } from '../../platform/error-body.js';
import type { Choice } from '../request-events.js';
import type { GivenAnswer } from './answer-parts.js';
import type { AnswerStart, ApiForm, ApiFrames } from './api-form.js';
import { logProbsOf } from './log-probs.js';

/** The two kinds of answer of the same shape; they differ in names only. */
export type AnswerKind = 'chat' | 'text';

/** Headers that say who answers; all of them are also in the decision record. */
export function choiceHeaders(choice: Choice): Readonly<Record<string, string>> {
  return {
    'x-fleetgate-expert': choice.expertId,
    'x-fleetgate-variant': choice.variantId,
    'x-fleetgate-device': choice.deviceId,
    'x-fleetgate-plan': choice.planId,
  };
}

/** What answers have cost together; joules include what jobs that failed before have used. */
export interface Spent {
  readonly promptTokens: number;
  readonly reusedTokens: number;
  readonly outputTokens: number;
  readonly energyJ: number;
  readonly energySource: 'measured' | 'modelled';
}

export function spentBy(answers: readonly Pick<GivenAnswer, 'done' | 'record'>[]): Spent {
  const sum = (of: (answer: Pick<GivenAnswer, 'done' | 'record'>) => number): number =>
    answers.reduce((total, answer) => total + of(answer), 0);
  return {
    promptTokens: sum(({ done }) => done.usage.promptTokens),
    reusedTokens: sum(({ done }) => done.usage.reusedTokens ?? 0),
    outputTokens: sum(({ done }) => done.usage.outputTokens),
    energyJ: sum(({ done, record }) => record.actual?.energyJ ?? done.usage.energyJ),
    energySource: answers.every(({ done }) => done.usage.energySource === 'measured') ? 'measured' : 'modelled',
  };
}

/** `usage` of an answer. */
export function usageOf(answers: readonly GivenAnswer[]): object {
  const { promptTokens, reusedTokens, outputTokens, energyJ, energySource } = spentBy(answers);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: outputTokens,
    total_tokens: promptTokens + outputTokens,
    prompt_tokens_details: { cached_tokens: reusedTokens },
    energy_joules: energyJ,
    energy_source: energySource,
  };
}

/** The `fleetgate` extension of an answer, for clients that asked to have it explained. */
export function explanation(record: RequestView): object {
  const { id, mode, classId, planId, expertId, variantId, deviceId, why, candidates, predicted, actual, attempts } =
    record;
  return {
    requestId: id,
    mode,
    classId,
    planId,
    expertId,
    variantId,
    deviceId,
    why,
    predicted,
    actual,
    attempts,
    candidates,
    ...(record.collaboration === undefined ? {} : { collaboration: record.collaboration }),
  };
}

/** The part of a request's id that other ids of its answer are made of. */
export function randomOf(id: RequestId): string {
  return id.replace(/^req-/, '');
}

/** `tool_calls` of a message. */
function toolCalls({ id, calls }: GivenAnswer): readonly object[] {
  return calls.map(({ name, arguments: given }, at) => ({
    id: callId(id, at),
    type: 'function',
    function: { name, arguments: given },
  }));
}

/** An id that no other call has: clients keep those of a whole conversation. */
export function callId(id: RequestId, at: number): string {
  return `call_${randomOf(id)}_${at}`;
}

/** Answers as /v1/chat/completions and /v1/completions give them. */
export function openAiForm(kind: AnswerKind, { id, at, request }: AnswerStart): ApiForm {
  const head = {
    id: kind === 'chat' ? `chatcmpl-${randomOf(id)}` : `cmpl-${randomOf(id)}`,
    created: Math.floor(at / 1000),
  };
  const { explain, includeUsage } = request;
  return {
    endMark: 'done',
    frames: () => new AnswerFrames(kind, head, { explain, includeUsage }),
    body: (answers) => {
      const [first] = answers;
      return {
        id: head.id,
        object: kind === 'chat' ? 'chat.completion' : 'text_completion',
        created: head.created,
        model: first?.done.choice.variantId,
        choices: answers.map((answer, index) => ({
          index,
          ...(kind === 'chat' ? { message: messageOf(answer) } : { text: answer.text }),
          logprobs: answer.choices === undefined ? null : logProbsOf(kind, answer.choices),
          finish_reason: answer.finishReason,
        })),
        usage: usageOf(answers),
        ...(explain && first !== undefined ? { fleetgate: explanation(first.record) } : {}),
      };
    },
  };
}

function messageOf(answer: GivenAnswer): object {
  const { text, calls } = answer;
  const made = calls.length === 0 ? {} : { tool_calls: toolCalls(answer) };
  return { role: 'assistant', content: text === '' && calls.length > 0 ? null : text, refusal: null, ...made };
}

/** Frames of a streamed answer, in JSON. The parts that never change are written once. */
class AnswerFrames implements ApiFrames {
  readonly #kind: AnswerKind;
  readonly #head: { readonly id: string; readonly created: number };
  readonly #wish: { readonly explain: boolean; readonly includeUsage: boolean };
  readonly #toldCharacters = new Map<number, number>();
  #start = '';

  constructor(
    kind: AnswerKind,
    head: { readonly id: string; readonly created: number },
    wish: { readonly explain: boolean; readonly includeUsage: boolean },
  ) {
    this.#kind = kind;
    this.#head = head;
    this.#wish = wish;
  }

  /** In a chat, the role and no text. */
  begin(at: number, { variantId }: Choice): readonly string[] {
    if (this.#start === '') {
      const object = this.#kind === 'chat' ? 'chat.completion.chunk' : 'text_completion';
      this.#start = JSON.stringify({ id: this.#head.id, object, created: this.#head.created, model: variantId }).slice(
        0,
        -1,
      );
    }
    return this.#kind === 'chat' ? [this.#frame(at, '{"role":"assistant","content":""}')] : [];
  }

  text(at: number, text: string, choices?: readonly TokenChoice[]): readonly string[] {
    const json = JSON.stringify(text);
    const content = this.#kind === 'chat' ? `{"content":${json}}` : json;
    return [this.#frame(at, content, choices === undefined ? {} : { logProbs: this.#told(at, choices) })];
  }

  logProbs(at: number, choices: readonly TokenChoice[]): readonly string[] {
    return [this.#frame(at, this.#nothing(), { logProbs: this.#told(at, choices) })];
  }

  #told(at: number, choices: readonly TokenChoice[]): string {
    const before = this.#toldCharacters.get(at) ?? 0;
    this.#toldCharacters.set(
      at,
      choices.reduce((sum, { text }) => sum + text.length, before),
    );
    return JSON.stringify(logProbsOf(this.#kind, choices, before));
  }

  finish(at: number, answer: GivenAnswer): readonly string[] {
    const calls = toolCalls(answer).map((call, index) =>
      this.#frame(at, JSON.stringify({ tool_calls: [{ index, ...call }] })),
    );
    const more = this.#wish.explain ? `,"fleetgate":${JSON.stringify(explanation(answer.record))}` : '';
    return [...calls, this.#frame(at, this.#nothing(), { finish: `"${answer.finishReason}"`, more })];
  }

  end(answers: readonly GivenAnswer[]): readonly string[] {
    if (!this.#wish.includeUsage) return [];
    return [`${this.#start},"choices":[],"usage":${JSON.stringify(usageOf(answers))}}`];
  }

  failed(error: FleetError): readonly string[] {
    return [JSON.stringify(errorFrame(error))];
  }

  #nothing(): string {
    return this.#kind === 'chat' ? '{}' : '""';
  }

  #frame(at: number, content: string, { logProbs = 'null', finish = 'null', more = '' } = {}): string {
    const name = this.#kind === 'chat' ? 'delta' : 'text';
    return `${this.#start},"choices":[{"index":${at},"${name}":${content},"logprobs":${logProbs},"finish_reason":${finish}}]${more}}`;
  }
}
