import { type ChildProcess, fork, type ForkOptions } from 'node:child_process';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

export interface Child {
  readonly pid: number;
  readonly process: ChildProcess;
  readonly stop: () => Promise<void>;
}

const STOP_DEADLINE_MS = 10_000;

/** Starts a program of this rig; resolves with the first message that `isReady` takes. */
export async function startChild<T>(
  file: string,
  args: readonly string[],
  isReady: (message: unknown) => T | undefined,
  options: ForkOptions & { readonly deadlineMs?: number } = {},
): Promise<Child & { readonly said: T }> {
  const { deadlineMs = 60_000, ...fromCaller } = options;
  const child = fork(file, [...args], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: [], ...fromCaller });
  let words = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (words = (words + text).slice(-2000)));
  const stop = (): Promise<void> => stopped(child);
  try {
    const said = await new Promise<T>((resolve, reject) => {
      const fail = (what: string): void => reject(new Error(`${what}\n${words}`.trim()));
      const timer = setTimeout(() => fail(`not ready after ${deadlineMs / 1000} s`), deadlineMs);
      child.on('message', (message) => {
        const found = isReady(message);
        if (found === undefined) return;
        clearTimeout(timer);
        resolve(found);
      });
      child.once('error', (error) => fail(messageOf(error)));
      child.once('exit', (code, signal) => {
        clearTimeout(timer);
        fail(`ended with ${signal ?? code}`);
      });
    });
    return { pid: child.pid ?? -1, process: child, stop, said };
  } catch (cause) {
    await stop();
    throw new FleetError('setup.missing', `${file} did not start: ${messageOf(cause)}`, { cause });
  }
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    child.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
    child.kill('SIGTERM');
  });
}
