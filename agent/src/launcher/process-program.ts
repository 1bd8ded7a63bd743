import { fork } from 'node:child_process';

import { type FromLauncher, toLauncherSchema } from './launch-messages.js';
import type { LauncherPorts, RunningProgram } from './launcher.js';

/** An agent ends its jobs and says goodbye within a few seconds; systemd waits 20 s for all of us. */
const STOP_MS = 15_000;

/** Starts `entry` with `args` in a process of its own, which ends when this one is gone. */
export function startProgram(
  entry: string,
  args: readonly string[],
  onMessage: Parameters<LauncherPorts['start']>[1],
): RunningProgram {
  const child = fork(entry, [...args], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  let kill: NodeJS.Timeout | undefined;
  child.on('message', (value) => {
    const message = toLauncherSchema.safeParse(value);
    if (message.success) onMessage(message.data);
  });
  return {
    ended: new Promise((resolve) => {
      const end = (status: number | null): void => (clearTimeout(kill), resolve(status ?? undefined));
      child.once('exit', end);
      child.once('error', () => end(null));
    }),
    tell: (state) => {
      const message: FromLauncher = { kind: 'launch-state', state };
      // A program that is ending hears no more.
      if (child.connected) child.send(message, () => {});
    },
    stop: () => {
      child.kill('SIGTERM');
      kill ??= setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    },
  };
}
