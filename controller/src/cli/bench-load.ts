import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Command, InvalidArgumentError } from 'commander';

import type { BenchReport } from '../bench/bench-report.js';
import type { ValidationPair } from '../bench/disk-validation-pairs.js';
import { HttpFleetClient } from '../bench/http-fleet-client.js';
import { HttpLoadClient } from '../bench/load/http-load-client.js';
import { loadBench } from '../bench/load/load-bench.js';
import { untilReady } from './fleet-ready.js';
import { LocalFleet } from './local-fleet.js';
import { countOption } from './options.js';
import { printNote } from './output.js';

const DEVICES = 3;
const LONGEST_MINUTES = 24 * 60;
const MOST_CAPACITY_MS = 20_000;

export interface BenchLoadOptions {
  readonly minutes: number;
  readonly shares: readonly number[];
  readonly seed: number;
  readonly keep?: string;
}

export function addBenchLoadOptions(command: Command): Command {
  return command
    .option('--minutes <n>', '`load`: length of each phase; `fleet`: of the telemetry', minutes, 10)
    .option('--shares <list>', '`load`: load of each phase, in percent of the capacity', shares, [0.5, 0.8, 1.2])
    .option('--seed <n>', '`load`, `chaos`, `fuzz`: of arrivals, prompts, faults and packets', countOption, 1)
    .option('--keep <dir>', '`load`, `chaos`, `fleet`, `fuzz`: keep the data and logs of their fleet there');
}

/** `bench load`: a controller, a broker and three agents of its own under open-loop load, with agents killed and frozen. */
export async function runBenchLoad(
  options: BenchLoadOptions,
  pairs: readonly ValidationPair[],
  signal: AbortSignal,
): Promise<BenchReport> {
  const dataDir = options.keep ?? mkdtempSync(join(tmpdir(), 'fleetgate-load-'));
  const ports = { host: '127.0.0.1', httpPort: 0, mqttPort: 0 };
  const fleet = new LocalFleet({ dataDir, ...ports, devices: DEVICES, logLevel: 'info', say: printNote });
  const phaseMs = options.minutes * 60_000;
  const forMs = Math.min(MOST_CAPACITY_MS, phaseMs / 2);
  try {
    const listening = await Promise.race([fleet.start(), fleet.failed]);
    const key = fleet.apiKey;
    await Promise.race([untilReady(listening, DEVICES, () => {}, signal, key), fleet.failed]);
    signal.throwIfAborted();
    const load = loadBench(
      {
        fleet: {
          pids: () => fleet.pids(),
          kill: (device, awayMs) => fleet.kill(device, awayMs),
          freeze: (device) => fleet.signal(device, 'SIGSTOP'),
          thaw: (device) => fleet.signal(device, 'SIGCONT'),
        },
        client: new HttpFleetClient(listening.httpUrl, key),
        load: new HttpLoadClient(listening.httpUrl, key),
        pairs,
      },
      { phaseMs, shares: options.shares, capacity: { warmUpMs: forMs / 4, forMs }, seed: options.seed },
      printNote,
      signal,
    );
    return await Promise.race([load, fleet.failed]);
  } finally {
    await fleet.stop();
    if (options.keep === undefined) rmSync(dataDir, { recursive: true, force: true });
  }
}

function minutes(text: string): number {
  const value = Number(text);
  if (!(value > 0) || value > LONGEST_MINUTES) {
    throw new InvalidArgumentError(`expected minutes, more than 0 and at most ${LONGEST_MINUTES}, got ${text}.`);
  }
  return value;
}

function shares(text: string): readonly number[] {
  const values = text.split(',').map((part) => Number(part) / 100);
  if (values.some((value) => !(value > 0) || value > 10)) {
    throw new InvalidArgumentError(`expected percents from 1 to 1000 separated by commas, got ${text}.`);
  }
  return values;
}
