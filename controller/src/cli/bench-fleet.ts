import { join } from 'node:path';

import type { Command } from 'commander';

import type { BenchReport } from '../bench/bench-report.js';
import { HttpFleetClient } from '../bench/http-fleet-client.js';
import { scaleBench } from '../bench/scale/scale-bench.js';
import { storedSamples } from '../bench/scale/sqlite-stored-samples.js';
import { withBareFleet } from './bare-fleet.js';
import { countOption } from './options.js';
import { printNote } from './output.js';

export interface BenchFleetOptions {
  readonly devices: number;
  readonly batch: number;
  readonly minutes: number;
  readonly keep?: string;
}

/** `--minutes` and `--keep` are those of `load`. */
export function addBenchFleetOptions(command: Command): Command {
  return command
    .option('--devices <n>', '`fleet`: how many connect', countOption, 10_000)
    .option(
      '--batch <n>',
      '`fleet`: samples of a telemetry message, one sample a second of each device',
      countOption,
      20,
    );
}

/** `bench fleet`: a controller and a broker of its own, and many connections that speak as agents do. */
export function runBenchFleet(options: BenchFleetOptions, signal: AbortSignal): Promise<BenchReport> {
  const { devices, batch, minutes, keep } = options;
  return withBareFleet(keep, (fleet) =>
    scaleBench(
      {
        ...fleet,
        client: new HttpFleetClient(fleet.url, fleet.key),
        stopAndCount: async () => {
          await fleet.stop();
          return storedSamples(join(fleet.folder, 'telemetry.sqlite'));
        },
      },
      { devices, batch, steadyMs: minutes * 60_000 },
      printNote,
      signal,
    ),
  );
}
