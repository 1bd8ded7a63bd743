/** One prompt and its streamed answer. Pure: frames in, exchange out. */
import type { ApiFailure } from '../api/failure.js';
import { field } from '../api/failure.js';
import type { SseFrame } from '../api/sse.js';

export type ExchangePhase = 'waiting' | 'streaming' | 'done' | 'stopped' | 'failed';

export interface Exchange {
  readonly key: number;
  readonly model: string;
  readonly prompt: string;
  readonly answer: string;
  readonly phase: ExchangePhase;
  /** The request's id, by which its decision record is found. */
  readonly requestId: string | null;
  readonly expertId: string | null;
  readonly deviceId: string | null;
  readonly finishReason: string | null;
  readonly failure: { readonly message: string; readonly hint: string | null } | null;
}

export function beginExchange(key: number, model: string, prompt: string): Exchange {
  return {
    key,
    model,
    prompt,
    answer: '',
    phase: 'waiting',
    requestId: null,
    expertId: null,
    deviceId: null,
    finishReason: null,
    failure: null,
  };
}

export function withHeaders(exchange: Exchange, headers: Headers): Exchange {
  return {
    ...exchange,
    requestId: headers.get('x-request-id') ?? exchange.requestId,
    expertId: headers.get('x-fleetgate-expert') ?? exchange.expertId,
    deviceId: headers.get('x-fleetgate-device') ?? exchange.deviceId,
  };
}

/** Takes up one frame of the OpenAI stream; after the end nothing changes any more. */
export function withFrame(exchange: Exchange, frame: SseFrame): Exchange {
  if (hasEnded(exchange)) return exchange;
  if (frame.data.startsWith('[DONE]')) return { ...exchange, phase: 'done' };
  let body: unknown;
  try {
    body = JSON.parse(frame.data);
  } catch {
    return failed(exchange, 'The answer held a frame that is not JSON.', null);
  }
  const error = field(body, 'error');
  if (error !== undefined && error !== null) {
    const message = field(error, 'message');
    const hint = field(error, 'hint');
    return failed(
      exchange,
      typeof message === 'string' ? message : 'The answer ended with an error.',
      typeof hint === 'string' ? hint : null,
    );
  }
  const choices = field(body, 'choices');
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined;
  const content = field(field(choice, 'delta'), 'content');
  const finish = field(choice, 'finish_reason');
  return {
    ...exchange,
    phase: 'streaming',
    answer: typeof content === 'string' ? exchange.answer + content : exchange.answer,
    finishReason: typeof finish === 'string' ? finish : exchange.finishReason,
  };
}

/** The stream's body ended. Without [DONE] and without a finish reason the answer is not whole. */
export function withEnd(exchange: Exchange): Exchange {
  if (hasEnded(exchange)) return exchange;
  if (exchange.finishReason !== null) return { ...exchange, phase: 'done' };
  return failed(exchange, 'The answer was cut off: the connection ended before it was complete.', null);
}

export function withStop(exchange: Exchange): Exchange {
  return hasEnded(exchange) ? exchange : { ...exchange, phase: 'stopped' };
}

export function withFailure(exchange: Exchange, failure: ApiFailure): Exchange {
  return hasEnded(exchange) ? exchange : failed(exchange, failure.message, failure.hint);
}

export function hasEnded(exchange: Exchange): boolean {
  return exchange.phase === 'done' || exchange.phase === 'stopped' || exchange.phase === 'failed';
}

function failed(exchange: Exchange, message: string, hint: string | null): Exchange {
  return { ...exchange, phase: 'failed', failure: { message, hint } };
}
