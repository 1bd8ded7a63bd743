/**
 * A linear or mixed-integer program as plain arrays, and what we check of any solver's answer ourselves.
 *
 * Rows are stored one after the other (CSR). Solvers get this very structure; no model text is exchanged, because text
 * readers were seen to accept a malformed objective in silence.
 */
export interface LinearProgram {
  readonly sense: 'max' | 'min';
  readonly cost: Float64Array;
  readonly lower: Float64Array;
  readonly upper: Float64Array;
  /** 1 where the column has to be a whole number. */
  readonly integer: Uint8Array;
  readonly rowLower: Float64Array;
  readonly rowUpper: Float64Array;
  /** Row i has the entries `rowStarts[i]` to `rowStarts[i + 1]`. */
  readonly rowStarts: Int32Array;
  readonly indices: Int32Array;
  readonly values: Float64Array;
  /** What a row is called in prices and certificates (`certificate.ts`); undefined for rows that nobody asks for. */
  readonly rowNames: readonly (string | undefined)[];
}

export interface ProgramColumn {
  readonly cost?: number;
  readonly lower?: number;
  readonly upper: number;
  readonly integer?: boolean;
}

/** (column, coefficient) */
export type RowEntry = readonly [number, number];

/** Collects columns and rows; entries of one column within a row are added up, zeros are left out. */
export class LinearProgramBuilder {
  readonly #cost: number[] = [];
  readonly #lower: number[] = [];
  readonly #upper: number[] = [];
  readonly #integer: number[] = [];
  readonly #rowLower: number[] = [];
  readonly #rowUpper: number[] = [];
  readonly #rowNames: (string | undefined)[] = [];
  readonly #starts: number[] = [0];
  readonly #indices: number[] = [];
  readonly #values: number[] = [];
  /** Where each column was last put: a column put twice into the open row is found without a map per row. */
  readonly #lastPut: number[] = [];

  get columns(): number {
    return this.#cost.length;
  }

  get rows(): number {
    return this.#rowLower.length;
  }

  addColumn(column: ProgramColumn): number {
    this.#cost.push(column.cost ?? 0);
    this.#lower.push(column.lower ?? 0);
    this.#upper.push(column.upper);
    this.#integer.push(column.integer === true ? 1 : 0);
    this.#lastPut.push(-1);
    return this.#cost.length - 1;
  }

  /** Adds value * column to the row that `closeRow` ends. */
  put(column: number, value: number): void {
    if (value === 0) return;
    const last = this.#lastPut[column] ?? -1;
    if (last >= (this.#starts[this.#starts.length - 1] ?? 0)) {
      this.#values[last] = (this.#values[last] ?? 0) + value;
      return;
    }
    this.#lastPut[column] = this.#indices.length;
    this.#indices.push(column);
    this.#values.push(value);
  }

  /** lower <= sum of what was put since the last row <= upper; returns the row's index. */
  closeRow(lower: number, upper: number, name?: string): number {
    this.#rowLower.push(lower);
    this.#rowUpper.push(upper);
    this.#rowNames.push(name);
    this.#starts.push(this.#indices.length);
    return this.#rowLower.length - 1;
  }

  /** lower <= sum of entries <= upper; returns the row's index. */
  addRow(lower: number, upper: number, entries: Iterable<RowEntry>, name?: string): number {
    for (const [column, value] of entries) this.put(column, value);
    return this.closeRow(lower, upper, name);
  }

  build(sense: 'max' | 'min'): LinearProgram {
    return {
      sense,
      cost: new Float64Array(this.#cost),
      lower: new Float64Array(this.#lower),
      upper: new Float64Array(this.#upper),
      integer: new Uint8Array(this.#integer),
      rowLower: new Float64Array(this.#rowLower),
      rowUpper: new Float64Array(this.#rowUpper),
      rowStarts: new Int32Array(this.#starts),
      indices: new Int32Array(this.#indices),
      values: new Float64Array(this.#values),
      rowNames: this.#rowNames.slice(),
    };
  }
}

export const columnCount = (program: LinearProgram): number => program.cost.length;
export const rowCount = (program: LinearProgram): number => program.rowLower.length;

/** Objective of a point, recomputed from the program. */
export function objectiveAt(program: LinearProgram, point: Float64Array): number {
  let total = 0;
  for (let j = 0; j < program.cost.length; j++) total += (program.cost[j] ?? 0) * (point[j] ?? 0);
  return total;
}

export interface PointCheck {
  /** Largest violation of a row or column bound, relative to the size of the row's terms. */
  readonly violation: number;
  /** Largest distance of an integer column from a whole number. */
  readonly fraction: number;
  readonly objective: number;
}

/** Measures what a claimed solution is worth; the caller compares with its tolerance. NaN counts as infinite violation. */
export function checkPoint(program: LinearProgram, point: Float64Array): PointCheck {
  let violation = point.length === program.cost.length ? 0 : Infinity;
  let fraction = 0;
  const note = (excess: number, scale: number) => {
    const relative = excess / Math.max(1e-3, scale);
    if (!(relative <= violation)) violation = Number.isNaN(relative) ? Infinity : relative;
  };
  for (let j = 0; j < program.cost.length; j++) {
    const value = point[j] ?? NaN;
    note((program.lower[j] ?? 0) - value, 1);
    note(value - (program.upper[j] ?? 0), 1);
    if (program.integer[j] === 1) fraction = Math.max(fraction, Math.abs(value - Math.round(value)));
  }
  for (let i = 0; i < program.rowLower.length; i++) {
    let activity = 0;
    let size = 0;
    for (let e = program.rowStarts[i] ?? 0; e < (program.rowStarts[i + 1] ?? 0); e++) {
      const term = (program.values[e] ?? 0) * (point[program.indices[e] ?? 0] ?? NaN);
      activity += term;
      size += Math.abs(term);
    }
    const lower = program.rowLower[i] ?? -Infinity;
    const upper = program.rowUpper[i] ?? Infinity;
    if (lower > -Infinity) note(lower - activity, Math.max(size, Math.abs(lower)));
    if (upper < Infinity) note(activity - upper, Math.max(size, Math.abs(upper)));
  }
  return { violation, fraction, objective: objectiveAt(program, point) };
}
