import type { LinearProgram } from '../optimiser/linear-program.js';

/**
 * A program as free MPS (columns `c0`..., rows `r0`...), for solvers that are programs of their own.
 *
 * Always a minimisation, because not every reader knows another sense: of a maximisation the costs are negated, and so is
 * the optimum. Numbers are written so that reading gives the same double back.
 */
export function mpsText(program: LinearProgram, name: string): string {
  const rowCount = program.rowLower.length;
  const lines = [`NAME ${name.replaceAll(/[^\w.+-]/g, '_')} FREE`, 'ROWS', ' N obj'];
  for (let i = 0; i < rowCount; i++) lines.push(` ${rowKind(program, i)} r${i}`);
  lines.push('COLUMNS');
  addColumns(lines, program);
  lines.push('RHS');
  for (let i = 0; i < rowCount; i++) {
    const side = rightHandSide(program, i);
    if (side !== 0) lines.push(` RHS r${i} ${side}`);
  }
  lines.push('RANGES');
  for (let i = 0; i < rowCount; i++) {
    const [lower = 0, upper = 0] = [program.rowLower[i], program.rowUpper[i]];
    if (lower > -Infinity && upper < Infinity && lower < upper) lines.push(` RNG r${i} ${upper - lower}`);
  }
  lines.push('BOUNDS');
  program.upper.forEach((upper, j) => lines.push(...boundLines(j, program.lower[j] ?? 0, upper)));
  lines.push('ENDATA', '');
  return lines.join('\n');
}

function rowKind({ rowLower, rowUpper }: LinearProgram, i: number): 'N' | 'L' | 'G' | 'E' {
  const [lower = 0, upper = 0] = [rowLower[i], rowUpper[i]];
  if (lower === upper) return 'E';
  if (upper < Infinity) return 'L';
  return lower > -Infinity ? 'G' : 'N';
}

function rightHandSide(program: LinearProgram, i: number): number {
  switch (rowKind(program, i)) {
    case 'N':
      return 0;
    case 'G':
      return program.rowLower[i] ?? 0;
    case 'L':
    case 'E':
      return program.rowUpper[i] ?? 0;
  }
}

function addColumns(lines: string[], program: LinearProgram): void {
  const { starts, rows, values } = byColumn(program);
  const sign = program.sense === 'max' ? -1 : 1;
  let isInteger = false;
  for (let j = 0; j < program.cost.length; j++) {
    if ((program.integer[j] === 1) !== isInteger) {
      isInteger = !isInteger;
      lines.push(` MARK 'MARKER' ${isInteger ? "'INTORG'" : "'INTEND'"}`);
    }
    // A column without entries has to be named all the same.
    const cost = sign * (program.cost[j] ?? 0);
    if (cost !== 0 || starts[j] === starts[j + 1]) lines.push(` c${j} obj ${cost}`);
    for (let e = starts[j] ?? 0; e < (starts[j + 1] ?? 0); e++) lines.push(` c${j} r${rows[e]} ${values[e]}`);
  }
  if (isInteger) lines.push(" MARK 'MARKER' 'INTEND'");
}

/** Always given: readers differ in what an integer column without bounds may be. */
function boundLines(j: number, lower: number, upper: number): readonly string[] {
  if (lower === upper) return [` FX BND c${j} ${lower}`];
  return [
    lower === -Infinity ? ` MI BND c${j}` : ` LO BND c${j} ${lower}`,
    upper === Infinity ? ` PL BND c${j}` : ` UP BND c${j} ${upper}`,
  ];
}

/** The entries column after column, rows in order. */
function byColumn({ cost, rowLower, rowStarts, indices, values }: LinearProgram) {
  const starts = new Int32Array(cost.length + 1);
  for (const j of indices) starts[j + 1] = (starts[j + 1] ?? 0) + 1;
  for (let j = 0; j < cost.length; j++) starts[j + 1] = (starts[j + 1] ?? 0) + (starts[j] ?? 0);
  const next = starts.slice();
  const rows = new Int32Array(indices.length);
  const sorted = new Float64Array(indices.length);
  for (let i = 0; i < rowLower.length; i++) {
    for (let e = rowStarts[i] ?? 0; e < (rowStarts[i + 1] ?? 0); e++) {
      const j = indices[e] ?? 0;
      const at = next[j] ?? 0;
      next[j] = at + 1;
      rows[at] = i;
      sorted[at] = values[e] ?? 0;
    }
  }
  return { starts, rows, values: sorted };
}
