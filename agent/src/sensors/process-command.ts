import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

import { isFleetError, FleetError } from '@fleetgate/shared/errors';

import type { SensorAdapter, SensorReader } from './sensors.js';

/**
 * Runs a sensor command and gives its standard output, or only its first line for one that never ends by itself.
 * Rejects when it is missing, fails or takes longer than the deadline; the child is always ended.
 */
export type CommandRunner = (command: string, args: readonly string[], until: 'exit' | 'first-line') => Promise<string>;

/** Whether a rejection of a CommandRunner means that this machine has no such command. */
export function isMissingCommand(error: unknown): boolean {
  const cause = isFleetError(error) ? error.cause : error;
  return cause instanceof Error && 'code' in cause && (cause.code === 'ENOENT' || cause.code === 'EACCES');
}

/** A sensor that is read by a command: absent where the command is; opened by reading it once. */
export function commandSensor(name: string, read: SensorReader): SensorAdapter {
  return {
    name,
    open: async () => {
      try {
        await read();
      } catch (error) {
        if (isMissingCommand(error)) return undefined;
        throw error;
      }
      return read;
    },
  };
}

const DEADLINE_MS = 3000;

export const runCommand: CommandRunner = (command, args, until) =>
  until === 'exit' ? runToExit(command, args) : runToFirstLine(command, args);

function runToExit(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: DEADLINE_MS, killSignal: 'SIGKILL', maxBuffer: 1 << 20 } as const;
    execFile(command, [...args], options, (cause, stdout) => {
      if (cause === null) resolve(stdout);
      else reject(failed(command, cause));
    });
  });
}

function runToFirstLine(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args], { stdio: ['ignore', 'pipe', 'ignore'] });
    const timer = setTimeout(() => end(failed(command, new Error('no line within the deadline'))), DEADLINE_MS);
    const lines = createInterface({ input: child.stdout });
    const end = (outcome: string | Error): void => {
      clearTimeout(timer);
      lines.close();
      child.kill('SIGKILL');
      if (typeof outcome === 'string') resolve(outcome);
      else reject(outcome);
    };
    lines.once('line', end);
    child.once('error', (cause) => end(failed(command, cause)));
    child.once('exit', () => end(failed(command, new Error('ended without a line'))));
  });
}

function failed(command: string, cause: Error): FleetError {
  return new FleetError('setup.missing', `sensor command ${command}: ${cause.message}`, { cause, retryable: true });
}
