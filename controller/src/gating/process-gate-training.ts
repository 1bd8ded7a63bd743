import { fork } from 'node:child_process';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { processEntry } from '@fleetgate/shared/process-entry';

import { killed } from '../platform/process-end.js';
import { readGateFile } from './disk-gate-store.js';
import type { GateModel } from './gate-model.js';
import type { TrainingReport, TrainingTask } from './process-gate-training-main.js';

/** Training that takes longer than this has gone wrong: a hundred thousand outcomes need minutes. */
const DEADLINE_MS = 30 * 60_000;

export interface TrainingRun {
  /** `.jsonl` or `.jsonl.gz`. */
  readonly outcomesPath: string;
  /** Where the gate file is written. */
  readonly gatePath: string;
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (step: string, done: number) => void;
  /** Told the largest resident size that the process had, bytes. */
  readonly onPeak?: (bytes: number) => void;
}

/**
 * Trains a gate from an outcome file in a process of its own, so that the caller's event loop stays free and its memory
 * small; writes the gate file and answers with the model.
 *
 * Throws what training throws (`outcomes.invalid`), and `job.cancelled` when `signal` is aborted: the process is
 * ended and no file is written.
 */
export async function trainGateInProcess(run: TrainingRun): Promise<GateModel> {
  const { signal, onProgress, onPeak } = run;
  if (signal?.aborted === true) throw cancelled();
  const task: TrainingTask = { outcomesPath: run.outcomesPath, gatePath: run.gatePath, seed: run.seed ?? 1 };
  const program = processEntry(import.meta.url, './process-gate-training-main.js');
  const child = fork(program, [JSON.stringify(task)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv: [] });
  const detach: (() => void)[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      child.on('message', (report: TrainingReport) => {
        if (report.kind === 'progress') onProgress?.(report.step, report.done);
        else if (report.kind === 'failed') reject(errorOf(report));
        else {
          onPeak?.(report.peakBytes);
          resolve();
        }
      });
      child.once('error', (cause) => reject(failed(messageOf(cause), cause)));
      child.once('exit', (code, signal) => reject(failed(`its process ended early with ${signal ?? code}`)));
      const timer = setTimeout(() => reject(failed(`not done after ${DEADLINE_MS / 60_000} minutes`)), DEADLINE_MS);
      const abort = () => reject(cancelled());
      signal?.addEventListener('abort', abort, { once: true });
      detach.push(
        () => clearTimeout(timer),
        () => signal?.removeEventListener('abort', abort),
      );
    });
  } finally {
    for (const undo of detach) undo();
    await killed(child);
  }
  return readGateFile(run.gatePath);
}

function errorOf(report: Extract<TrainingReport, { kind: 'failed' }>): FleetError {
  return new FleetError(report.code, report.message, report.hint === undefined ? {} : { hint: report.hint });
}

function failed(what: string, cause?: unknown): FleetError {
  return new FleetError('internal.invariant', `gate training failed: ${what}`, { cause });
}

function cancelled(): FleetError {
  return new FleetError('job.cancelled', 'gate training was cancelled');
}
