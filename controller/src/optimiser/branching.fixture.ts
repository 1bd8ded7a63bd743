/** Small mixed-integer programs whose best point is known by trying all, for tests of the tree. */
import * as fc from 'fast-check';

import type { searchTree } from './branching.js';
import type { SearchResult } from './search-task.js';
import { type LinearProgram, LinearProgramBuilder } from './linear-program.js';
import type { SessionColumn } from './solver.js';

type Node = SearchResult['root'];
type Ranges = Node['ranges'];
type Decision = Parameters<typeof searchTree>[0]['decisions'][number];

/** The last column need not be whole. */
export interface SmallProgram {
  readonly program: LinearProgram;
  readonly decisions: readonly Decision[];
}

export interface WholePoint {
  readonly values: readonly number[];
  /** With the best value of the last column. */
  readonly objective: number;
}

const row = (least: number) =>
  fc.record({
    values: fc.array(fc.integer({ min: least, max: 5 }), { minLength: 7, maxLength: 7 }),
    limit: fc.integer({ min: least, max: 12 }),
    isFloor: fc.boolean().map((isFloor) => isFloor && least < 0),
  });

/** `least`: of the coefficients; at 0 every program has a point and its last column only takes. `most` columns beside it. */
export const smallPrograms = (least: -3 | 0, most = 4): fc.Arbitrary<SmallProgram> =>
  fc
    .record({
      whole: fc.array(
        fc.record({
          upper: fc.integer({ min: 1, max: 3 }),
          cost: fc.integer({ min: -2, max: 9 }),
          rank: fc.constantFrom(0, 1, 2),
        }),
        { minLength: 1, maxLength: most },
      ),
      last: fc.record({ upper: fc.integer({ min: 0, max: 3 }), cost: fc.integer({ min: -2, max: 4 }) }),
      rows: fc.array(row(least), { minLength: 1, maxLength: 4 }),
    })
    .map(({ whole, last, rows }) => {
      const builder = new LinearProgramBuilder();
      for (const { upper, cost } of whole) builder.addColumn({ upper, cost: cost + 0.1 });
      builder.addColumn(last);
      for (const { values, limit, isFloor } of rows) {
        const [lower, upper] = isFloor ? [limit / 2, Infinity] : [-Infinity, limit];
        const entries = [...whole, last].map((_, j) => [j, values[j] ?? 0] as const);
        builder.addRow(lower, upper, entries);
      }
      const decisions = whole.map(({ upper, rank }, column): Decision => {
        return { column, branch: { of: 'variant', v: column }, rank, lower: 0, upper };
      });
      return { program: builder.build('max'), decisions };
    });

/** Every feasible choice of whole numbers. */
export function wholePoints({ program, decisions }: SmallProgram): WholePoint[] {
  const choices = decisions.reduce<number[][]>(
    (known, { lower, upper }) =>
      known.flatMap((values) => Array.from({ length: upper - lower + 1 }, (_, i) => [...values, lower + i])),
    [[]],
  );
  return choices.flatMap((values) => {
    const objective = objectiveOf(program, values);
    return objective === undefined ? [] : [{ values, objective }];
  });
}

/** With the last column at its best; undefined where no value of it is feasible. */
export function objectiveOf(program: LinearProgram, values: readonly number[]): number | undefined {
  const last = values.length;
  let [low, high] = [0, program.upper[last] ?? 0];
  for (let i = 0; i < program.rowLower.length; i++) {
    let [fixed, slope] = [0, 0];
    eachEntry(program, i, (j, value) => {
      if (j === last) slope = value;
      else fixed += value * (values[j] ?? 0);
    });
    for (const [limit, sign] of [
      [program.rowUpper[i] ?? Infinity, 1],
      [program.rowLower[i] ?? -Infinity, -1],
    ] as const) {
      const [room, pace] = [sign * (limit - fixed), sign * slope];
      if (pace > 0) high = Math.min(high, room / pace);
      else if (pace < 0) low = Math.max(low, room / pace);
      else if (room < 0) return undefined;
    }
  }
  if (low > high + 1e-9) return undefined;
  const cost = program.cost[last] ?? 0;
  const whole = values.reduce((sum, value, j) => sum + value * (program.cost[j] ?? 0), 0);
  return whole + cost * (cost > 0 ? high : low);
}

