import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What the server does wrong, or how it cuts its bytes. */
export interface ServerManners {
  /** Bytes of each write of a stream; characters and lines are cut wherever that falls. */
  chunkBytes: number;
  /** Requests that are first answered with 503, as llama-server does while it loads. */
  loadingFor: number;
  /** After so many tokens: an error frame, or the connection is cut. */
  fault: { readonly kind: 'error-frame' | 'cut' | 'end' | 'nonsense'; readonly afterTokens: number } | undefined;
  timings: boolean;
  apiKey: string | undefined;
  lineEnd: '\n' | '\r\n';
}

interface Body {
  readonly model: string;
  readonly messages?: readonly { readonly content: string }[];
  readonly prompt?: string;
  readonly max_tokens: number;
  readonly stop?: readonly string[];
  readonly logprobs?: boolean | number;
  readonly top_logprobs?: number;
  readonly grammar?: string;
  readonly response_format?: unknown;
}

const CONTEXT_WORDS = 320;

/**
 * A real HTTP server that speaks the OpenAI protocol as llama-server and Ollama do, and answers with the words of the
 * prompt. For tests of the HTTP engine.
 */
export class HttpTestServer {
  readonly manners: ServerManners = {
    chunkBytes: 1_000_000,
    loadingFor: 0,
    fault: undefined,
    timings: false,
    apiKey: undefined,
    lineEnd: '\n',
  };
  /** Bodies of the generation requests, in order. */
  readonly bodies: Body[] = [];
  /** Streams that the client gave up. */
  aborted = 0;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  static async start(port = 0): Promise<HttpTestServer> {
    const server = new HttpTestServer();
    await new Promise<void>((resolve) => server.#server.listen(port, '127.0.0.1', resolve));
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await bodyOf(request);
    const { apiKey } = this.manners;
    if (apiKey !== undefined && request.headers.authorization !== `Bearer ${apiKey}`) {
      return fail(response, 401, 'Invalid API Key');
    }
    if (this.manners.loadingFor > 0) {
      this.manners.loadingFor--;
      return fail(response, 503, 'Loading model');
    }
    if (request.url === '/v1/models') {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ object: 'list', data: [{ id: 'tiny:latest' }, { id: 'other' }] }));
      return;
    }
    if (request.url === '/v1/embeddings') return embed(response, (JSON.parse(text) as { input: string[] }).input);
    const body = JSON.parse(text) as Body;
    this.bodies.push(body);
    const prompt = body.prompt ?? body.messages?.at(-1)?.content ?? '';
    const words = prompt.match(/\s*\S+/g) ?? [];
    if (words.length >= CONTEXT_WORDS) return fail(response, 400, 'the request exceeds the available context size');
    await this.#stream(response, body, words);
  }

  async #stream(response: ServerResponse, body: Body, words: readonly string[]): Promise<void> {
    response.on('close', () => {
      if (!response.writableFinished) this.aborted++;
    });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const { fault } = this.manners;
    const said = words.slice(0, body.max_tokens);
    for (const [i, word] of said.entries()) {
      if (fault?.afterTokens === i) return this.#misbehave(response, fault.kind);
      await this.#send(response, { ...piece(body, word), ...logprobs(body, word, -0.1 * (i + 1)) });
      await new Promise(setImmediate);
    }
    const reason = said.length < words.length ? 'length' : 'stop';
    await this.#send(response, { delta: {}, finish_reason: reason }, this.#counts(words.length, said.length));
    await this.#write(response, 'data: [DONE]');
    response.end();
  }

  async #misbehave(response: ServerResponse, kind: NonNullable<ServerManners['fault']>['kind']): Promise<void> {
    if (kind === 'end') response.end();
    else if (kind === 'cut') response.destroy();
    else {
      await this.#write(
        response,
        kind === 'nonsense' ? 'data: {"choices": 7}' : 'data: {"error":{"message":"slot lost"}}',
      );
      response.end();
    }
  }

  #counts(promptTokens: number, outputTokens: number): unknown {
    const usage = { prompt_tokens: promptTokens, completion_tokens: outputTokens };
    const timings = { prompt_n: promptTokens, prompt_ms: 12.5, predicted_n: outputTokens, predicted_ms: 80.25 };
    return this.manners.timings ? { usage, timings } : { usage };
  }

  async #send(response: ServerResponse, choice: unknown, more: unknown = {}): Promise<void> {
    await this.#write(response, `data: ${JSON.stringify({ choices: [choice], ...(more as object) })}`);
  }

  async #write(response: ServerResponse, line: string): Promise<void> {
    const { chunkBytes, lineEnd } = this.manners;
    const all = Buffer.from(`${line}${lineEnd}${lineEnd}`);
    for (let at = 0; at < all.length && !response.destroyed; at += chunkBytes) {
      await new Promise<void>((resolve) => response.write(all.subarray(at, at + chunkBytes), () => resolve()));
    }
  }
}

function piece(body: Body, word: string): object {
  return body.prompt === undefined ? { delta: { content: word } } : { text: word };
}

/** As servers give them where they are asked: chats in another form than completions. */
function logprobs(body: Body, token: string, logprob: number): object {
  const likely = [token, '?', '!'].map((text, i) => ({ token: text, logprob: logprob - 5 * i }));
  if (body.logprobs === true) {
    const top = body.top_logprobs === undefined ? {} : { top_logprobs: likely.slice(0, body.top_logprobs) };
    return { logprobs: { content: [{ token, logprob, ...top }] } };
  }
  if (typeof body.logprobs !== 'number') return {};
  const top = Object.fromEntries(likely.slice(0, body.logprobs).map((one) => [one.token, one.logprob]));
  return { logprobs: { tokens: [token], token_logprobs: [logprob], top_logprobs: [top] } };
}

/** Not in the order of the texts, and not of length 1: both are allowed. */
function embed(response: ServerResponse, texts: readonly string[]): void {
  const counts = texts.map((text) => text.split(/\s+/).length);
  if (counts.some((count) => count >= CONTEXT_WORDS)) return fail(response, 400, 'input is too large to process');
  const data = texts.map((text, index) => ({ index, embedding: [text.length, text.charCodeAt(0), 3] }));
  const usage = { prompt_tokens: counts.reduce((sum, count) => sum + count, 0) };
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ object: 'list', data: data.toReversed(), usage }));
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString('utf8');
}

function fail(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ error: { code: status, message, type: 'error' } }));
}
