import { type ChildProcess, fork } from 'node:child_process';

import { FleetError } from '@fleetgate/shared/errors';
import { processEntry } from '@fleetgate/shared/process-entry';

import type { PlanExplanation } from '../optimiser/explain-plan.js';
import type { PlacementPlan } from '../optimiser/plan.js';
import { killed } from '../platform/process-end.js';
import type { ExplanationQuestion, OptimiserQuestion, PlacementOptimiser } from './placement-optimiser.js';
import type { OptimiserReply, OptimiserRequest } from './process-optimiser-main.js';

/** Conflict search and repairs come after the time limit; then there is the first call's compilation. */
const GRACE_FACTOR = 2;
const GRACE_MS = 15_000;
const MOST_WAITING = 16;
/** Plans come in bursts, then not for hours. A fresh start costs a quarter of a second, a warm process 140 MiB. */
const IDLE_MS = 30_000;

type Question = OptimiserRequest['question'];
type Answer = Exclude<OptimiserReply, { readonly error: string }>;

/**
 * Solves plans in a process of its own, one after the other, so that a hard plan never delays a prompt.
 *
 * The process is started by a question, kept warm, and ended when none follows for 30 s. A question that overruns its
 * limit gets the process killed; a process that dies takes only its question with it. A thread would do, but the
 * WebAssembly compiler's memory would stay with the controller for good: the allocator does not give it back.
 */
export class ProcessOptimiser implements PlacementOptimiser {
  #process: ChildProcess | undefined;
  #idle: NodeJS.Timeout | undefined;
  #next = 0;
  #waiting = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;
  readonly #entry: string;
  readonly #graceMs: number;
  readonly #idleMs: number;

  constructor(
    options: {
      /** Program of the process. */
      readonly entry?: string;
      readonly graceMs?: number;
      readonly idleMs?: number;
    } = {},
  ) {
    this.#entry = options.entry ?? processEntry(import.meta.url, './process-optimiser-main.js');
    this.#graceMs = options.graceMs ?? GRACE_MS;
    this.#idleMs = options.idleMs ?? IDLE_MS;
  }

  /** Process id of the optimiser while it lives. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  async ask(question: OptimiserQuestion): Promise<PlacementPlan> {
    const reply = await this.#queued(question);
    if ('plan' in reply) return reply.plan;
    throw failed('the solver answered another question');
  }

  async explain(question: ExplanationQuestion): Promise<PlanExplanation> {
    const reply = await this.#queued(question);
    if ('explanation' in reply) return reply.explanation;
    throw failed('the solver answered another question');
  }

  #queued(question: Question): Promise<Answer> {
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

  async #ask(question: Question): Promise<Answer> {
    if (this.#closed) throw new FleetError('solver.failed', 'the optimiser is closed');
    clearTimeout(this.#idle);
    const child = (this.#process ??= this.#start());
    const request: OptimiserRequest = { id: this.#next++, question };
    const limitMs = question.limits.timeLimitS * 1000 * GRACE_FACTOR + this.#graceMs;
    const reply = await new Promise<OptimiserReply | FleetError>((resolve) => {
      const finish = (result: OptimiserReply | FleetError) => {
        clearTimeout(timer);
        child.off('message', onMessage).off('error', onError).off('exit', onExit);
        resolve(result);
      };
      const onMessage = (message: OptimiserReply) => {
        if (message.id === request.id) finish(message);
      };
      const onError = (error: Error) => finish(failed(`the solver's process broke down: ${error.message}`, error));
      const onExit = (code: number | null, signal: string | null) =>
        finish(failed(`the solver's process ended with ${signal ?? code}`));
      const timer = setTimeout(
        () => finish(new FleetError('solver.timeout', `no plan within ${limitMs} ms`, { retryable: true })),
        limitMs,
      );
      child.on('message', onMessage).on('error', onError).on('exit', onExit);
      child.send(request, (error) => {
        if (error !== null) onError(error);
      });
    });
    if (reply instanceof FleetError) {
      await this.#kill();
      throw reply;
    }
    this.#idle = setTimeout(() => void this.#kill(), this.#idleMs).unref();
    if ('error' in reply) throw failed(`the solver failed: ${reply.error}`);
    return reply;
  }

  #start(): ChildProcess {
    // Structured clone, not JSON: a bound may be infinite.
    const child = fork(this.#entry, [], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      serialization: 'advanced',
      execArgv: [],
    });
    // Between two questions nobody else listens; an unheard error event would end the controller.
    child.on('error', () => this.#forget(child)).on('exit', () => this.#forget(child));
    return child;
  }

  #forget(child: ChildProcess): void {
    if (this.#process === child) this.#process = undefined;
  }

  async #kill(): Promise<void> {
    clearTimeout(this.#idle);
    const child = this.#process;
    this.#process = undefined;
    if (child !== undefined) await killed(child);
  }
}

function failed(message: string, cause?: Error): FleetError {
  return new FleetError('solver.failed', message, { retryable: true, ...(cause === undefined ? {} : { cause }) });
}
