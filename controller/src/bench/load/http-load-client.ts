import { messageOf } from '@fleetgate/shared/errors';

import type { Arrival } from './arrivals.js';
import type { ClientOutcome, Offered } from './outcome.js';

/** Longer than the controller gives a request. */
const TIMEOUT_MS = 320_000;

interface Seen {
  readonly outcome: ClientOutcome;
  readonly requestId?: string | undefined;
  /** performance.now() */
  readonly firstTokenAt?: number | undefined;
}

/** Offers chat completions once each, and tells what came of them. */
export class HttpLoadClient {
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(url: string, key: string | undefined) {
    this.#url = `${url}/v1/chat/completions`;
    this.#headers = {
      'content-type': 'application/json',
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    };
  }

  /** `dueAt` by performance.now(). Never throws. */
  async offer(question: Omit<Arrival, 'atMs'>, traceId: string, dueAt: number): Promise<Offered> {
    const lateMs = performance.now() - dueAt;
    const { outcome, requestId, firstTokenAt } = await this.#ask(question, traceId);
    return {
      traceId,
      requestId,
      streamed: question.streamed,
      lateMs,
      firstTokenMs: firstTokenAt === undefined ? undefined : firstTokenAt - dueAt,
      totalMs: performance.now() - dueAt,
      outcome,
    };
  }

  async #ask({ prompt, maxTokens, streamed }: Omit<Arrival, 'atMs'>, traceId: string): Promise<Seen> {
    let requestId: string | undefined;
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: { ...this.#headers, traceparent: `00-${traceId}-${traceId.slice(16)}-00` },
        body: JSON.stringify({
          model: 'auto',
          messages: [{ role: 'user', content: prompt }],
          max_tokens: maxTokens,
          stream: streamed,
        }),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      requestId = response.headers.get('x-request-id') ?? undefined;
      if (!response.ok) return { outcome: await refusalOf(response), requestId };
      if (streamed) return { ...(await streamOf(response)), requestId };
      const body = (await response.json()) as { choices?: readonly { finish_reason?: string | null }[] };
      const isWhole = typeof body.choices?.[0]?.finish_reason === 'string';
      return { outcome: isWhole ? { kind: 'answered' } : disconnected('no finish reason'), requestId };
    } catch (error) {
      const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
      return { outcome: disconnected(messageOf(cause)), requestId };
    }
  }
}

async function refusalOf(response: Response): Promise<ClientOutcome> {
  const body = (await response.json().catch(() => ({}))) as { error?: { code?: string | null } };
  return {
    kind: 'refused',
    status: response.status,
    code: body.error?.code ?? '',
    retryAfter: response.headers.get('retry-after') ?? undefined,
    shouldRetry: response.headers.get('x-should-retry') ?? undefined,
  };
}

/** Reads server-sent events to their end. Throws what the connection does. */
async function streamOf(response: Response): Promise<Seen> {
  const decoder = new TextDecoder();
  let rest = '';
  let firstTokenAt: number | undefined;
  let finished = false;
  let code: string | undefined;
  let done = false;
  for await (const bytes of response.body ?? []) {
    rest += decoder.decode(bytes as Uint8Array, { stream: true });
    const frames = rest.split('\n\n');
    rest = frames.pop() ?? '';
    for (const frame of frames) {
      if (!frame.startsWith('data: ')) continue;
      if (frame === 'data: [DONE]') {
        done = true;
        continue;
      }
      const { error, choices } = JSON.parse(frame.slice(6)) as StreamFrame;
      if (error !== undefined) code = error.code ?? '';
      const [choice] = choices ?? [];
      if ((choice?.delta?.content ?? '') !== '') firstTokenAt ??= performance.now();
      if (typeof choice?.finish_reason === 'string') finished = true;
    }
  }
  if (code !== undefined) return { outcome: { kind: 'broken', code }, firstTokenAt };
  if (finished && done) return { outcome: { kind: 'answered' }, firstTokenAt };
  return { outcome: disconnected('the stream ended without its end mark'), firstTokenAt };
}

interface StreamFrame {
  readonly error?: { readonly code?: string | null };
  readonly choices?: readonly {
    readonly delta?: { readonly content?: string | null };
    readonly finish_reason?: string | null;
  }[];
}

function disconnected(reason: string): ClientOutcome {
  return { kind: 'disconnected', reason };
}
