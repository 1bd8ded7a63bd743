import { type ChildProcess, fork } from 'node:child_process';

import { FleetError } from '@fleetgate/shared/errors';
import { processEntry } from '@fleetgate/shared/process-entry';

import type { BenchAnswer, BenchRequest, FromBenchChild } from './bench-offload-child.js';
import type { Sandbox } from './bench-offload-sandbox.js';

/** A whole prompt at 90 MB/s under a cap takes a minute; a dying medium must not hold the benchmark for ever. */
const ANSWER_MS = 900_000;

/** One variant in its process, in its control group. */
export class BenchProcess {
  readonly #child: ChildProcess;
  readonly #sandbox: Sandbox;
  readonly #gone: Promise<string>;

  private constructor(child: ChildProcess, sandbox: Sandbox) {
    this.#child = child;
    this.#sandbox = sandbox;
    this.#gone = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
      child.once('error', (error) => resolve(error.message));
    });
  }

  /** Starts a process and puts it into its group before it loads anything. */
  static async start(sandbox: Sandbox): Promise<BenchProcess> {
    const child = fork(processEntry(import.meta.url, './bench-offload-child.js'), [], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: ['--max-semi-space-size=1'],
    });
    const started = new BenchProcess(child, sandbox);
    if (child.pid !== undefined) await sandbox.add(child.pid);
    return started;
  }

  async throttle(bytesPerSecond: number | undefined): Promise<void> {
    await this.#sandbox.throttle(bytesPerSecond);
  }

  /** Throws `engine.crashed` with what became of the process; the signal's reason when it is given. */
  async ask(request: BenchRequest, signal: AbortSignal): Promise<BenchAnswer> {
    let onMessage: ((message: FromBenchChild) => void) | undefined;
    let onAbort: (() => void) | undefined;
    const deadline = AbortSignal.timeout(ANSWER_MS);
    const either = AbortSignal.any([signal, deadline]);
    try {
      const answered = new Promise<BenchAnswer>((resolve, reject) => {
        onMessage = (message) =>
          message.kind === 'answer' ? resolve(message.answer) : reject(crashed(message.message));
        onAbort = () => reject(signal.aborted ? (signal.reason as Error) : crashed(`no answer in ${ANSWER_MS} ms`));
        this.#child.once('message', onMessage);
        either.addEventListener('abort', onAbort, { once: true });
        if (either.aborted) onAbort();
      });
      this.#child.send(request);
      return await Promise.race([answered, this.#gone.then((how) => Promise.reject(crashed(`it ended: ${how}`)))]);
    } finally {
      if (onMessage !== undefined) this.#child.off('message', onMessage);
      if (onAbort !== undefined) either.removeEventListener('abort', onAbort);
    }
  }

  /** Ends the process and removes its group. */
  async close(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#gone;
    await this.#sandbox.remove();
  }
}

function crashed(what: string): FleetError {
  return new FleetError('engine.crashed', `bench offload: ${what}`, {
    hint: 'SIGKILL under a memory cap means that the cap was too small for the variant',
  });
}
