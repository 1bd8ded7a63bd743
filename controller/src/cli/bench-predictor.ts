import { fileURLToPath } from 'node:url';

import { InvalidArgumentError, type Command } from 'commander';

import type { BenchReport } from '../bench/bench-report.js';
import { routingBench } from '../bench/disk-routing-bench.js';
import { gateLatency } from '../bench/gate-latency.js';
import { readOutcomes } from '../gating/disk-outcomes.js';
import type { Outcome } from '../gating/outcomes.js';
import { printNote } from './output.js';

const BUNDLED_OUTCOMES = fileURLToPath(new URL('../../../experts/outcomes/bundled.jsonl.gz', import.meta.url));

export interface BenchPredictorOptions {
  readonly routing?: string;
  readonly seeds: readonly number[];
}

export function addBenchPredictorOptions(command: Command): Command {
  return command
    .option('--routing <dir>', '`predictor`: folder of outcome files to cross-validate the gate on; minutes a file')
    .option('--seeds <list>', '`predictor`: seeds of the folds, separated by commas', seeds, [1, 2, 3]);
}

/** `bench predictor`: how fast the gate decides, and with `--routing` how well it predicts. Wants no fleet. */
export async function runBenchPredictor(options: BenchPredictorOptions, signal: AbortSignal): Promise<BenchReport> {
  const outcomes: Outcome[] = [];
  for await (const outcome of readOutcomes(BUNDLED_OUTCOMES, signal)) outcomes.push(outcome);
  printNote('predictor: latency');
  const latency = gateLatency(outcomes);
  if (options.routing === undefined) return { ...latency, name: 'predictor' };
  const routing = await routingBench(options.routing, options.seeds, printNote, signal);
  return {
    name: 'predictor',
    figures: latency.figures,
    tables: routing.tables,
    notes: [...latency.notes, ...routing.notes],
  };
}

function seeds(text: string): readonly number[] {
  const list = text.split(',').map(Number);
  if (list.length === 0 || list.some((seed) => !Number.isInteger(seed) || seed < 0)) {
    throw new InvalidArgumentError(`expected whole numbers separated by commas, got ${text}.`);
  }
  return list;
}
