/**
 * The bound of prices by another way, for tests of the checker: the exact model with every row but those of busy time
 * and of the catalogue's size moved into the objective at its price, solved as a linear program.
 */
import type { Prices } from './certificate.js';
import { buildExactModel, type ExactModel } from './exact-model.js';
import type { LinearProgram } from './linear-program.js';
import { pairKey } from './placement.js';
import type { PlacementProblem } from './problem.js';
import type { LinearSolver } from './solver.js';
import type { Domain } from './verify-bound.js';

/** -Infinity where the ranges leave nothing. */
export async function pricedBound(
  problem: PlacementProblem,
  { prices, pools, domain, scale }: { prices: Prices; pools: readonly number[]; domain: Domain; scale: 0 | 1 },
  solver: LinearSolver,
): Promise<number> {
  const model = buildExactModel(problem);
  const { program } = model;
  const priced = pricedRows(program, ofDevices(prices, pools), scale);
  const ranges = rangeRows(problem, model, pools, domain);
  const upper = program.upper.slice();
  // The checker knows no bound on a share but the device's time.
  for (const column of model.shares) if (column >= 0) upper[column] = Infinity;
  for (const column of barredColumns(problem, model, domain)) upper[column] = 0;
  const answer = await solver.solve(
    {
      ...{ sense: 'max', cost: priced.cost, lower: program.lower, upper },
      ...{ integer: new Uint8Array(program.integer.length), ...rowsOf(program, priced.kept, ranges) },
    },
    { timeLimitS: 10, gap: 0 },
  );
  if (answer.status === 'infeasible') return -Infinity;
  if (answer.status !== 'optimal') throw new Error(answer.status);
  return answer.objective + priced.constant;
}

/** A price by the name of a device's row: that of its pool. */
const ofDevices = (prices: Prices, pools: readonly number[]) => (name: string) => {
  const [group = '', indices = ''] = name.split(':');
  const [first, ...rest] = indices.split(',');
  const isOfPool =
    /^(?:slots|memory|modes|devpower|battery|host|on|link|load|replica-on|replica-host)$/.test(group) &&
    first !== undefined;
  return prices[isOfPool ? `${group}:${[pools[Number(first)], ...rest].join(',')}` : name] ?? 0;
};

function pricedRows(program: LinearProgram, priceOf: (name: string) => number, scale: 0 | 1) {
  const cost = program.cost.map((value) => value * scale);
  const kept: number[] = [];
  let constant = 0;
  program.rowNames.forEach((name = '', i) => {
    if (name.startsWith('util:') || name === 'variants') {
      kept.push(i);
      return;
    }
    const isUpper = (program.rowUpper[i] ?? Infinity) < Infinity;
    const price = isUpper ? priceOf(name) : -priceOf(name);
    constant += price === 0 ? 0 : price * ((isUpper ? program.rowUpper[i] : program.rowLower[i]) ?? 0);
    for (let e = program.rowStarts[i] ?? 0; e < (program.rowStarts[i + 1] ?? 0); e++) {
      const j = program.indices[e] ?? 0;
      cost[j] = (cost[j] ?? 0) - price * (program.values[e] ?? 0);
    }
  });
  return { cost, kept, constant };
}

interface RangeRow {
  readonly columns: readonly number[];
  readonly range: readonly [number, number];
}

function rangeRows(problem: PlacementProblem, model: ExactModel, pools: readonly number[], domain: Domain): RangeRow[] {
  return [...domain].flatMap(([key, range]) => {
    const [i = 0, j = 0] = key.slice(1).split(',').map(Number);
    const members = [...pools.keys()].filter((d) => pools[d] === i);
    const columns =
      key[0] === 't'
        ? [model.catalogue[i]]
        : members.map((d) => (key[0] === 'a' ? model.powered[d]?.[j] : model.copies[pairKey(problem, d, j)]));
    const there = columns.flatMap((column) => (column === undefined || column < 0 ? [] : [column]));
    return there.length === 0 ? [] : [{ columns: there, range }];
  });
}

/** Shares and copies of variants that are not in the catalogue, and all others' when it is full. */
function barredColumns(problem: PlacementProblem, model: ExactModel, domain: Domain): number[] {
  const ranges = problem.variants.map((_, v) => domain.get(`t${v}`) ?? [0, 1]);
  const isFull = ranges.filter(([low]) => low >= 1).length >= (problem.budgets.maxVariants ?? Infinity);
  const barred = ranges.flatMap(([low, high], v) => (high < 1 || (isFull && low < 1) ? [v] : []));
  return barred
    .flatMap((v) => [
      ...problem.devices.map((_, d) => model.copies[pairKey(problem, d, v)] ?? -1),
      ...model.arcs.flatMap((arc, i) => (arc.v === v ? [model.shares[i] ?? -1] : [])),
      model.catalogue[v] ?? -1,
    ])
    .filter((column) => column >= 0);
}

function rowsOf(program: LinearProgram, kept: readonly number[], ranges: readonly RangeRow[]) {
  const rowStarts = [0];
  const [indices, values]: [number[], number[]] = [[], []];
  for (const i of kept) {
    const [start, end] = [program.rowStarts[i], program.rowStarts[i + 1]];
    indices.push(...program.indices.subarray(start, end));
    values.push(...program.values.subarray(start, end));
    rowStarts.push(indices.length);
  }
  for (const { columns } of ranges) {
    indices.push(...columns);
    values.push(...columns.map(() => 1));
    rowStarts.push(indices.length);
  }
  const limits = (of: Float64Array, side: 0 | 1) =>
    Float64Array.from([...kept.map((i) => of[i] ?? 0), ...ranges.map(({ range }) => range[side])]);
  return {
    ...{ rowLower: limits(program.rowLower, 0), rowUpper: limits(program.rowUpper, 1) },
    ...{ rowStarts: Int32Array.from(rowStarts), indices: Int32Array.from(indices) },
    ...{ values: Float64Array.from(values), rowNames: rowStarts.slice(1).map(() => undefined) },
  };
}
