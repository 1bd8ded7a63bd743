import { basename } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';

import { FleetError } from '@fleetgate/shared/errors';
import type { Command } from 'commander';

import type { BenchReport } from '../bench/bench-report.js';
import { billionParameters } from '../bench/model-sizes.js';
import { sharedExperts } from '../bench/trade-off-figures.js';
import { voteFigures } from '../bench/vote-figures.js';
import { voteFolds } from '../bench/vote-prompts.js';
import { voteReport } from '../bench/vote-report.js';
import { readOutcomes } from '../gating/disk-outcomes.js';
import type { Outcome } from '../gating/outcomes.js';
import { printNote } from './output.js';

const SEED = 1;
/** Committees are chosen in milliseconds; this ends a search that is not. */
const LONGEST_CHOICE_MS = 10_000;

export interface BenchVoteOptions {
  readonly data?: string;
  readonly models?: string;
}

export function addBenchVoteOptions(command: Command): Command {
  return command
    .option('--data <file>', '`vote`: outcome file with the column `ans`, the final answer of each model')
    .option('--models <names>', '`vote`: models to choose from, separated by commas (default: those of every line)');
}

/** `bench vote`: voting beside single experts and routing at equal cost, by cross-validation. A minute or two. */
export async function runBenchVote(options: BenchVoteOptions, signal: AbortSignal): Promise<BenchReport> {
  const { data } = options;
  if (data === undefined) {
    throw new FleetError('usage.invalid', '--data: expected an outcome file with answers, got none', {
      hint: 'bench vote --data OUTCOMES.jsonl.gz [--models A,B,C]',
    });
  }
  const outcomes: Outcome[] = [];
  for await (const outcome of readOutcomes(data, signal)) if (outcome.ans !== undefined) outcomes.push(outcome);
  const models = options.models?.split(',') ?? sharedExperts(outcomes);
  const sizes = sizesOf(data, models, outcomes);
  const folds = await voteFolds(outcomes, sizes, SEED, async (done, all) => {
    printNote(`vote: gate ${done + 1} of ${all}`);
    await nextTurn();
    signal.throwIfAborted();
  });
  printNote('vote: choosing committees');
  const figures = voteFigures([...sizes.keys()], folds, () => {
    const ends = Date.now() + LONGEST_CHOICE_MS;
    return { expired: () => signal.aborted || Date.now() > ends };
  });
  const leftOut = models.filter((model) => !sizes.has(model));
  return voteReport(basename(data).replace(/\.jsonl(?:\.gz)?$/, ''), figures, leftOut);
}

/** Sizes of the models to choose from; throws `outcomes.invalid` for models that are missing or of unknown size. */
function sizesOf(file: string, models: readonly string[], outcomes: readonly Outcome[]): ReadonlyMap<string, number> {
  const known = models.flatMap((model) => {
    const size = billionParameters(model);
    return size === undefined ? [] : [[model, size] as const];
  });
  const absent = models.find((model) => outcomes.some(({ y }) => y[model] === undefined));
  if (absent !== undefined) {
    throw new FleetError('outcomes.invalid', `${file}: ${JSON.stringify(absent)} has no outcome on some lines`);
  }
  if (known.length < 2 || outcomes.length < 100) {
    throw new FleetError(
      'outcomes.invalid',
      `${file}: expected 100 lines with \`ans\` and two models of known size, got ${outcomes.length} and ${known.length}`,
      { hint: 'sizes are read from names like gemma-2-9b-it' },
    );
  }
  return new Map(known);
}
