import type { Model } from 'javascript-lp-solver';

import { columnCount, type LinearProgram, rowCount } from './linear-program.js';

/** Measured: beyond about this size, or on degenerate routing programs, the solver gives wrong answers or none at all. */
const TINY_ROWS = 60;
const TINY_COLUMNS = 100;

/** Whether a program is small enough to ask javascript-lp-solver for an opinion. */
export function fitsTiny(program: LinearProgram): boolean {
  const nonNegative = program.lower.every((lower) => lower === 0);
  return rowCount(program) <= TINY_ROWS && columnCount(program) <= TINY_COLUMNS && nonNegative;
}

export interface TinyModel {
  readonly model: Model;
  /** value of column j = scale[j] * value of variable `c<j>` */
  readonly scale: Float64Array;
}

/**
 * The program in the solver's own form, equilibrated: rows to a largest coefficient of 1, then continuous columns too.
 * Unscaled, 1 in 40 routing programs came back wrong (docs/formulation.md). Assumes all lower bounds are 0.
 */
export function toTinyModel(program: LinearProgram, timeoutMs: number): TinyModel {
  const rows = rowCount(program);
  const columns = columnCount(program);
  const rowScale = new Float64Array(rows).fill(1);
  const scale = new Float64Array(columns).fill(0);
  for (let i = 0; i < rows; i++) {
    const largest = entriesOf(program, i).reduce((most, [, value]) => Math.max(most, Math.abs(value)), 0);
    rowScale[i] = largest === 0 ? 1 : 1 / largest;
    for (const [j, value] of entriesOf(program, i)) {
      scale[j] = Math.max(scale[j] ?? 0, Math.abs(value) * (rowScale[i] ?? 1));
    }
  }
  // A whole number has to stay one; a column in no row has nothing to be scaled by.
  for (let j = 0; j < columns; j++) scale[j] = program.integer[j] === 1 || scale[j] === 0 ? 1 : 1 / (scale[j] ?? 1);
  const constraints: Record<string, { min?: number; max?: number }> = {};
  const variables: Record<string, Record<string, number>> = {};
  const ints: Record<string, 1> = {};
  for (let j = 0; j < columns; j++) {
    const factor = scale[j] ?? 1;
    variables[`c${j}`] = { objective: (program.cost[j] ?? 0) * factor, [`u${j}`]: 1 };
    constraints[`u${j}`] = { max: (program.upper[j] ?? 0) / factor };
    if (program.integer[j] === 1) ints[`c${j}`] = 1;
  }
  for (let i = 0; i < rows; i++) {
    const [lower, upper, factor] = [
      program.rowLower[i] ?? -Infinity,
      program.rowUpper[i] ?? Infinity,
      rowScale[i] ?? 1,
    ];
    const bound: { min?: number; max?: number } = {};
    if (lower > -Infinity) bound.min = lower * factor;
    if (upper < Infinity) bound.max = upper * factor;
    if (bound.min === undefined && bound.max === undefined) continue;
    constraints[`r${i}`] = bound;
    for (const [j, value] of entriesOf(program, i)) {
      const variable = variables[`c${j}`];
      if (variable !== undefined) variable[`r${i}`] = value * factor * (scale[j] ?? 1);
    }
  }
  const model: Model = {
    optimize: 'objective',
    opType: program.sense,
    constraints,
    variables,
    ints,
    options: { timeout: timeoutMs, exitOnCycles: true },
  };
  return { model, scale };
}

function entriesOf(program: LinearProgram, row: number): (readonly [number, number])[] {
  const entries: (readonly [number, number])[] = [];
  for (let e = program.rowStarts[row] ?? 0; e < (program.rowStarts[row + 1] ?? 0); e++) {
    entries.push([program.indices[e] ?? 0, program.values[e] ?? 0]);
  }
  return entries;
}
