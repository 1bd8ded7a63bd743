import type { FastifyReply } from 'fastify';

import type { Prompt } from '../prompt.js';

/** `traceparent` of W3C Trace Context, level 1; later versions may add fields. */
const TRACE_PARENT = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** The trace that a header names, as version 00; undefined where it cannot be read: tracing then begins anew, as W3C asks. */
export function traceParentOf(header: string): string | undefined {
  const [, version, trace, span, flags, more] = TRACE_PARENT.exec(header) ?? [];
  if (version === undefined || (version === '00' && more !== undefined)) return undefined;
  return `00-${trace}-${span}-${flags}`;
}

/** `prompt` as part of the trace that its client is in, if it is in one. */
export function traced(prompt: Prompt, reply: FastifyReply): Prompt {
  const header = reply.request.headers['traceparent'];
  if (typeof header !== 'string') return prompt;
  const traceParent = traceParentOf(header);
  return traceParent === undefined ? prompt : { ...prompt, traceParent };
}
