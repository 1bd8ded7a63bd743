import type { Command } from 'commander';

import { registerBenchBatching } from './bench-batching.js';
import { registerBenchEngine } from './bench-engine.js';
import { registerBenchFirstToken } from './bench-first-token.js';
import { registerBenchOffload } from './bench-offload.js';

/** Adds `bench` with the benchmarks of a device; those of the controller are its own. */
export function registerBench(program: Command): void {
  const bench = program.command('bench').description('benchmarks of this device');
  registerBenchOffload(bench);
  registerBenchBatching(bench);
  registerBenchEngine(bench);
  registerBenchFirstToken(bench);
}
