import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, isFleetError } from '@fleetgate/shared/errors';
import { unixMs } from '@fleetgate/shared/units/quantity';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { callerOf } from '../../access/caller.js';
import { admitPrompts, followAdmitted, ofCaller } from '../admit-prompts.js';
import type { DispatchedRequest } from '../dispatcher.js';
import type { IdempotencyKey, IdempotentRequests, TakenRequest } from '../idempotent-requests.js';
import type { Prompt } from '../prompt.js';
import type { Choice } from '../request-events.js';
import { type AnswerPart, answerParts, type GivenAnswer, wholeAnswer } from './answer-parts.js';
import { choiceHeaders } from './answers.js';
import type { ApiForm, OpenForm } from './api-form.js';
import { idempotencyKeyOf } from './idempotency-key.js';
import { promptsOf } from './prompts-of.js';
import type { ParsedRequest } from './schema.js';
import { EventStream, KEEP_ALIVE } from './sse.js';
import { traced } from './trace-parent.js';
import { whyHeader } from './why-header.js';

type Dispatched = readonly [DispatchedRequest, ...DispatchedRequest[]];

/**
 * Dispatches `request` and answers it on `reply`, streamed or whole, in the form of an API.
 *
 * A failure before anything was written is thrown, for the error filter to answer with its status; after that it is a
 * frame of the stream. When the client goes away, the devices stop; where several answers are asked for, so they do when
 * one of them fails.
 */
export async function respond(
  parts: { readonly requests: IdempotentRequests; readonly clock: Clock },
  request: ParsedRequest,
  openForm: OpenForm,
  http: Pick<FastifyRequest, 'headers'>,
  reply: FastifyReply,
): Promise<void> {
  const stopped = new AbortController();
  const gone = clientGone(reply);
  const prompts = promptsOf(request);
  const signal = prompts.length === 1 ? gone : AbortSignal.any([gone, stopped.signal]);
  const dispatched = await takeFor(parts.requests, request, prompts, http, reply, signal);
  const [first] = dispatched;
  // Of a replayed answer, as it was told the first time.
  const form = openForm({ id: first.id, at: unixMs(first.record().receivedAtMs), request });
  try {
    if (request.stream) await stream(parts.clock, form, request, dispatched, reply);
    else await whole(parts.clock, form, request, dispatched, reply);
  } finally {
    // An answer that fails ends those beside it.
    if (prompts.length > 1) stopped.abort();
  }
}

/**
 * Takes what a client asks, `prompts` of it, within the limits of its tenant; the headers of `reply` name the first. Throws
 * what `IdempotentRequests.accept` does, and `request.rate-limited`.
 */
export async function takeFor(
  requests: IdempotentRequests,
  asked: unknown,
  prompts: readonly Prompt[],
  { headers }: Pick<FastifyRequest, 'headers'>,
  reply: FastifyReply,
  signal: AbortSignal,
): Promise<readonly [TakenRequest, ...TakenRequest[]]> {
  const named = idempotencyKeyOf(headers, callerOf(reply.request).actor);
  if (named === undefined) return take(requests, asked, prompts, [], reply, signal);
  const keys = prompts.map((_, at) => (at === 0 ? named : { ...named, key: `${named.key} ${at}` }));
  try {
    for (const key of keys) await requests.prepare(asked, key, signal);
    return take(requests, asked, prompts, keys, reply, signal);
  } finally {
    for (const key of keys) requests.abandon(key);
  }
}

/** `keys`: of each prompt, or none. */
function take(
  requests: IdempotentRequests,
  asked: unknown,
  prompts: readonly Prompt[],
  keys: readonly IdempotencyKey[],
  reply: FastifyReply,
  signal: AbortSignal,
): readonly [TakenRequest, ...TakenRequest[]] {
  const caller = callerOf(reply.request);
  const own = prompts.map((prompt) => ofCaller(traced(prompt, reply), caller));
  void reply.headers(caller.rates?.headersFor(own[0]?.tenant) ?? {});
  const admission = admitPrompts(caller, own);
  void reply.headers(admission?.headers ?? {});
  const [first, ...rest] = own.map((prompt, at) => {
    try {
      const taken = requests.accept(prompt, asked, keys[at], signal);
      followAdmitted(caller, admission, taken);
      return taken;
    } catch (error) {
      for (const _ of own.slice(at)) admission?.release();
      throw error;
    }
  });
  if (first === undefined) throw new FleetError('internal.invariant', 'a request without a prompt');
  void reply.headers({ 'x-request-id': first.id, ...whyHeader(first.record()) });
  if (first.replayed) void reply.header('idempotent-replayed', 'true');
  return [first, ...rest];
}

