import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Command, InvalidArgumentError } from 'commander';

import type { BenchReport } from '../bench/bench-report.js';
import { chaosBench } from '../bench/chaos/chaos-bench.js';
import { CuttableNetwork } from '../bench/chaos/linux-cuttable-network.js';
import { FalseClocks } from '../bench/chaos/linux-false-clock.js';
import { SmallDisk } from '../bench/chaos/linux-small-disk.js';
import { ProcessChaosFleet } from '../bench/chaos/process-chaos-fleet.js';
import type { ValidationPair } from '../bench/disk-validation-pairs.js';
import { HttpFleetClient } from '../bench/http-fleet-client.js';
import { HttpLoadClient } from '../bench/load/http-load-client.js';
import { untilReady } from './fleet-ready.js';
import { LocalFleet } from './local-fleet.js';
import { countOption } from './options.js';
import { printNote } from './output.js';

const DEVICES = ['jetson', 'pi', 'phone'] as const;
/** The only one whose network can be cut. */
const CUTTABLE = 'phone';
const SUBNET = '10.213.77';
const DISK_BYTES = 256 * 1024 * 1024;

export interface BenchChaosOptions {
  readonly faults: number;
  readonly rate: number;
  readonly seed: number;
  readonly keep?: string;
}

/** `--seed` and `--keep` are those of `load`. */
export function addBenchChaosOptions(command: Command): Command {
  return command
    .option('--faults <n>', '`chaos`: how many, one after the other', countOption, 100)
    .option('--rate <n>', '`chaos`: requests a second meanwhile', rate, 6);
}

/** `bench chaos`: a controller, a broker and three agents of its own under load, and what can befall them on this machine. */
export async function runBenchChaos(
  options: BenchChaosOptions,
  pairs: readonly ValidationPair[],
  signal: AbortSignal,
): Promise<BenchReport> {
  const dataDir = options.keep ?? mkdtempSync(join(tmpdir(), 'fleetgate-chaos-'));
  const network = CuttableNetwork.make(`fg${process.pid}`, SUBNET);
  const disk = SmallDisk.at(join(dataDir, 'controller'), DISK_BYTES);
  const clocks = FalseClocks.in(join(dataDir, 'clocks'));
  const fleet = new LocalFleet({
    ...{ dataDir, httpPort: 0, mqttPort: 0, devices: DEVICES.length, logLevel: 'info', say: printNote },
    host: network?.hostAddress ?? '127.0.0.1',
    surroundings: (name) => ({
      entry: name === CUTTABLE ? (network?.entry ?? []) : [],
      environment: clocks?.environmentOf(name) ?? {},
    }),
  });
  try {
    const listening = await Promise.race([fleet.start(), fleet.failed]);
    const key = fleet.apiKey;
    await Promise.race([untilReady(listening, DEVICES.length, () => {}, signal, key), fleet.failed]);
    const networks = new Map(network === undefined ? [] : [[CUTTABLE, network]]);
    const chaos = chaosBench(
      {
        fleet: new ProcessChaosFleet(fleet, { devices: DEVICES, networks, clocks, disk }),
        client: new HttpFleetClient(listening.httpUrl, key),
        load: new HttpLoadClient(listening.httpUrl, key),
        pairs,
      },
      { rounds: options.faults, ratePerS: options.rate, seed: options.seed },
      printNote,
      signal,
    );
    return await Promise.race([chaos, fleet.failed]);
  } finally {
    await fleet.stop();
    network?.remove();
    disk?.remove();
    if (options.keep === undefined) rmSync(dataDir, { recursive: true, force: true });
  }
}

function rate(text: string): number {
  const value = Number(text);
  if (!(value > 0) || value > 1000) throw new InvalidArgumentError(`expected 0 to 1000 a second, got ${text}.`);
  return value;
}
