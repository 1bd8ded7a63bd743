import { readdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

import { crossValidate } from '../gating/cross-validate.js';
import { readOutcomes } from '../gating/disk-outcomes.js';
import type { Outcome } from '../gating/outcomes.js';
import { trainGateInProcess } from '../gating/process-gate-training.js';

import type { BenchReport, BenchTable, Progress } from './bench-report.js';
import { meanOf } from './distribution.js';
import { type RoutingCalibration, routingCalibration, type RoutingFigure, routingFigures } from './routing-figures.js';

const FOLDS = 4;
/** Smaller samples are no measure of anything. */
const FEWEST_OUTCOMES = 1_000;
const SUFFIX = /\.jsonl(?:\.gz)?$/;

interface SetFigures {
  readonly name: string;
  readonly outcomes: number;
  readonly models: number;
  readonly training: { readonly seconds: number; readonly peakBytes: number; readonly fileBytes: number };
  /** By seed. */
  readonly figures: readonly (readonly RoutingFigure[])[];
  readonly calibration: readonly RoutingCalibration[];
}

/**
 * Cross-validates the gate, four folds for each seed, on every outcome file of a folder that has at least 1,000 outcomes.
 * Minutes to tens of minutes. Throws `outcomes.invalid` for a folder without such files, or a file that cannot be read.
 */
export async function routingBench(
  folder: string,
  seeds: readonly number[],
  progress: Progress,
  signal: AbortSignal,
): Promise<BenchReport> {
  const sets: SetFigures[] = [];
  for (const file of await outcomeFiles(folder)) {
    const outcomes: Outcome[] = [];
    for await (const outcome of readOutcomes(join(folder, file), signal)) outcomes.push(outcome);
    if (outcomes.length < FEWEST_OUTCOMES) continue;
    sets.push(await measure(file, folder, outcomes, { seeds, progress, signal }));
  }
  if (sets.length === 0) {
    throw new FleetError('outcomes.invalid', `${folder}: no outcome file with at least ${FEWEST_OUTCOMES} outcomes`, {
      hint: 'give a folder of .jsonl or .jsonl.gz files with the columns id, prompt, y',
    });
  }
  return {
    name: 'gate on outcome files',
    figures: [],
    tables: [routingTable(sets), calibrationTable(sets)],
    notes: [
      `prompts held out, ${FOLDS} folds, seeds ${seeds.join(', ')}; "all" is one figure over all held-out predictions of a seed`,
      'AIQ: beside mixing single experts at random; APGR: beside sending longer prompts to the strong model first',
    ],
  };
}

async function outcomeFiles(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).filter((file) => SUFFIX.test(file)).sort();
  } catch (cause) {
    throw new FleetError('outcomes.invalid', `${folder}: cannot be read: ${messageOf(cause)}`, { cause });
  }
}

interface Run {
  readonly seeds: readonly number[];
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

async function measure(file: string, folder: string, outcomes: readonly Outcome[], run: Run): Promise<SetFigures> {
  const { seeds, progress, signal } = run;
  const name = file.replace(SUFFIX, '');
  progress(`${name}: training on all ${outcomes.length} outcomes`);
  const training = await trainOnce(join(folder, file), signal);
  const figures: (readonly RoutingFigure[])[] = [];
  const calibration: RoutingCalibration[] = [];
  for (const seed of seeds) {
    const predictions = crossValidate(outcomes, FOLDS, seed, (fold) => {
      signal.throwIfAborted();
      progress(`${name}: seed ${seed}, fold ${fold + 1} of ${FOLDS}`);
    });
    figures.push(routingFigures(outcomes, predictions));
    calibration.push(routingCalibration(outcomes, predictions));
  }
  const models = new Set(outcomes.flatMap(({ y }) => Object.keys(y))).size;
  return { name, outcomes: outcomes.length, models, training, figures, calibration };
}

async function trainOnce(outcomesPath: string, signal: AbortSignal): Promise<SetFigures['training']> {
  const folder = await mkdtemp(join(tmpdir(), 'fleetgate-gate-'));
  try {
    const gatePath = join(folder, 'gate.json');
    let peakBytes = NaN;
    const start = performance.now();
    await trainGateInProcess({ outcomesPath, gatePath, signal, onPeak: (bytes) => (peakBytes = bytes) });
    const seconds = (performance.now() - start) / 1000;
    return { seconds, peakBytes, fileBytes: (await stat(gatePath)).size };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function routingTable(sets: readonly SetFigures[]): BenchTable {
  const rows = sets.flatMap(({ name, figures }) =>
    (figures[0] ?? []).map((first, part) => {
      const seeds = figures.flatMap((ofSeed) => ofSeed.slice(part, part + 1));
      const all = seeds.map((one) => one.all);
      const folds = seeds.flatMap((one) => one.folds);
      const margins = seeds.flatMap((one) => one.folds.map((value, fold) => value - (one.baselineFolds[fold] ?? NaN)));
      return [
        `${name} ${first.part}`,
        first.metric,
        ...[meanOf(all), Math.min(...all), Math.max(...all), meanOf(folds), Math.min(...folds), Math.max(...folds)].map(
          (value) => value.toFixed(4),
        ),
        first.baseline.toFixed(4),
        Math.min(...margins).toFixed(4),
      ];
    }),
  );
  return {
    title: 'choosing by predictions of prompts that were held out',
    columns: [
      'outcomes',
      '',
      'all',
      'least',
      'most',
      'mean of folds',
      'worst',
      'best',
      'baseline',
      'worst fold less its baseline',
    ],
    rows,
  };
}

function calibrationTable(sets: readonly SetFigures[]): BenchTable {
  return {
    title: 'training on all of them, and calibration on held-out prompts (mean over models and seeds)',
    columns: [
      'outcomes',
      'prompts',
      'models',
      'training s',
      'peak MiB',
      'file MB',
      'ECE',
      'within 1 sd',
      'rms error/sd',
    ],
    rows: sets.map(({ name, outcomes, models, training, calibration }) => [
      name,
      outcomes,
      models,
      training.seconds.toFixed(1),
      Math.round(training.peakBytes / 2 ** 20),
      (training.fileBytes / 1e6).toFixed(1),
      meanOf(calibration.map(({ ece }) => ece)).toFixed(3),
      meanOf(calibration.map(({ withinOneSd }) => withinOneSd)).toFixed(3),
      meanOf(calibration.map(({ normalisedError }) => normalisedError)).toFixed(3),
    ]),
  };
}
