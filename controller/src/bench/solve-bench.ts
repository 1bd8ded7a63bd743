/**
 * `bench solve`: placements from 10 to 100,000 devices, each solved in a process of its own; other solvers on the same
 * instances; the subset kernel; public benchmarks of neighbouring problems. Needs no running fleet.
 */
import { HighsSolver } from '../optimiser/highs-solver.js';
import { bestKnown } from './best-known.js';
import { type BenchFigure, type BenchReport, type BenchTable, figure, type Progress } from './bench-report.js';
import { publicTable, runPublicBenchmarks } from './disk-public-benchmarks.js';
import { type InstanceFile, solveInstances } from './disk-solve-instances.js';
import type { FleetShape } from './fleet-instances.js';
import type { GrowthPoint } from './growth-plot.js';
import { kernelFigures } from './kernel-figures.js';
import { comparePeers } from './peer-comparison.js';
import { type OwnRun, runOwn } from './process-own-solver.js';
import type { InstanceSource } from './process-solve-main.js';
import { RUN_COLUMNS, runRow } from './solver-run.js';
import { warmFigures } from './warm-figures.js';

export interface SolveBenchOptions {
  /** Folder of `fleet-opt/1` files. */
  readonly instances?: string;
  /** Folder of public benchmarks. */
  readonly benchmarks?: string;
  readonly peers: boolean;
  /** Devices of the generated fleets. */
  readonly sizes: readonly number[];
  /** Of one solve, s. */
  readonly limitS: number;
}

export interface SolveBench {
  readonly report: BenchReport;
  readonly growth: readonly GrowthPoint[];
}

const SEED = 1;
const PUBLIC_LIMIT_S = 5;
/** The warm plan is one of 1,000 devices: not for a quick run on small fleets. */
const WARM_FROM = 1000;

