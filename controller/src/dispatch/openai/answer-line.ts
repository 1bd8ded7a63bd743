import { FleetError } from '@fleetgate/shared/errors';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';

import type { Caller } from '../../access/caller.js';
import { httpError } from '../../platform/error-body.js';
import { admitPrompts, followAdmitted, ofCaller } from '../admit-prompts.js';
import type { BatchEndpoint } from '../batches/batch.js';
import type { LineOutcome } from '../batches/batch-runner.js';
import type { DispatchedRequest } from '../dispatcher.js';
import type { Prompt } from '../prompt.js';
import { wholeAnswer } from './answer-parts.js';
import { type AnswerKind, openAiForm } from './answers.js';
import { parseChat } from './chat-request.js';
import { embeddingsAnswer, parseEmbeddings } from './embeddings.js';
import { invalid } from './invalid-field.js';
import { promptsOf } from './prompts-of.js';
import { parseCompletion, type ParsedRequest } from './schema.js';

interface Taker {
  accept(prompt: Prompt, signal?: AbortSignal): DispatchedRequest;
}

type Take = (prompts: readonly Prompt[]) => readonly DispatchedRequest[];

/** Answers the body of a request as its endpoint would, whole. Never rejects: a failure is an answer, too. */
export async function answerLine(
  taker: Taker,
  endpoint: BatchEndpoint,
  body: object,
  signal: AbortSignal,
  caller: Pick<Caller, 'tenant' | 'rates'>,
): Promise<LineOutcome> {
  let dispatched: DispatchedRequest | undefined;
  const take: Take = (prompts) => {
    const own = prompts.map((prompt) => ofCaller(prompt, caller));
    const admission = admitPrompts(caller, own);
    return own.map((prompt) => {
      const taken = taker.accept(prompt, signal);
      followAdmitted(caller, admission, taken);
      dispatched ??= taken;
      return taken;
    });
  };
  try {
    const answer = await answerOf(endpoint, body, take);
    return { answer: { status: 200, requestId: dispatched?.id ?? null, body: answer.body } };
  } catch (error) {
    const { status, headers, body: answer } = httpError(error);
    const requestId = dispatched?.id ?? null;
    if (headers['x-should-retry'] !== 'true') return { answer: { status, requestId, body: answer } };
    const seconds = headers['retry-after'];
    const wait = seconds === undefined ? undefined : milliseconds(1000 * Number(seconds));
    const wasRefused = dispatched === undefined || dispatched.record().state === 'refused';
    return { answer: { status, requestId, body: answer }, again: { wasRefused, in: wait } };
  }
}

async function answerOf(endpoint: BatchEndpoint, body: object, take: Take): Promise<{ readonly body: object }> {
  switch (endpoint) {
    case '/v1/chat/completions':
      return { body: await textAnswer('chat', parseChat(body), take) };
    case '/v1/completions':
      return { body: await textAnswer('text', parseCompletion(body), take) };
    case '/v1/embeddings': {
      const asked = parseEmbeddings(body);
      return embeddingsAnswer(asked, firstOf(take([asked.prompt])));
    }
  }
}

async function textAnswer(kind: AnswerKind, asked: ParsedRequest, take: Take): Promise<object> {
  if (asked.stream) throw invalid('stream', 'a batch is not streamed: expected false, or nothing');
  const dispatched = take(promptsOf(asked));
  const first = firstOf(dispatched);
  const answers = await Promise.all(dispatched.map((one) => wholeAnswer(one, asked)));
  const form = openAiForm(kind, { id: first.id, at: unixMs(first.record().receivedAtMs), request: asked });
  return form.body(answers.filter((answer) => answer !== undefined));
}

function firstOf([first]: readonly DispatchedRequest[]): DispatchedRequest {
  if (first === undefined) throw new FleetError('internal.invariant', 'a request without a prompt');
  return first;
}
