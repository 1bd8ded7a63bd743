import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { readExpertCard } from '@fleetgate/shared/catalogue/disk-expert-card';
import { check } from '@fleetgate/shared/check';
import type { Command } from 'commander';

import type { BenchReport } from '../bench/bench-report.js';
import { moe2Figures, type OutcomeSource } from '../bench/disk-moe2-figures.js';
import { solveInstances } from '../bench/disk-solve-instances.js';
import { moe2Report } from '../bench/moe2-report.js';
import { readInstance } from '../optimiser/disk-instance.js';
import { type GateProblem, gateProblemSchema } from '../optimiser/gate-problem.js';
import { printNote } from './output.js';

const BUNDLED_OUTCOMES = fileURLToPath(new URL('../../../experts/outcomes/bundled.jsonl.gz', import.meta.url));
const SEED = 1;

export interface BenchMoe2Options {
  readonly outcomes?: readonly string[];
  readonly instances?: string;
  /** Folder of expert cards, which tell the sizes of the bundled models. */
  readonly experts: string;
}

export function addBenchMoe2Options(command: Command): Command {
  return command.option('--outcomes <files...>', '`moe2`: outcome files to measure on (default: those of the bundle)');
}

/** `bench moe2`: the paper's claims on outcomes, and its baselines on the gates among `--instances`. Up to a minute a file. */
export async function runBenchMoe2(options: BenchMoe2Options, signal: AbortSignal): Promise<BenchReport> {
  const sources: readonly OutcomeSource[] =
    options.outcomes === undefined
      ? [{ name: 'bundle', path: BUNDLED_OUTCOMES, bytes: await bundledSizes(options.experts) }]
      : options.outcomes.map((path) => ({ name: basename(path).replace(/\.jsonl(?:\.gz)?$/, ''), path }));
  const gates = options.instances === undefined ? [] : await gateInstances(options.instances);
  return moe2Report(await moe2Figures(sources, gates, SEED, printNote, signal));
}

/** Bytes of weights by expert; folders without a card are no experts. */
async function bundledSizes(folder: string): Promise<Readonly<Record<string, number>>> {
  const entries = await readdir(folder, { withFileTypes: true });
  const cards = await Promise.all(
    entries
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => readExpertCard(join(folder, name)).catch(() => undefined)),
  );
  return Object.fromEntries(
    cards.flatMap((read) => (read === undefined ? [] : [[read.card.name, read.card.variants[0]?.sizeBytes ?? 0]])),
  );
}

async function gateInstances(folder: string): Promise<readonly GateProblem[]> {
  const gates: GateProblem[] = [];
  for (const { file } of await solveInstances(folder)) {
    if (!/gate[^/\\]*$/.test(file)) continue;
    gates.push(check(gateProblemSchema, await readInstance(file), 'instance.invalid', file));
  }
  return gates;
}
