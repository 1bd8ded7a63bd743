import { Worker } from 'node:worker_threads';

import { processEntry } from '@fleetgate/shared/process-entry';

import { fitsTiny, toTinyModel } from './javascript-lp-model.js';
import { checkPoint, columnCount, type LinearProgram } from './linear-program.js';
import type { LinearAnswer, LinearSolver, SolverLimits } from './solver.js';
import type { TinyAnswer } from './worker-javascript-lp.js';

/** Tiny programs take 10 to 130 ms; what takes longer has run into one of its endless loops. */
const WALL_LIMIT_S = 2;
const ACCEPTED_VIOLATION = 1e-6;

/**
 * javascript-lp-solver (Unlicense) in a guarded role: a second opinion and small repairs, never the last word.
 *
 * Measured of version 1.0.3: on its time limit it answers `feasible: true` with a point that is not integral; its LP
 * phase ignores the time limit and may never end; badly scaled programs come back wrong. Hence tiny programs only,
 * equilibrated, in a worker that is killed when time is over, and every point checked against our own arrays. It states
 * no bound, so its answer is never `optimal` here.
 */
export class JavascriptLpSolver implements LinearSolver {
  readonly name = 'javascript-lp-solver';
  #worker: Worker | undefined;
  #next = 0;
  /** One question at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  solve(program: LinearProgram, limits: SolverLimits): Promise<LinearAnswer> {
    if (!fitsTiny(program)) return Promise.resolve({ status: 'failed', reason: 'too large for javascript-lp-solver' });
    const answer = this.#turn.then(() => this.#ask(program, Math.min(WALL_LIMIT_S, limits.timeLimitS) * 1000));
    this.#turn = answer;
    return answer;
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  async #ask(program: LinearProgram, wallMs: number): Promise<LinearAnswer> {
    const { model, scale } = toTinyModel(program, wallMs);
    const worker = (this.#worker ??= this.#start());
    const id = this.#next++;
    const answer = await new Promise<TinyAnswer>((resolve) => {
      const finish = (result: TinyAnswer) => {
        clearTimeout(timer);
        worker.off('message', finish).off('error', onError).off('exit', onExit);
        resolve(result);
      };
      const onError = (error: Error) => finish({ id, error: error.message });
      const onExit = (code: number) => finish({ id, error: `worker ended with ${code}` });
      const timer = setTimeout(() => finish({ id, error: `no answer within ${wallMs} ms` }), wallMs);
      worker.on('message', finish).on('error', onError).on('exit', onExit);
      worker.postMessage({ id, model });
    });
    if (answer.error !== undefined || answer.values === undefined) {
      await this.close();
      return { status: 'failed', reason: `javascript-lp-solver: ${answer.error ?? 'no values'}` };
    }
    return accept(program, answer.values, scale);
  }

  #start(): Worker {
    const worker = new Worker(processEntry(import.meta.url, './worker-javascript-lp.js'), { execArgv: [] });
    worker.unref();
    // An error between two questions: the next one starts a new worker.
    worker.on('error', () => this.#forget(worker)).on('exit', () => this.#forget(worker));
    return worker;
  }

  #forget(worker: Worker): void {
    if (this.#worker === worker) this.#worker = undefined;
  }
}

function accept(program: LinearProgram, values: NonNullable<TinyAnswer['values']>, scale: Float64Array): LinearAnswer {
  if (values['feasible'] !== true) return { status: 'infeasible' };
  if (program.integer.includes(1) && values['isIntegral'] !== true) {
    return { status: 'failed', reason: 'javascript-lp-solver: not integral' };
  }
  const point = new Float64Array(columnCount(program));
  for (let j = 0; j < point.length; j++) {
    const value = values[`c${j}`];
    const scaled = (typeof value === 'number' ? value : 0) * (scale[j] ?? 1);
    // Its results are rounded to 8 decimals.
    point[j] = program.integer[j] === 1 && Math.abs(scaled - Math.round(scaled)) < 1e-6 ? Math.round(scaled) : scaled;
  }
  const check = checkPoint(program, point);
  if (!(check.violation <= ACCEPTED_VIOLATION) || check.fraction > 0) {
    return { status: 'failed', reason: `javascript-lp-solver: violates a row by ${check.violation.toExponential(2)}` };
  }
  const bound = program.sense === 'max' ? Infinity : -Infinity;
  return { status: 'feasible', point, objective: check.objective, bound, rowDuals: undefined, timedOut: false };
}
