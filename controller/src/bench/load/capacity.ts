import { setTimeout as sleep } from 'node:timers/promises';

import type { Random } from '@fleetgate/shared/random';

import type { ValidationPair } from '../disk-validation-pairs.js';
import { drawQuestion } from './arrivals.js';
import type { HttpLoadClient } from './http-load-client.js';

/** Enough that a device which ends an answer has the next one already. */
const CLIENTS = 8;
const PAUSE_MS = 100;

/** Answers a second of a fleet whose clients ask the next thing when they have their answer; the first `warmUpMs` do not count. */
export async function measureCapacity(
  client: HttpLoadClient,
  pairs: readonly ValidationPair[],
  random: Random,
  traceId: (at: number) => string,
  { warmUpMs, forMs }: { readonly warmUpMs: number; readonly forMs: number },
  signal: AbortSignal,
): Promise<number> {
  const from = performance.now() + warmUpMs;
  const until = from + forMs;
  let asked = 0;
  let answered = 0;
  const askInTurn = async (): Promise<void> => {
    while (performance.now() < until && !signal.aborted) {
      const { outcome } = await client.offer(drawQuestion(random, pairs), traceId(asked++), performance.now());
      const now = performance.now();
      if (outcome.kind !== 'answered') await sleep(PAUSE_MS);
      else if (now >= from && now < until) answered += 1;
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, askInTurn));
  signal.throwIfAborted();
  return answered / (forMs / 1000);
}
