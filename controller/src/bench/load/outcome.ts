/** How a request ended for its client; every one that falls due ends in exactly one of these. */
export type ClientOutcome =
  | { readonly kind: 'answered' }
  /** An HTTP answer of 400 or more; the headers as they were, undefined where absent. */
  | {
      readonly kind: 'refused';
      readonly status: number;
      readonly code: string;
      readonly retryAfter: string | undefined;
      readonly shouldRetry: string | undefined;
    }
  /** An error frame in a stream that had begun. */
  | { readonly kind: 'broken'; readonly code: string }
  /** No answer, or one that ends without its end mark. */
  | { readonly kind: 'disconnected'; readonly reason: string }
  /** Never sent: this client had as many under way as it may. */
  | { readonly kind: 'unoffered' };

export interface Offered {
  /** Names it in the controller's records. */
  readonly traceId: string;
  /** As the controller's headers say. */
  readonly requestId: string | undefined;
  readonly streamed: boolean;
  /** Sent after it was due by, ms. */
  readonly lateMs: number;
  /** Since it was due, not since it was sent, ms; undefined where there was none or nobody could tell. */
  readonly firstTokenMs: number | undefined;
  readonly totalMs: number;
  readonly outcome: ClientOutcome;
}

/** A fault of the API itself: statuses and headers that clients are promised. Undefined for none. */
export function promiseBroken(outcome: ClientOutcome): string | undefined {
  if (outcome.kind !== 'refused') return undefined;
  const { status, code, retryAfter, shouldRetry } = outcome;
  if (status === 500) return `500 ${code}`;
  if (code === '') return `${status} without a code`;
  if (shouldRetry === undefined) return `${status} ${code} without x-should-retry`;
  const waits = Number(retryAfter);
  if (shouldRetry === 'true' && [429, 502, 503].includes(status) && !(waits >= 1 && waits <= 30)) {
    return `${status} ${code} to be tried again, with Retry-After ${retryAfter ?? 'missing'}`;
  }
  return undefined;
}

/** One word or two for tables. */
export function outcomeName(outcome: ClientOutcome): string {
  switch (outcome.kind) {
    case 'refused':
      return `refused ${outcome.status} ${outcome.code}`;
    case 'broken':
      return `broken off ${outcome.code}`;
    case 'disconnected':
      return `disconnected: ${outcome.reason}`;
    case 'answered':
    case 'unoffered':
      return outcome.kind;
  }
}
