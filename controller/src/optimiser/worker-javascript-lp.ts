/** Entry of the worker thread that runs javascript-lp-solver: one model in, one answer out, killed when it takes too long. */
import { parentPort } from 'node:worker_threads';

import solverModule, { type Model } from 'javascript-lp-solver';

import { messageOf } from '@fleetgate/shared/errors';

// The types describe the CommonJS form, whose solver is the property `default`; the ES module exports it directly.
const solver = solverModule as unknown as typeof solverModule.default;

export interface TinyAnswer {
  readonly id: number;
  readonly values?: Readonly<Record<string, number | boolean | undefined>>;
  readonly error?: string;
}

parentPort?.on('message', ({ id, model }: { id: number; model: Model }) => {
  let answer: TinyAnswer;
  try {
    const result: unknown = solver.Solve(model);
    answer = { id, values: { ...(result as TinyAnswer['values']) } };
  } catch (error) {
    answer = { id, error: messageOf(error) };
  }
  parentPort?.postMessage(answer);
});
