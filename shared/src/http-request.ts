import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';

import { messageOf } from './errors.js';

export interface HttpRequest {
  readonly headers?: Readonly<Record<string, string>>;
  /** Makes it a POST. */
  readonly body?: string;
}

/**
 * Asks by HTTP or HTTPS; resolves when the head of the answer is there. Its body has to be read or destroyed.
 *
 * Redirects are answers like others. Rejects with what the system says (`reasonOf`); aborting ends the body, too.
 * Not the built-in `fetch`: compiling its WebAssembly parser takes 40 MB at its height and leaves some 15 MB behind,
 * more than all else that an agent does.
 */
export function openHttp(url: URL, signal: AbortSignal, { headers = {}, body }: HttpRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const ask = url.protocol === 'https:' ? requestHttps : requestHttp;
    const method = body === undefined ? 'GET' : 'POST';
    // A connection of its own: one kept from before may be closed by the other side just now.
    ask(url, { method, headers, signal, agent: false }, resolve).on('error', reject).end(body);
  });
}

/** The text of an answer's whole body. Rejects when it is cut off. */
export async function readText(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of response.setEncoding('utf8')) text += String(piece);
  return text;
}

/** What went wrong with a request or its answer's body, in words. */
export function reasonOf(error: unknown): string {
  // One error for each address that a name has.
  if (error instanceof AggregateError) return error.errors.map(messageOf).join(', ');
  return error instanceof Error && error.cause instanceof Error ? error.cause.message : messageOf(error);
}
