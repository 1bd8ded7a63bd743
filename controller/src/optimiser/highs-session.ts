import type { Highs, Model } from 'highs';

import type { ColumnRange, LinearSession, SessionAnswer, SessionColumn, WarmBasis } from './solver.js';

/** Dual simplex from the last basis: after a few bounds have changed, a few pivots are enough. */
export class HighsSession implements LinearSession {
  readonly #highs: Highs;
  readonly #model: Model;

  constructor(highs: Highs, model: Model) {
    this.#highs = highs;
    this.#model = model;
    // Presolve would throw the basis away.
    model.options.set({
      output_flag: false,
      presolve: 'off',
      solver: 'simplex',
      primal_feasibility_tolerance: 1e-9,
      dual_feasibility_tolerance: 1e-9,
    });
  }

  solve(timeLimitS: number, basis?: WarmBasis): SessionAnswer {
    const { modelStatus } = this.#highs.constants;
    try {
      if (basis !== undefined) this.#install(basis);
      let status = this.#run(timeLimitS);
      if (status !== modelStatus.optimal && status !== modelStatus.infeasible && status !== modelStatus.timeLimit) {
        // A basis can lead the simplex astray; without one it starts over.
        this.#model.clearSolver();
        status = this.#run(timeLimitS);
      }
      if (status === modelStatus.infeasible || status === modelStatus.unboundedOrInfeasible) {
        return { status: 'infeasible', ray: this.#ray() };
      }
      return status === modelStatus.optimal ? this.#read() : { status: 'stopped' };
    } catch {
      // An abort of the WebAssembly: this session is lost, and says so from now on.
      return { status: 'stopped' };
    }
  }

  #run(timeLimitS: number): number {
    this.#model.zeroAllClocks();
    this.#model.options.set({ time_limit: Math.max(0.01, timeLimitS) });
    this.#model.run();
    return this.#model.getModelStatus();
  }

  restrict(ranges: Iterable<ColumnRange>): void {
    for (const { column, lower, upper } of ranges) this.#model.changeColBounds(column, lower, upper);
  }

  addColumns(columns: readonly SessionColumn[]): void {
    const { numRows } = this.#model.getDimensions();
    const starts = new Int32Array(columns.length + 1);
    columns.forEach(({ entries }, j) => (starts[j + 1] = (starts[j] ?? 0) + entries.length));
    this.#model.addCols({
      cost: Float64Array.from(columns, ({ cost }) => cost),
      lower: new Float64Array(columns.length),
      upper: Float64Array.from(columns, ({ upper }) => upper),
      matrix: {
        ...{ format: 'csc', numRows, numCols: columns.length, starts },
        indices: Int32Array.from(columns.flatMap(({ entries }) => entries.map(([row]) => row))),
        values: Float64Array.from(columns.flatMap(({ entries }) => entries.map(([, value]) => value))),
      },
    });
  }

  /** Columns that have joined since the basis was taken stay at their lower bound. */
  #install({ columns, rows }: WarmBasis): void {
    const { numCols } = this.#model.getDimensions();
    const colStatus = new Int32Array(numCols).fill(this.#highs.constants.basisStatus.lower);
    colStatus.set(columns);
    this.#model.setBasis({ colStatus, rowStatus: rows });
  }

  restrictRow(row: number, lower: number, upper: number): void {
    const { infinity } = this.#highs;
    this.#model.changeRowBounds(row, Math.max(lower, -infinity), Math.min(upper, infinity));
  }

  close(): void {
    this.#model.dispose();
  }

  #read(): SessionAnswer {
    const { colValue, rowDual } = this.#model.getSolution();
    const { colStatus, rowStatus } = this.#model.getBasis();
    return {
      status: 'optimal',
      objective: Number(this.#model.info.get('objective_function_value')),
      point: colValue,
      rowDuals: rowDual,
      basis: { columns: colStatus, rows: rowStatus },
    };
  }

  #ray(): Float64Array | undefined {
    const ray = this.#model.getDualRay();
    return ray?.values;
  }
}
