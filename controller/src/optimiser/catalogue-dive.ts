import type { ExactModel } from './exact-model.js';
import type { LinearSession } from './solver.js';

const WHOLE = 1e-6;

/**
 * A catalogue near a fractional point: the variant that the point has most of, of those it has in part, is taken whole,
 * the program solved again, and so on. Undefined where that leads nowhere, or time is over. The session is left as it was.
 */
export function diveToCatalogue(
  model: ExactModel,
  session: LinearSession,
  start: Float64Array,
  left: () => number,
): readonly number[] | undefined {
  const columns = [...model.catalogue.entries()].filter(([, column]) => column >= 0);
  const taken: number[] = [];
  try {
    for (let point = start; ;) {
      const shares = columns.map(([, column]) => ({ column, share: point[column] ?? 0 }));
      const partly = shares.filter(({ share }) => share > WHOLE && share < 1 - WHOLE);
      const [most] = partly.sort((a, b) => b.share - a.share);
      if (most === undefined) return columns.filter(([, column]) => (point[column] ?? 0) > 0.5).map(([v]) => v);
      taken.push(most.column);
      session.restrict([{ column: most.column, lower: 1, upper: 1 }]);
      const answer = session.solve(left());
      if (answer.status !== 'optimal') return undefined;
      point = answer.point;
    }
  } finally {
    session.restrict(taken.map((column) => ({ column, lower: 0, upper: 1 })));
  }
}
