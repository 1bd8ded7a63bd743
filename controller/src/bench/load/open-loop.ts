import type { Arrival } from './arrivals.js';
import type { Offered } from './outcome.js';

export interface OpenLoopParts {
  /** ms, of any origin. */
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  readonly send: (arrival: Arrival, traceId: string, dueAt: number) => Promise<Offered>;
  /** `at` counts from 0. */
  readonly traceId: (at: number) => string;
  /** What this client may have under way at once; what falls due beyond it is not sent, and is told. */
  readonly mostAtOnce: number;
}

/**
 * Sends each arrival when it is due, whatever became of those before, and resolves when all have ended. One that this
 * client is late with counts from when it was due.
 */
export async function offerOpenLoop(
  arrivals: readonly Arrival[],
  { now, sleep, send, traceId, mostAtOnce }: OpenLoopParts,
  signal: AbortSignal,
): Promise<readonly Offered[]> {
  const startedAt = now();
  const all: Promise<Offered>[] = [];
  let underWay = 0;
  for (const [at, arrival] of arrivals.entries()) {
    const dueAt = startedAt + arrival.atMs;
    const wait = dueAt - now();
    if (wait > 0) await sleep(wait);
    if (signal.aborted) break;
    if (underWay >= mostAtOnce) {
      all.push(Promise.resolve(unoffered(arrival, traceId(at), now() - dueAt)));
      continue;
    }
    underWay += 1;
    all.push(
      send(arrival, traceId(at), dueAt).finally(() => {
        underWay -= 1;
      }),
    );
  }
  return Promise.all(all);
}

function unoffered({ streamed }: Arrival, traceId: string, lateMs: number): Offered {
  return {
    traceId,
    requestId: undefined,
    streamed,
    lateMs,
    firstTokenMs: undefined,
    totalMs: lateMs,
    outcome: { kind: 'unoffered' },
  };
}
