import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { FleetError } from '@fleetgate/shared/errors';
import { processEntry } from '@fleetgate/shared/process-entry';

import { type Child, startChild } from '../gateway/process-children.js';
import type { DevicesState, SwarmOrder, SwarmPlan } from './swarm.js';

/** A process that is so many devices. */
export class Swarm {
  readonly #child: Child;
  readonly #folder: string;
  #state: DevicesState;

  static async start(plan: SwarmPlan): Promise<Swarm> {
    const folder = await mkdtemp(join(tmpdir(), 'fleetgate-swarm-'));
    const file = join(folder, 'plan.json');
    await writeFile(file, JSON.stringify(plan), { mode: 0o600 });
    const entry = processEntry(import.meta.url, './process-load-devices-main.js');
    const child = await startChild(entry, [file], stateOf);
    return new Swarm(child, folder, child.said);
  }

  private constructor(child: Child, folder: string, state: DevicesState) {
    this.#child = child;
    this.#folder = folder;
    this.#state = state;
    child.process.on('message', (message) => (this.#state = stateOf(message) ?? this.#state));
  }

  get state(): DevicesState {
    return this.#state;
  }

  get pid(): number {
    return this.#child.pid;
  }

  order(order: SwarmOrder): void {
    this.#child.process.send(order);
  }

  /** Resolves with the milliseconds it took until `isSo`. Rejects with `setup.missing` after `deadlineMs`. */
  async until(isSo: (state: DevicesState) => boolean, deadlineMs: number, signal: AbortSignal): Promise<number> {
    const began = performance.now();
    while (!isSo(this.#state)) {
      signal.throwIfAborted();
      if (performance.now() - began > deadlineMs) {
        throw new FleetError('setup.missing', `${this.#state.online} devices are online after ${deadlineMs / 1000} s`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return performance.now() - began;
  }

  async stop(): Promise<void> {
    await this.#child.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function stateOf(message: unknown): DevicesState | undefined {
  return (message as { readonly kind?: unknown }).kind === 'state' ? (message as DevicesState) : undefined;
}
