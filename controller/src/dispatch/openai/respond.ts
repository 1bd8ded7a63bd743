import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { TokenChoice } from '@fleetgate/shared/protocol/job';
import type { FastifyReply } from 'fastify';

import { errorFrame } from '../../platform/error-body.js';
import type { Collaborator } from '../collaboration/collaborator.js';
import type { DispatchedRequest } from '../dispatcher.js';
import type { Choice, RequestEvent } from '../request-events.js';
import {
  answerBody,
  AnswerFrames,
  answerHead,
  type AnswerKind,
  choiceHeaders,
  explanation,
  usageOf,
} from './answers.js';
import type { ParsedRequest } from './schema.js';
import { EventStream, KEEP_ALIVE } from './sse.js';

/**
 * Dispatches `request` and answers it on `reply`, streamed or whole.
 *
 * A failure before anything was written is thrown, for the error filter to answer with its status; after that it is a
 * frame of the stream. When the client goes away, the device stops.
 */
export async function respond(
  parts: { readonly collaborator: Pick<Collaborator, 'accept'>; readonly clock: Clock },
  kind: AnswerKind,
  request: ParsedRequest,
  reply: FastifyReply,
): Promise<void> {
  const dispatched = parts.collaborator.accept(request.prompt, clientGone(reply));
  void reply.header('x-request-id', dispatched.id);
  if (request.stream) await stream(parts.clock, kind, request, dispatched, reply);
  else await whole(parts.clock, kind, request, dispatched, reply);
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
  kind: AnswerKind,
  request: ParsedRequest,
  dispatched: DispatchedRequest,
  reply: FastifyReply,
): Promise<void> {
  const head = answerHead(kind, dispatched, clock.now());
  let text = '';
  const told: TokenChoice[] = [];
  const choices = request.prompt.topLogProbs === undefined ? undefined : told;
  for await (const event of dispatched.events) {
    if (event.kind === 'tokens') text += event.text;
    else if (event.kind === 'choices') told.push(...event.choices);
    else if (event.kind === 'failed') throw event.error;
    else if (event.kind === 'done') {
      await reply
        .headers({ ...choiceHeaders(event.choice), ...processingTime(clock, dispatched) })
        .send(answerBody(head, { text, choices }, event, dispatched.record(), request.explain));
    }
  }
}

async function stream(
  clock: Clock,
  kind: AnswerKind,
  request: ParsedRequest,
  dispatched: DispatchedRequest,
  reply: FastifyReply,
): Promise<void> {
  const out = new EventStream(reply.raw, clock);
  let choice: Choice | undefined;
  let frames: AnswerFrames | undefined;
  // The head names who answers, so it waits for the first token, when no other device can take over any more; or for
  // the first sign of life that the connection needs.
  const open = (): void =>
    out.open(() => ({
      ...headersOf(reply),
      ...(choice === undefined ? {} : choiceHeaders(choice)),
      ...processingTime(clock, dispatched),
    }));
  const stopKeepAlive = clock.every(KEEP_ALIVE, () => {
    if (!out.opened) void reply.hijack();
    open();
    out.keepAlive();
  });
  /** The frames of a text, after those that have to come before it. */
  const begin = (): { readonly frames: AnswerFrames; readonly first: readonly string[] } => {
    if (frames !== undefined) return { frames, first: [] };
    if (choice === undefined) throw new FleetError('internal.invariant', 'an answer came before its choice');
    frames = new AnswerFrames(answerHead(kind, dispatched, clock.now()), choice);
    const first = frames.first();
    if (!out.opened) void reply.hijack();
    open();
    return { frames, first: first === undefined ? [] : [first] };
  };
  const on = async (event: RequestEvent): Promise<void> => {
    if (event.kind === 'chosen') {
      choice = event.choice;
    } else if (event.kind === 'tokens') {
      const begun = begin();
      await out.send(...begun.first, begun.frames.text(event.text));
    } else if (event.kind === 'choices') {
      const begun = begin();
      await out.send(...begun.first, begun.frames.logProbs(event.choices));
    } else if (event.kind === 'done') {
      const begun = begin();
      const record = dispatched.record();
      const finish = begun.frames.finish(event.finishReason, request.explain ? explanation(record) : undefined);
      const usage = request.includeUsage ? [begun.frames.usage(usageOf(event, record))] : [];
      await out.end('done', ...begun.first, finish, ...usage);
    } else if (event.kind === 'failed') {
      if (!out.opened) throw event.error;
      await out.end('error', JSON.stringify(errorFrame(event.error)));
    }
  };
  try {
    for await (const event of dispatched.events) await on(event);
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
