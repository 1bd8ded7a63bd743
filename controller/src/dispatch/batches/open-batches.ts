import type { Clock } from '@fleetgate/shared/clock';
import type { Logger } from '@fleetgate/shared/logger';
import type { Random } from '@fleetgate/shared/random';

import type { RateLimits } from '../../access/rate-limits.js';
import type { Database } from '../../platform/database.js';
import type { Leading } from '../../platform/leading.js';
import type { DispatchedRequest } from '../dispatcher.js';
import { answerLine } from '../openai/answer-line.js';
import type { Prompt } from '../prompt.js';
import { Batches } from './batches.js';
import { roomForLines } from './batch-pace.js';
import { BatchRunner } from './batch-runner.js';
import { SqliteBatchStore } from './sqlite-batch-store.js';

export interface OpenBatches {
  readonly batches: Batches;
  readonly runner: BatchRunner;
}

/** Batches in `database`, not yet begun. */
export function openBatches(parts: {
  readonly database: Database;
  readonly taker: { accept(prompt: Prompt, signal?: AbortSignal): DispatchedRequest };
  readonly load: () => { readonly idleDevices: number; readonly inFlight: number; readonly maxInFlight: number };
  /** Undefined: nothing is limited. */
  readonly rates?: RateLimits | undefined;
  /** Of several controllers. */
  readonly leading?: Leading;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}): OpenBatches {
  const { taker, load, rates, leading, clock, random, log } = parts;
  const store = new SqliteBatchStore(parts.database);
  const runner = new BatchRunner({
    store,
    answer: ({ endpoint, tenant }, body, signal) => answerLine(taker, endpoint, body, signal, { tenant, rates }),
    room: (linesUnderWay) => roomForLines({ ...load(), linesUnderWay }),
    ...(leading === undefined ? {} : { leading }),
    clock,
    log,
  });
  return { batches: new Batches({ store, runner, clock, random }), runner };
}