/** Aborts when the connection closes before the answer has been handed over. */
export function clientGone(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort();
  });
  return gone.signal;
}

async function whole(
  clock: Clock,
  form: ApiForm,
  request: ParsedRequest,
  dispatched: Dispatched,
  reply: FastifyReply,
): Promise<void> {
  const answers = await Promise.all(dispatched.map((one) => wholeAnswer(one, request)));
  const [first] = answers;
  if (first === undefined) return;
  await reply
    .headers({
      ...choiceHeaders(first.done.choice),
      ...whyHeader(dispatched[0].record()),
      ...processingTime(clock, dispatched[0]),
    })
    .send(form.body(answers.filter((answer) => answer !== undefined)));
}

async function stream(
  clock: Clock,
  form: ApiForm,
  request: ParsedRequest,
  dispatched: Dispatched,
  reply: FastifyReply,
): Promise<void> {
  const out = new EventStream(reply.raw, clock);
  const frames = form.frames();
  const answers = new Map<number, GivenAnswer>();
  let choice: Choice | undefined;
  let failed = false;
  // The head names who answers, so it waits for the first token, when no other device can take over any more; or for
  // the first sign of life that the connection needs.
  const open = (): void => {
    if (out.opened) return;
    void reply.hijack();
    out.open(() => ({
      ...headersOf(reply),
      ...(choice === undefined ? {} : choiceHeaders(choice)),
      ...whyHeader(dispatched[0].record()),
      ...processingTime(clock, dispatched[0]),
    }));
  };
  const stopKeepAlive = clock.every(KEEP_ALIVE, () => {
    open();
    out.keepAlive();
  });
  const begun = new Set<number>();
  /** What has to come before the first frame of an answer. */
  const begin = (at: number): ReturnType<typeof frames.begin> => {
    if (begun.has(at)) return [];
    if (choice === undefined) throw new FleetError('internal.invariant', 'an answer came before its choice');
    begun.add(at);
    open();
    return frames.begin(at, choice);
  };
  const on = async (at: number, part: AnswerPart): Promise<void> => {
    if (part.kind === 'chosen') {
      if (begun.size === 0) choice = part.choice;
    } else if (part.kind === 'text') await out.send(...begin(at), ...frames.text(at, part.text, part.choices));
    else if (part.kind === 'choices') await out.send(...begin(at), ...frames.logProbs(at, part.choices));
    else {
      answers.set(at, part.answer);
      const finish = [...begin(at), ...frames.finish(at, part.answer)];
      const isLast = answers.size === dispatched.length;
      const inOrder = [...answers].toSorted(([a], [b]) => a - b).map(([, answer]) => answer);
      if (isLast) await out.end(form.endMark, ...finish, ...frames.end(inOrder));
      else await out.send(...finish);
    }
  };
  const follow = async (one: DispatchedRequest, at: number): Promise<void> => {
    for await (const part of answerParts(one, request)) if (!failed) await on(at, part);
  };
  try {
    await Promise.all(dispatched.map(follow));
  } catch (error) {
    failed = true;
    if (!out.opened || !isFleetError(error)) throw error;
    await out.end('none', ...frames.failed(error));
  } finally {
    stopKeepAlive();
  }
}

/** What hooks and the framework have set on the reply; hijacking would lose it. */
function headersOf(reply: FastifyReply): Record<string, number | string | string[]> {
  const headers: Record<string, number | string | string[]> = {};
  for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) headers[name] = value;
  return headers;
}

/** How long the request has taken so far, as a header. */
export function processingTime(clock: Clock, dispatched: DispatchedRequest): Readonly<Record<string, string>> {
  const since = dispatched.record().receivedAtMs;
  return { 'openai-processing-ms': String(Math.round(clock.now() - since)) };
}
