import type { RequestView } from '@fleetgate/shared/api/operations';
import type { TokenChoice } from '@fleetgate/shared/protocol/job';
import { type UnixMs } from '@fleetgate/shared/units/quantity';

import type { DispatchedRequest } from '../dispatcher.js';
import type { Choice, RequestEvent } from '../request-events.js';
import { logProbsOf } from './log-probs.js';

/** The two kinds of answer that /v1 gives; they differ in names only. */
export type AnswerKind = 'chat' | 'text';

/** What all frames of one answer have in common. */
export interface AnswerHead {
  readonly kind: AnswerKind;
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
}

type Done = RequestEvent & { readonly kind: 'done' };

export function answerHead(kind: AnswerKind, { id }: DispatchedRequest, at: UnixMs): AnswerHead {
  const random = id.replace(/^req-/, '');
  return { kind, id: kind === 'chat' ? `chatcmpl-${random}` : `cmpl-${random}`, created: Math.floor(at / 1000) };
}

/** Headers that say who answers; all of them are also in the decision record. */
export function choiceHeaders(choice: Choice): Readonly<Record<string, string>> {
  return {
    'x-fleetgate-expert': choice.expertId,
    'x-fleetgate-variant': choice.variantId,
    'x-fleetgate-device': choice.deviceId,
    'x-fleetgate-plan': choice.planId,
  };
}

/** `usage` of an answer; joules include what jobs that failed before it have used. */
export function usageOf({ usage }: Done, record: RequestView): object {
  const { promptTokens, reusedTokens = 0, outputTokens, energyJ, energySource } = usage;
  return {
    prompt_tokens: promptTokens,
    completion_tokens: outputTokens,
    total_tokens: promptTokens + outputTokens,
    prompt_tokens_details: { cached_tokens: reusedTokens },
    energy_joules: record.actual?.energyJ ?? energyJ,
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

/** What an answer said; with `choices` where the client asked how likely its tokens were. */
export interface Said {
  readonly text: string;
  readonly choices: readonly TokenChoice[] | undefined;
}

/** A whole answer. */
export function answerBody(head: AnswerHead, said: Said, done: Done, record: RequestView, explain: boolean): object {
  const { text } = said;
  const content = head.kind === 'chat' ? { message: { role: 'assistant', content: text, refusal: null } } : { text };
  return {
    id: head.id,
    object: head.kind === 'chat' ? 'chat.completion' : 'text_completion',
    created: head.created,
    model: done.choice.variantId,
    choices: [
      {
        index: 0,
        ...content,
        logprobs: said.choices === undefined ? null : logProbsOf(head.kind, said.choices),
        finish_reason: done.finishReason,
      },
    ],
    usage: usageOf(done, record),
    ...(explain ? { fleetgate: explanation(record) } : {}),
  };
}

/** Frames of a streamed answer, in JSON. The parts that never change are written once. */
export class AnswerFrames {
  readonly #head: AnswerHead;
  readonly #start: string;
  #toldCharacters = 0;

  constructor(head: AnswerHead, choice: Choice) {
    this.#head = head;
    const object = head.kind === 'chat' ? 'chat.completion.chunk' : 'text_completion';
    const fields = JSON.stringify({ id: head.id, object, created: head.created, model: choice.variantId });
    this.#start = fields.slice(0, -1);
  }

  /** Comes first in a chat: the role, and no text. */
  first(): string | undefined {
    return this.#head.kind === 'chat' ? this.#frame('{"role":"assistant","content":""}', null) : undefined;
  }

  text(text: string): string {
    const json = JSON.stringify(text);
    return this.#frame(this.#head.kind === 'chat' ? `{"content":${json}}` : json, null);
  }

  /** How likely tokens were whose text was sent before. */
  logProbs(choices: readonly TokenChoice[]): string {
    const logProbs = JSON.stringify(logProbsOf(this.#head.kind, choices, this.#toldCharacters));
    this.#toldCharacters += choices.reduce((sum, { text }) => sum + text.length, 0);
    return this.#frame(this.#head.kind === 'chat' ? '{}' : '""', null, { logProbs });
  }

  /** Comes last of the frames with choices. */
  finish(reason: 'stop' | 'length', extension: object | undefined): string {
    const more = extension === undefined ? '' : `,"fleetgate":${JSON.stringify(extension)}`;
    return this.#frame(this.#head.kind === 'chat' ? '{}' : '""', reason, { more });
  }

  usage(usage: object): string {
    return `${this.#start},"choices":[],"usage":${JSON.stringify(usage)}}`;
  }

  #frame(content: string, reason: 'stop' | 'length' | null, { logProbs = 'null', more = '' } = {}): string {
    const name = this.#head.kind === 'chat' ? 'delta' : 'text';
    const finish = reason === null ? 'null' : `"${reason}"`;
    return `${this.#start},"choices":[{"index":0,"${name}":${content},"logprobs":${logProbs},"finish_reason":${finish}}]${more}}`;
  }
}
