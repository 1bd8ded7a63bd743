import { Worker } from 'node:worker_threads';

import { FleetError } from '@fleetgate/shared/errors';
import { processEntry } from '@fleetgate/shared/process-entry';

import type { PlacementPlan } from '../optimiser/plan.js';
import type { OptimiserQuestion, PlacementOptimiser } from './placement-optimiser.js';
import type { OptimiserReply } from './process-optimiser-main.js';

/** Conflict search and repairs come after the time limit; then there is the first call's compilation. */
const GRACE_FACTOR = 2;
const GRACE_MS = 15_000;
const MOST_WAITING = 16;

/**
 * Solves plans in a worker thread, one after the other, so that a hard plan never delays a prompt.
 *
 * The thread is started by the first question and kept warm. A question that overruns its limit gets the thread killed;
 * a thread that dies takes only its question with it.
 */
export class ProcessOptimiser implements PlacementOptimiser {
  #worker: Worker | undefined;
  #next = 0;
  #waiting = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;
  readonly #entry: string;
  readonly #graceMs: number;

  constructor(options: { /** Program of the thread. */ readonly entry?: string; readonly graceMs?: number } = {}) {
    this.#entry = options.entry ?? processEntry(import.meta.url, './process-optimiser-main.js');
    this.#graceMs = options.graceMs ?? GRACE_MS;
  }

  ask(question: OptimiserQuestion): Promise<PlacementPlan> {
    if (this.#waiting >= MOST_WAITING) {
      const message = `${this.#waiting} plans are waiting to be solved`;
      return Promise.reject(new FleetError('solver.failed', message, { retryable: true }));
    }
    this.#waiting++;
    const answer = this.#turn.then(() => this.#ask(question)).finally(() => this.#waiting--);
    this.#turn = answer.catch(() => {});
    return answer;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#kill();
  }

  async #ask(question: OptimiserQuestion): Promise<PlacementPlan> {
    if (this.#closed) throw new FleetError('solver.failed', 'the optimiser is closed');
    const worker = (this.#worker ??= this.#start());
    const id = this.#next++;
    const limitMs = question.limits.timeLimitS * 1000 * GRACE_FACTOR + this.#graceMs;
    const reply = await new Promise<OptimiserReply | FleetError>((resolve) => {
      const finish = (result: OptimiserReply | FleetError) => {
        clearTimeout(timer);
        worker.off('message', onMessage).off('error', onError).off('exit', onExit);
        resolve(result);
      };
      const onMessage = (message: OptimiserReply) => {
        if (message.id === id) finish(message);
      };
      const onError = (error: Error) => finish(failed(`the solver thread broke down: ${error.message}`, error));
      const onExit = (code: number) => finish(failed(`the solver thread ended with ${code}`));
      const timer = setTimeout(
        () => finish(new FleetError('solver.timeout', `no plan within ${limitMs} ms`, { retryable: true })),
        limitMs,
      );
      worker.on('message', onMessage).on('error', onError).on('exit', onExit);
      worker.postMessage({ id, question });
    });
    if (reply instanceof FleetError) {
      await this.#kill();
      throw reply;
    }
    if ('error' in reply) throw failed(`the solver failed: ${reply.error}`);
    return reply.plan;
  }

  #start(): Worker {
    const worker = new Worker(this.#entry, { execArgv: [] });
    worker.unref();
    // Between two questions nobody else listens; an unheard error event would end the controller.
    worker.on('error', () => this.#forget(worker)).on('exit', () => this.#forget(worker));
    return worker;
  }

  #forget(worker: Worker): void {
    if (this.#worker === worker) this.#worker = undefined;
  }

  async #kill(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}

function failed(message: string, cause?: Error): FleetError {
  return new FleetError('solver.failed', message, { retryable: true, ...(cause === undefined ? {} : { cause }) });
}
