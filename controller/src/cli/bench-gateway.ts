import { type Command, InvalidArgumentError } from 'commander';

import type { BenchReport } from '../bench/bench-report.js';
import { readValidationPairs } from '../bench/disk-validation-pairs.js';
import { gatewayBench } from '../bench/gateway/gateway-bench.js';
import { printNote } from './output.js';

export interface BenchGatewayOptions {
  readonly peers?: boolean;
  readonly prompts: string;
  readonly rounds: number;
  readonly requests: number;
}

const MOST_ROUNDS = 100;
const MOST_REQUESTS = 100_000_000;

export function addBenchGatewayOptions(command: Command): Command {
  return command
    .option('--rounds <n>', '`gateway`: rounds of all targets', counting(1, MOST_ROUNDS), 3)
    .option('--requests <n>', '`gateway`: then so many in a row, watching memory', counting(0, MOST_REQUESTS), 0);
}

export async function runBenchGateway(options: BenchGatewayOptions, signal: AbortSignal): Promise<BenchReport> {
  const { peers = false, rounds, requests } = options;
  const prompts = (await readValidationPairs(options.prompts, 1)).map(({ prompt }) => prompt);
  return gatewayBench({ peers, rounds, requests, prompts }, printNote, signal);
}

function counting(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`expected ${least} to ${most}, got ${text}.`);
  };
}