export async function solveBench(
  options: SolveBenchOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<SolveBench> {
  const files = options.instances === undefined ? undefined : await solveInstances(options.instances);
  const growth = await growthSection(options, progress, signal);
  const figures: BenchFigure[] = [];
  const tables: BenchTable[] = [growth.table];
  const notes = [...notesOf(options), ...growth.failures];
  if (files !== undefined) {
    tables.push(await instanceSection(files, options, figures, progress, signal));
  } else if (options.peers) {
    tables.push(await generatedPeers(options, figures, progress, signal));
  }
  if (options.sizes.some((devices) => devices >= WARM_FROM)) {
    progress('one device lost');
    figures.push(...(await warmFigures(SEED, options.limitS)));
  }
  progress('subset kernel');
  const kernel = kernelFigures(SEED);
  tables.push(kernel.table);
  figures.push(
    figure(`kernel: wrong of ${kernel.cases} random gates`, '', kernel.mismatches, { name: 'enumeration', value: 0 }),
  );
  if (options.benchmarks !== undefined) {
    const limits = { timeLimitS: Math.min(options.limitS, PUBLIC_LIMIT_S) };
    tables.push(publicTable(await runPublicBenchmarks(options.benchmarks, new HighsSolver(), limits, progress)));
  }
  return { report: { name: 'solve', figures, tables, notes }, growth: growth.points };
}

/** Classes, variants and catalogue grow with the fleet up to 1,000 devices. */
export function shapeOf(devices: number, jitter: FleetShape['jitter']): FleetShape {
  const size =
    devices < 40
      ? { variants: 6, classes: 6, kappa: 3 }
      : devices < 1000
        ? { variants: 20, classes: 16, kappa: 5 }
        : { variants: 40, classes: 32, kappa: 8 };
  return { devices, ...size, seed: SEED, jitter, modes: false, sites: 0 };
}

async function growthSection({ sizes, limitS }: SolveBenchOptions, progress: Progress, signal: AbortSignal) {
  const rows: (readonly (string | number)[])[] = [];
  const points: GrowthPoint[] = [];
  const failures: string[] = [];
  for (const devices of sizes) {
    for (const fleet of ['pools', 'single'] as const) {
      progress(`${devices} devices, ${fleet}`);
      const shape = shapeOf(devices, fleet === 'single' ? 'like' : 'none');
      const run = await own({ shape }, limitS, signal);
      rows.push(runRow(`${devices} ${fleet}`, run));
      if (run.reason !== null) failures.push(`${devices} ${fleet}: ${run.reason}`);
      if (run.status === 'failed') continue;
      const { wallS: seconds, peakBytes, status } = run;
      points.push({ fleet, devices, seconds, peakBytes, isTimedOut: status === 'timeout' });
    }
  }
  return {
    table: { title: 'growth: pools of identical devices, and every device different', columns: RUN_COLUMNS, rows },
    points,
    failures,
  };
}

const own = (source: InstanceSource, limitS: number, signal: AbortSignal): Promise<OwnRun> =>
  runOwn('fleetgate', { task: 'optimise', source, method: 'auto', timeLimitS: limitS, gap: undefined }, signal);

async function instanceSection(
  files: readonly InstanceFile[],
  options: SolveBenchOptions,
  figures: BenchFigure[],
  progress: Progress,
  signal: AbortSignal,
): Promise<BenchTable> {
  const rows: (readonly (string | number)[])[] = [];
  let agreed = 0;
  let expected = 0;
  for (const { name, file } of files) {
    progress(name);
    const run = await own({ file }, options.limitS, signal);
    rows.push([...runRow(name, run), reference(name, run)]);
    if (run.expected !== null) {
      expected++;
      if (agrees(run)) agreed++;
    }
    if (run.reason !== null) progress(`  ${run.reason}`);
    if (!options.peers || run.expected !== null) continue;
    const comparison = await comparePeers(name, { file }, run, options.limitS, progress, signal);
    rows.push(...comparison.rows.map((row) => [...row, '']));
    figures.push(...comparison.figures);
  }
  if (expected > 0) figures.push(figure('instances answered as expected', '', agreed, { name: 'of', value: expected }));
  return {
    title: `instances of ${options.instances ?? ''}`,
    columns: [...RUN_COLUMNS, 'expected or best known'],
    rows,
  };
}

/** To 1e-6 of the objective, as the instances ask for. */
function agrees({ expected, status, objective }: OwnRun): boolean {
  if (expected === null || expected.status !== status) return false;
  if (expected.objective === null) return true;
  return (
    objective !== null && Math.abs(objective - expected.objective) <= 1e-6 * Math.max(1, Math.abs(expected.objective))
  );
}

function reference(name: string, run: OwnRun): string {
  if (run.expected !== null) {
    const said = run.expected.objective === null ? run.expected.status : String(run.expected.objective);
    return agrees(run) ? 'as expected' : `expected ${said}`;
  }
  const known = bestKnown(name);
  return known === undefined ? '' : `${known.objective} ≤ ${known.bound}`;
}

async function generatedPeers(
  options: SolveBenchOptions,
  figures: BenchFigure[],
  progress: Progress,
  signal: AbortSignal,
) {
  const rows: (readonly (string | number)[])[] = [];
  for (const devices of options.sizes.filter((size) => size >= 100 && size <= 10_000)) {
    const shape = shapeOf(devices, 'none');
    const run = await own({ shape }, options.limitS, signal);
    rows.push(runRow(`${devices} pools`, run));
    const comparison = await comparePeers(`${devices} pools`, { shape }, run, options.limitS, progress, signal);
    rows.push(...comparison.rows);
    figures.push(...comparison.figures);
  }
  return { title: 'other solvers on the pooled model with strong rows', columns: RUN_COLUMNS, rows };
}

function notesOf({ peers }: SolveBenchOptions): readonly string[] {
  const ours =
    's, CPU s and MiB are of a whole process: start of Node, reading, solving, checking; our objective is recomputed';
  if (!peers) return [ours];
  return [
    ours,
    'others get the pooled problem with the strong rows Y_vk ≤ λ_k t_v; their objective and bound are what they print; HiGHS is the WebAssembly build, in Node',
    'the gap that others are to reach is ours; "at equal time" they get our time',
  ];
}
