import { SeededRandom } from '@fleetgate/shared/random';

import { gateSubsetProblem } from '../optimiser/gate-subset.js';
import { solveSubset } from '../optimiser/subset-kernel.js';
import type { BenchTable } from './bench-report.js';
import { type GateShape, randomGate } from './random-gates.js';

const SIZES = [
  { experts: 20, classes: 12 },
  { experts: 80, classes: 24 },
  { experts: 150, classes: 32 },
  { experts: 300, classes: 32 },
] as const;
const STRUCTURES = ['spread', 'clusters', 'generalists', 'coarse'] as const;
/** Loose budgets with few experts, and tight budgets that alone decide how many. */
const LIMITS = [
  { maxExperts: 8, budgetShare: 0.5 },
  { maxExperts: 12, budgetShare: 0.5 },
  { maxExperts: 10, budgetShare: 0.1 },
  { maxExperts: null, budgetShare: 0.05 },
] as const;
/** The first run of a process compiles; the fastest of so many is the kernel's own time. */
const REPEATS = 3;
/** CPU seconds a gate; past it the answer is no proof. */
const TIME_LIMIT_S = 10;

/** CPU time to a proven optimum on random gates, by size: each structure with each kind of limits, `each` times. */
export function gateTimings(each: number, seed: number): BenchTable {
  const random = new SeededRandom(seed);
  const rows = SIZES.map(({ experts, classes }) => {
    const runs = Array.from({ length: each }, () =>
      STRUCTURES.flatMap((structure) =>
        LIMITS.map((limits) => timed({ experts, classes, structure, ...limits, minReplicas: 0 }, random)),
      ),
    ).flat();
    const ms = runs.map(({ cpuS }) => cpuS * 1000).sort((a, b) => a - b);
    const at = (share: number) => (ms[Math.min(ms.length - 1, Math.floor(share * ms.length))] ?? NaN).toFixed(2);
    const proven = runs.filter(({ isProven }) => isProven).length;
    return [
      `${experts} x ${classes}`,
      runs.length,
      proven,
      at(0.5),
      at(0.95),
      at(1),
      Math.max(...runs.map((r) => r.nodes)),
    ];
  });
  const columns = ['experts x classes', 'gates', 'proven', 'median CPU ms', '95 %', 'slowest', 'most branches'];
  return { title: 'random gates, solved to proven optimality', columns, rows };
}

function timed(shape: GateShape, random: SeededRandom) {
  const problem = gateSubsetProblem(randomGate(random, shape));
  let fastest = Infinity;
  let result = { isProven: false, nodes: 0 };
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    const started = process.cpuUsage();
    const seconds = () => {
      const { user, system } = process.cpuUsage(started);
      return (user + system) / 1e6;
    };
    const { status, nodes } = solveSubset(problem, { expired: () => seconds() > TIME_LIMIT_S });
    fastest = Math.min(fastest, seconds());
    result = { isProven: status === 'optimal' || status === 'infeasible', nodes };
  }
  return { ...result, cpuS: fastest };
}