/** Weak duality: no point within the ranges is worth more, or with `scale` 0, below 0 there is none. */
export function dualBound(program: LinearProgram, ranges: Ranges, duals: Float64Array, scale: 0 | 1 = 1): number {
  const reduced = reducedCosts(program, duals, scale);
  let total = rowsWorth(program, duals);
  reduced.forEach((gain, j) => {
    const { lower, upper } = ranges.get(j) ?? { lower: program.lower[j] ?? 0, upper: program.upper[j] ?? 0 };
    total += Math.max(gain * lower, gain * upper);
  });
  return total;
}

/** The last column of a program, as one that joins it later. */
export function lastColumn(program: LinearProgram): SessionColumn {
  const last = program.cost.length - 1;
  const entries: [number, number][] = [];
  program.rowLower.forEach((_, i) => eachEntry(program, i, (j, value) => j === last && entries.push([i, value])));
  return { cost: program.cost[last] ?? 0, upper: program.upper[last] ?? 0, entries };
}

/** The same with its first columns 0 or 1, and at most so many of them 1. */
export function limited(program: LinearProgram, first: number, most: number): LinearProgram {
  const ones = Array.from({ length: first }, (_, j) => j);
  return {
    ...program,
    upper: program.upper.map((upper, j) => (j < first ? 1 : upper)),
    rowLower: Float64Array.from([...program.rowLower, -Infinity]),
    rowUpper: Float64Array.from([...program.rowUpper, most]),
    rowStarts: Int32Array.from([...program.rowStarts, program.indices.length + first]),
    indices: Int32Array.from([...program.indices, ...ones]),
    values: Float64Array.from([...program.values, ...ones.map(() => 1)]),
    rowNames: [...program.rowNames, undefined],
  };
}

/** The same with its first columns as they are chosen. */
export function restricted({ program, decisions }: SmallProgram, chosen: readonly number[]): SmallProgram {
  const fixed = (of: Float64Array) => of.map((value, j) => chosen[j] ?? value);
  return {
    program: { ...program, lower: fixed(program.lower), upper: fixed(program.upper) },
    decisions: decisions.map((each) => {
      const value = chosen[each.column];
      return value === undefined ? each : { ...each, lower: value, upper: value };
    }),
  };
}

/** Parts that are split no further. */
export function leaves(node: Node): Node[] {
  return node.split === undefined ? [node] : [...leaves(node.split.low), ...leaves(node.split.high)];
}

export function splits(node: Node): Node[] {
  return node.split === undefined ? [] : [node, ...splits(node.split.low), ...splits(node.split.high)];
}

/** Signs that prove nothing are taken for 0. */
const priceOf = ({ rowUpper }: LinearProgram, duals: Float64Array, i: number): number =>
  (rowUpper[i] ?? Infinity) < Infinity ? Math.max(0, duals[i] ?? 0) : Math.min(0, duals[i] ?? 0);

function rowsWorth(program: LinearProgram, duals: Float64Array): number {
  return duals.reduce((sum, _, i) => {
    const price = priceOf(program, duals, i);
    return price === 0 ? sum : sum + price * ((price > 0 ? program.rowUpper[i] : program.rowLower[i]) ?? 0);
  }, 0);
}

function reducedCosts(program: LinearProgram, duals: Float64Array, scale: 0 | 1): Float64Array {
  const reduced = program.cost.map((cost) => cost * scale);
  duals.forEach((_, i) => {
    eachEntry(program, i, (j, value) => (reduced[j] = (reduced[j] ?? 0) - value * priceOf(program, duals, i)));
  });
  return reduced;
}

function eachEntry(program: LinearProgram, i: number, of: (column: number, value: number) => void): void {
  for (let e = program.rowStarts[i] ?? 0; e < (program.rowStarts[i + 1] ?? 0); e++) {
    of(program.indices[e] ?? 0, program.values[e] ?? 0);
  }
}
