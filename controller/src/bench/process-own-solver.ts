import { type ChildProcess, fork } from 'node:child_process';
import { totalmem } from 'node:os';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { processEntry } from '@fleetgate/shared/process-entry';

import { watchUse } from './linux-process-use.js';
import type { Expected, SolveReply, SolveRequest } from './process-solve-main.js';
import type { SolverRun } from './solver-run.js';

export interface OwnRun extends SolverRun {
  readonly expected: Expected | null;
  /** Of the exact model, where it was built as a whole; else 0. */
  readonly columns: number;
  /** Why it failed. */
  readonly reason: string | null;
}

/** Verification, prices and explanations come after the time limit. */
const GRACE_S = 30;
/** To read an instance and write its model. */
const MODEL_S = 120;
/** Of the machine's memory; more would put others out of work. */
const MEMORY_SHARE = 0.5;

/**
 * Runs one task in a process of its own, so that its time and memory are measured as those of any other solver: from the
 * start of Node to its end. A process that overruns twice its limit by 30 s, or takes half of the machine's memory, is
 * killed.
 */
export async function runOwn(solver: string, request: SolveRequest, signal: AbortSignal): Promise<OwnRun> {
  signal.throwIfAborted();
  const started = performance.now();
  const child = fork(processEntry(import.meta.url, './process-solve-main.js'), {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    execArgv: [],
  });
  let killed: string | undefined;
  const kill = (why: string) => {
    killed ??= why;
    child.kill('SIGKILL');
  };
  const mostBytes = MEMORY_SHARE * totalmem();
  const use = watchUse(child.pid ?? -1, mostBytes, () => kill(`killed at ${Math.round(mostBytes / 2 ** 20)} MiB`));
  const mostS = 'timeLimitS' in request ? 2 * request.timeLimitS + GRACE_S : MODEL_S;
  const timer = setTimeout(() => kill(`killed after ${mostS} s`), mostS * 1000);
  const abort = () => kill('interrupted');
  signal.addEventListener('abort', abort, { once: true });
  try {
    const reply = await ask(child, request);
    signal.throwIfAborted();
    const measured = { solver, wallS: (performance.now() - started) / 1000, ...use.stop() };
    if (!('error' in reply)) return { ...reply, ...measured, reason: null };
    const nothing = { objective: null, bound: null, gap: null, nodes: null, expected: null, columns: 0 };
    return { ...nothing, ...measured, status: 'failed', reason: killed ?? reply.error };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
    use.stop();
  }
}

/** Resolves when the process has ended. */
async function ask(child: ChildProcess, request: SolveRequest): Promise<SolveReply> {
  let reply: SolveReply | undefined;
  child.on('message', (message: SolveReply) => (reply = message));
  return new Promise<SolveReply>((resolve, reject) => {
    child.once('error', (error) =>
      reject(
        new FleetError('solver.failed', `the solver's process did not start: ${messageOf(error)}`, { cause: error }),
      ),
    );
    child.once('exit', (code, signal) => resolve(reply ?? { error: `the process ended with ${signal ?? code}` }));
    child.send(request, (error) => {
      if (error !== null) reply = { error: messageOf(error) };
    });
  });
}
