import { writeFile } from 'node:fs/promises';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { type Command, InvalidArgumentError } from 'commander';

import type { BenchReport } from '../bench/bench-report.js';
import { growthPlot } from '../bench/growth-plot.js';
import { solveBench } from '../bench/solve-bench.js';
import { printNote } from './output.js';

export interface BenchSolveOptions {
  readonly instances?: string;
  readonly benchmarks?: string;
  readonly peers?: boolean;
  readonly sizes: readonly number[];
  readonly plot?: string;
}

const SIZES = [10, 100, 1000, 10_000, 100_000];
const LARGEST_SIZE = 1_000_000;

export function addBenchSolveOptions(command: Command): Command {
  return command
    .option('--instances <dir>', '`solve`: also every fleet-opt/1 file of this folder and of `large` in it')
    .option('--benchmarks <dir>', '`solve`: also public instances: pmed/, cap/ and gap/ of this folder')
    .option(
      '--peers',
      '`solve`: also HiGHS, and cbc and glpsol where they are installed; `gateway`: also Portkey, fetched by npm',
    )
    .option('--sizes <devices>', '`solve`: fleets to generate, separated by commas', sizes, SIZES)
    .option('--plot <file>', '`solve`: draw time and memory against devices (SVG)');
}

/** `bench solve`, with a picture where one is asked for. `limitS` is for one solve. */
export async function runBenchSolve(
  options: BenchSolveOptions,
  limitS: number,
  signal: AbortSignal,
): Promise<BenchReport> {
  const { instances, benchmarks, peers = false, sizes, plot } = options;
  const given = {
    ...(instances === undefined ? {} : { instances }),
    ...(benchmarks === undefined ? {} : { benchmarks }),
  };
  const { report, growth } = await solveBench({ ...given, peers, sizes, limitS }, printNote, signal);
  if (plot !== undefined) await writePlot(plot, growthPlot(growth));
  return report;
}

async function writePlot(file: string, svg: string): Promise<void> {
  try {
    await writeFile(file, svg);
  } catch (error) {
    throw new FleetError('usage.invalid', `--plot: ${file} cannot be written: ${messageOf(error)}`, { cause: error });
  }
}

function sizes(text: string): readonly number[] {
  const values = text.split(',').map(Number);
  if (values.some((value) => !Number.isInteger(value) || value < 10 || value > LARGEST_SIZE)) {
    throw new InvalidArgumentError(
      `expected whole numbers from 10 to ${LARGEST_SIZE} separated by commas, got ${text}.`,
    );
  }
  return values;
}
