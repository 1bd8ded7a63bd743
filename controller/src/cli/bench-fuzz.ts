import type { Command } from 'commander';

import type { BenchReport } from '../bench/bench-report.js';
import { fuzzBench } from '../bench/fuzz/fuzz-bench.js';
import { withBareFleet } from './bare-fleet.js';
import { numberOption } from './options.js';
import { printNote } from './output.js';

export interface BenchFuzzOptions {
  readonly frames: number;
  readonly seed: number;
  readonly keep?: string;
}

/** `--seed` and `--keep` are those of `load`. */
export function addBenchFuzzOptions(command: Command): Command {
  return command.option('--frames <n>', '`fuzz`: hostile packets to send', numberOption, 1_000_000);
}

/** `bench fuzz`: a controller and a broker of its own, attacked by strangers and by devices that have gone bad. */
export function runBenchFuzz({ frames, seed, keep }: BenchFuzzOptions, signal: AbortSignal): Promise<BenchReport> {
  return withBareFleet(keep, (fleet) => fuzzBench(fleet, { frames, seed }, printNote, signal));
}
