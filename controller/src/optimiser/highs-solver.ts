import highsModule, { type Highs, type Model } from 'highs';

import { messageOf } from '@fleetgate/shared/errors';

import { checkPoint, columnCount, type LinearProgram, rowCount } from './linear-program.js';
import { HighsSession } from './highs-session.js';
import type { LinearAnswer, LinearEngine, LinearSolver, SolverLimits } from './solver.js';

// The package's types describe its CommonJS form, where the loader is the property `default`; the ES module that Node
// loads here exports the loader itself.
const loadHighs = highsModule as unknown as typeof highsModule.default;

/** HiGHS's smallest is 1e-10; its default 1e-6 for whole numbers lets a placement take 1e-6 of a device. */
const FEASIBILITY = 1e-9;
/** What our own check allows of a point that HiGHS calls feasible. */
const ACCEPTED_VIOLATION = 1e-6;
/** A WASM heap never shrinks: past this it is thrown away with everything in it. */
const RECYCLE_BYTES = 768 * 2 ** 20;

/**
 * HiGHS (MIT) as WebAssembly, given our sparse arrays directly.
 *
 * A call blocks until it is solved or `timeLimitS` is over: run it in a process of its own where that matters. The first
 * call compiles the WebAssembly; the instance is kept warm, and replaced after an abort or when its heap has grown.
 */
export class HighsSolver implements LinearSolver {
  readonly name = 'highs';
  #highs: Promise<Highs> | undefined;

  async solve(program: LinearProgram, limits: SolverLimits): Promise<LinearAnswer> {
    if (columnCount(program) === 0) return solveEmpty(program);
    let highs: Highs;
    try {
      highs = await (this.#highs ??= loadHighs({ print: () => {}, printErr: () => {} }));
    } catch (error) {
      this.#highs = undefined;
      return { status: 'failed', reason: `HiGHS did not load: ${messageOf(error)}` };
    }
    try {
      const answer = run(highs, program, limits);
      if (highs.memoryBytes > RECYCLE_BYTES) this.#highs = undefined;
      return answer;
    } catch (error) {
      // After an abort (out of memory, an assertion) the whole instance is undefined: never use it again.
      this.#highs = undefined;
      return { status: 'failed', reason: `HiGHS stopped: ${messageOf(error)}` };
    }
  }

  async engine(): Promise<LinearEngine> {
    const highs = await (this.#highs ??= loadHighs({ print: () => {}, printErr: () => {} }));
    if (highs.memoryBytes > RECYCLE_BYTES) this.#highs = undefined;
    return { open: (program) => new HighsSession(highs, createModel(highs, program)) };
  }

  async close(): Promise<void> {
    this.#highs = undefined;
  }
}

/** The program in HiGHS's memory, without integer marks. */
function createModel(highs: Highs, program: LinearProgram): Model {
  const [numRows, numCols] = [rowCount(program), columnCount(program)];
  return highs.createModel({
    numCols,
    numRows,
    sense: program.sense === 'max' ? highs.constants.objectiveSense.maximize : highs.constants.objectiveSense.minimize,
    colCost: program.cost,
    colLower: finiteOr(program.lower, highs.infinity),
    colUpper: finiteOr(program.upper, highs.infinity),
    rowLower: finiteOr(program.rowLower, highs.infinity),
    rowUpper: finiteOr(program.rowUpper, highs.infinity),
    matrix: {
      format: 'csr',
      numRows,
      numCols,
      starts: program.rowStarts,
      indices: program.indices,
      values: program.values,
    },
  });
}

function run(highs: Highs, program: LinearProgram, limits: SolverLimits): LinearAnswer {
  const isMixed = program.integer.includes(1);
  const model = createModel(highs, program);
  try {
    if (isMixed) program.integer.forEach((whole, j) => whole === 1 && model.changeColIntegrality(j, 1));
    model.options.set({
      output_flag: false,
      time_limit: Math.max(0.01, limits.timeLimitS),
      mip_rel_gap: limits.gap,
      mip_abs_gap: 1e-9,
      primal_feasibility_tolerance: FEASIBILITY,
      dual_feasibility_tolerance: FEASIBILITY,
      mip_feasibility_tolerance: FEASIBILITY,
    });
    model.run();
    return read(highs, model, program, isMixed);
  } finally {
    model.dispose();
  }
}

function read(highs: Highs, model: Model, program: LinearProgram, isMixed: boolean): LinearAnswer {
  const status = model.getModelStatus();
  const codes = highs.constants.modelStatus;
  // Every column of our models has finite bounds, so `unbounded or infeasible` can only be infeasible.
  if (status === codes.infeasible || status === codes.unboundedOrInfeasible) return { status: 'infeasible' };
  const worst = program.sense === 'max' ? Infinity : -Infinity;
  const claimed = isMixed ? Number(model.info.get('mip_dual_bound')) : worst;
  const bound = Number.isFinite(claimed) && Math.abs(claimed) < 1e29 ? claimed : worst;
  const timedOut = status === codes.timeLimit || status === codes.iterationLimit || status === codes.interrupted;
  if (status !== codes.optimal && !timedOut) return { status: 'failed', reason: `HiGHS ended with status ${status}` };
  if (Number(model.info.get('primal_solution_status')) !== highs.constants.solutionStatus.feasible) {
    return timedOut ? { status: 'timeout', bound } : { status: 'failed', reason: 'HiGHS gave no feasible point' };
  }
  const solution = model.getSolution();
  const point = solution.colValue;
  for (let j = 0; j < point.length; j++) if (program.integer[j] === 1) point[j] = Math.round(point[j] ?? 0);
  const check = checkPoint(program, point);
  if (check.violation > ACCEPTED_VIOLATION) {
    return { status: 'failed', reason: `HiGHS's point violates a row by ${check.violation.toExponential(2)}` };
  }
  const proven = !isMixed && status === codes.optimal ? check.objective : bound;
  const sided = program.sense === 'max' ? Math.max(proven, check.objective) : Math.min(proven, check.objective);
  return {
    status: status === codes.optimal ? 'optimal' : 'feasible',
    point,
    objective: check.objective,
    bound: sided,
    rowDuals: isMixed || status !== codes.optimal ? undefined : solution.rowDual,
    timedOut,
  };
}

function finiteOr(values: Float64Array, infinity: number): Float64Array {
  return values.map((value) => (value === Infinity ? infinity : value === -Infinity ? -infinity : value));
}

/** HiGHS refuses a program without columns; its rows are constants. */
function solveEmpty(program: LinearProgram): LinearAnswer {
  const holds = program.rowLower.every((lower, i) => lower <= 1e-12 && (program.rowUpper[i] ?? 0) >= -1e-12);
  if (!holds) return { status: 'infeasible' };
  const rowDuals = new Float64Array(rowCount(program));
  return { status: 'optimal', point: new Float64Array(0), objective: 0, bound: 0, rowDuals, timedOut: false };
}
