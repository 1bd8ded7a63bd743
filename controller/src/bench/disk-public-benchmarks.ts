import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { LinearSolver } from '../optimiser/solver.js';
import { solveSubset } from '../optimiser/subset-kernel.js';
import type { SubsetProblem } from '../optimiser/subset-problem.js';
import type { BenchTable, Progress } from './bench-report.js';
import {
  assignmentProgram,
  P_MEDIAN_OPTIMA,
  parseAssignment,
  parseFacilityLocation,
  parseOptima,
  parsePMedian,
} from './public-benchmarks.js';

/** One instance of a public benchmark, all costs minimised. */
export interface PublicResult {
  readonly set: 'p-median' | 'facility location' | 'assignment';
  readonly name: string;
  /** Null where the folder does not say. */
  readonly optimum: number | null;
  readonly ours: number | null;
  /** Ours was proven to be the least; a wrong optimum would show in `ours`. */
  readonly isProven: boolean;
  readonly cpuS: number;
}

export interface PublicLimits {
  /** Per instance. */
  readonly timeLimitS: number;
  /** Only these instances; all that are there without it. */
  readonly names?: ReadonlySet<string>;
}

/**
 * Solves what there is of `pmed/pmed*.txt`, `cap/cap*.txt` and `gap/*` under a folder: the first two with the subset
 * kernel, the last with `solver`. A set whose folder is missing is left out; a broken file throws.
 */
export async function runPublicBenchmarks(
  folder: string,
  solver: LinearSolver,
  limits: PublicLimits,
  progress: Progress = () => {},
): Promise<readonly PublicResult[]> {
  const results: PublicResult[] = [];
  const note = (result: PublicResult) => {
    progress(`${result.name}: ${result.ours ?? 'no answer'} of ${result.optimum ?? '?'}`);
    results.push(result);
  };
  const wanted = (name: string) => limits.names?.has(name) ?? true;
  for (const name of await instances(join(folder, 'pmed'), /^(pmed\d+)\.txt$/, wanted)) {
    const problem = parsePMedian(await readFile(join(folder, 'pmed', `${name}.txt`), 'utf8'));
    const optimum = P_MEDIAN_OPTIMA[Number(name.slice(4)) - 1] ?? null;
    note({ set: 'p-median', name, optimum, ...solveKernel(problem, limits) });
  }
  const capOptima = await optima(join(folder, 'cap', 'optimal-solutions.txt'));
  for (const name of await instances(join(folder, 'cap'), /^(cap\w+)\.txt$/, wanted)) {
    const problem = parseFacilityLocation(await readFile(join(folder, 'cap', `${name}.txt`), 'utf8'));
    note({ set: 'facility location', name, optimum: capOptima.get(name) ?? null, ...solveKernel(problem, limits) });
  }
  const gapOptima = await optima(join(folder, 'gap', 'data.csv'));
  for (const name of await instances(join(folder, 'gap'), /^([\w-]+)$/, wanted)) {
    const program = assignmentProgram(parseAssignment(await readFile(join(folder, 'gap', name), 'utf8')));
    const started = process.cpuUsage();
    const answer = await solver.solve(program, { timeLimitS: limits.timeLimitS, gap: 0 });
    const ours = 'objective' in answer ? answer.objective : null;
    const isProven = answer.status === 'optimal';
    note({ set: 'assignment', name, optimum: gapOptima.get(name) ?? null, ours, isProven, cpuS: cpuSince(started) });
  }
  return results;
}

export function publicTable(results: readonly PublicResult[]): BenchTable {
  return {
    title: 'public benchmarks: cost, least is best',
    columns: ['instance', 'set', 'optimum', 'ours', 'excess', 'proven', 'CPU s'],
    rows: results.map(({ name, set, optimum, ours, isProven, cpuS }) => [
      name,
      set,
      optimum ?? '-',
      ours === null ? '-' : Number(ours.toFixed(3)),
      ours === null || optimum === null ? '-' : `${Number(((ours / optimum - 1) * 100).toFixed(5))} %`,
      isProven ? 'yes' : 'no',
      cpuS.toFixed(3),
    ]),
  };
}

function solveKernel(problem: SubsetProblem, { timeLimitS }: PublicLimits) {
  const started = process.cpuUsage();
  const { status, objective } = solveSubset(problem, { expired: () => cpuSince(started) > timeLimitS });
  const ours = objective === null ? null : -objective;
  return { ours, isProven: status === 'optimal', cpuS: cpuSince(started) };
}

function cpuSince(started: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(started);
  return (user + system) / 1e6;
}

async function instances(folder: string, pattern: RegExp, wanted: (name: string) => boolean): Promise<string[]> {
  const files = await readdir(folder).catch(() => []);
  const names = files.flatMap((file) => pattern.exec(file)?.[1] ?? []).filter(wanted);
  return names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

async function optima(file: string): Promise<ReadonlyMap<string, number>> {
  return parseOptima(await readFile(file, 'utf8').catch(() => ''));
}
