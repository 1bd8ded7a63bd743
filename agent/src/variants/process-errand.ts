import { fork } from 'node:child_process';

import { type ErrorCode, FleetError } from '@fleetgate/shared/errors';

/** What a child that runs one errand says: how far it is, and at last its result or what it failed with. */
export type FromErrand<Result> =
  | { readonly kind: 'progress'; readonly done: number; readonly total: number }
  | { readonly kind: 'done'; readonly result: Result }
  | {
      readonly kind: 'failed';
      readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint?: string };
    };

const KEPT_ERROR_TEXT = 500;

/**
 * Has a program of ours (`errand-child.ts`) do one thing in a process of its own, and answers its result. Aborting kills
 * it. Throws what it failed with, `engine.crashed` when it died, `job.cancelled`; `what` names the errand in messages.
 */
export async function runErrand<Result>(
  program: string,
  request: object,
  what: string,
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<Result> {
  const cancelled = (): FleetError => new FleetError('job.cancelled', `${what} was cancelled`);
  if (signal.aborted) throw cancelled();
  const child = fork(program, [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: [] });
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  signal.addEventListener('abort', kill, { once: true });
  let last: FromErrand<Result> | undefined;
  let errorText = '';
  child.on('message', (message) => {
    last = message as FromErrand<Result>;
    if (last.kind === 'progress') onProgress(last.done, last.total);
  });
  child.stderr?.on('data', (text: Buffer) => {
    errorText = (errorText + text.toString('utf8')).slice(-KEPT_ERROR_TEXT);
  });
  try {
    const how = await new Promise<string>((resolve) => {
      child.on('error', (error) => resolve(`cannot start: ${error.message}`));
      child.on('exit', (code, by) => resolve(by === null ? `ended with ${code}` : `was ended by ${by}`));
      // A request that could not be written is lost with the child: `exit` reports it.
      child.send(request, () => {});
    });
    if (signal.aborted) throw cancelled();
    if (last?.kind === 'done') return last.result;
    if (last?.kind === 'failed') {
      const { code, message, hint } = last.error;
      throw new FleetError(code, message, hint === undefined ? {} : { hint });
    }
    throw new FleetError('engine.crashed', `${what}: the process ${how}: ${errorText.trim()}`, {
      hint: 'with SIGKILL the system ran out of memory; otherwise the file may be damaged: compare its sha256',
    });
  } finally {
    signal.removeEventListener('abort', kill);
  }
}
