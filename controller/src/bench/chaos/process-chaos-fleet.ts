import { kill } from 'node:process';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

import { childrenOf, commandLineOf } from '../load/linux-process-tree.js';
import type { ChaosFleet } from './chaos-fleet.js';
import type { ChaosFault, FaultKind } from './faults.js';
import type { CuttableNetwork } from './linux-cuttable-network.js';
import type { FalseClocks } from './linux-false-clock.js';
import type { SmallDisk } from './linux-small-disk.js';

const HOUR_S = 3600;
const BROKER_ENTRY = 'process-broker-main';

/** Processes that are started again when they end. */
export interface StartedFleet {
  /** By name; one that is down at the moment is missing. */
  pids(): ReadonlyMap<string, number>;
  /** SIGKILL; started again after `awayMs`. */
  kill(name: string, awayMs: number): void;
}

export interface ChaosTools {
  readonly devices: readonly string[];
  /** By device. */
  readonly networks: ReadonlyMap<string, CuttableNetwork>;
  /** Undefined where this machine does not have or permit it. */
  readonly clocks: FalseClocks | undefined;
  /** Of the controller's data. */
  readonly disk: SmallDisk | undefined;
}

/** Faults of the processes of a controller and its agents. */
export class ProcessChaosFleet implements ChaosFleet {
  readonly devices: readonly string[];
  readonly cuttable: readonly string[];
  readonly impossible: ReadonlyMap<FaultKind, string>;
  readonly #fleet: StartedFleet;
  readonly #tools: ChaosTools;
  /** Process that is frozen now. */
  #frozen: number | undefined;

  constructor(fleet: StartedFleet, tools: ChaosTools) {
    const { devices, networks, clocks, disk } = tools;
    this.devices = devices;
    this.cuttable = [...networks.keys()];
    this.#fleet = fleet;
    this.#tools = tools;
    this.impossible = new Map<FaultKind, string>([
      ...(networks.size > 0 ? [] : [['cut-agent', 'network namespaces are not permitted'] as const]),
      ...(disk === undefined ? [['fill-disk', 'mounting is not permitted'] as const] : []),
      ...(clocks === undefined
        ? (['clock-forward', 'clock-back'] as const).map((kind) => [kind, 'libfaketime is not installed'] as const)
        : []),
    ]);
  }

  async begin({ kind, victim, lastsMs }: ChaosFault): Promise<void> {
    const { networks, clocks, disk } = this.#tools;
    switch (kind) {
      case 'kill-controller':
      case 'kill-agent':
        return this.#fleet.kill(victim, lastsMs);
      case 'kill-broker':
        return signal(await this.#broker(), 'SIGKILL');
      case 'kill-engine':
        return signal(await this.#engineOf(victim), 'SIGKILL');
      case 'freeze-controller':
      case 'freeze-agent':
        return this.#freeze(this.#pid(victim));
      case 'freeze-broker':
        return this.#freeze(await this.#broker());
      case 'cut-agent':
        return networks.get(victim)?.cut();
      case 'fill-disk':
        return disk?.fill();
      case 'clock-forward':
        return clocks?.set(victim, HOUR_S);
      case 'clock-back':
        return clocks?.set(victim, -HOUR_S);
    }
  }

  async end({ kind, victim }: ChaosFault): Promise<void> {
    const { networks, clocks, disk } = this.#tools;
    if (this.#frozen !== undefined) signal(this.#frozen, 'SIGCONT');
    this.#frozen = undefined;
    if (kind === 'cut-agent') networks.get(victim)?.mend();
    if (kind === 'fill-disk') disk?.empty();
    if (kind === 'clock-forward' || kind === 'clock-back') clocks?.set(victim, 0);
  }

  #freeze(pid: number): void {
    this.#frozen = pid;
    signal(pid, 'SIGSTOP');
  }

  #pid(name: string): number {
    const pid = this.#fleet.pids().get(name);
    if (pid === undefined) throw new FleetError('setup.missing', `${name} is down before its fault began`);
    return pid;
  }

  async #broker(): Promise<number> {
    const children = await childrenOf(this.#pid('controller'));
    for (const child of children) if ((await commandLineOf(child)).includes(BROKER_ENTRY)) return child;
    throw new FleetError('setup.missing', 'the controller has no broker process');
  }

  /** Where a device holds nothing it has none: then another device's. */
  async #engineOf(device: string): Promise<number> {
    for (const name of [device, ...this.devices]) {
      const [engine] = await childrenOf(this.#pid(name));
      if (engine !== undefined) return engine;
    }
    throw new FleetError('setup.missing', 'no device has an engine process');
  }
}

function signal(pid: number, name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
  try {
    kill(pid, name);
  } catch (cause) {
    // It may have ended meanwhile.
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'ESRCH')) {
      throw new FleetError('setup.missing', `${name} to process ${pid}: ${messageOf(cause)}`, { cause });
    }
  }
}
