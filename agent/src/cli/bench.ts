import type { Command } from 'commander';

import { registerBenchOffload } from './bench-offload.js';

/** Adds `bench` with the benchmarks of a device; those of the controller are its own. */
export function registerBench(program: Command): void {
  registerBenchOffload(program.command('bench').description('benchmarks of this device'));
}
