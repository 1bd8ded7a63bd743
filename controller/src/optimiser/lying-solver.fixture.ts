import type { LinearProgram } from './linear-program.js';
import type { LinearSession, LinearSolver, SessionAnswer } from './solver.js';

/** A session that says what `answer` makes of the truth. */
export const answering = (session: LinearSession, answer: (truth: SessionAnswer) => SessionAnswer): LinearSession => ({
  solve: (timeLimitS, basis) => answer(session.solve(timeLimitS, basis)),
  restrict: (ranges) => session.restrict(ranges),
  addColumns: (columns) => session.addColumns(columns),
  restrictRow: (row, lower, upper) => session.restrictRow(row, lower, upper),
  close: () => session.close(),
});

/** A solver whose warm programs lie; what it solves at once is true. */
export const lyingSolver = (
  exact: LinearSolver & { engine: NonNullable<LinearSolver['engine']> },
  answer: (truth: SessionAnswer, program: LinearProgram) => SessionAnswer,
): LinearSolver => ({
  name: 'liar',
  solve: (program, limits) => exact.solve(program, limits),
  engine: async () => {
    const engine = await exact.engine();
    return { open: (program) => answering(engine.open(program), (truth) => answer(truth, program)) };
  },
  close: async () => {},
});
