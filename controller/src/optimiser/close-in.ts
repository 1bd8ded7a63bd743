import type { LinearSession, OptimalAnswer, SessionColumn } from './solver.js';

/** Columns are no longer made when so many rounds have closed less than this share of what is open. */
const STALL_ROUNDS = 6;
const STALLED = 0.1;
/** A program is close enough when it is within this share of the gap asked for. */
const PRICED = 0.25;
/** Weight of the best duals so far against the newest (Wentges 1997): raw duals leap from end to end. */
const STABLE = 0.5;

export interface Approximation {
  readonly session: LinearSession;
  /** The true bound at some duals, and columns that bring the program closer to it. */
  readonly price: (duals: Float64Array) => { readonly bound: number; readonly columns: readonly SessionColumn[] };
  readonly rounds: number;
  readonly gap: number;
  /** A part whose bound is no more than this is of no interest. */
  readonly cut: number;
  /** Seconds that may still be spent. */
  readonly left: () => number;
}

/**
 * Column generation: brings a program that approximates the devices closer to them, until its objective and the true
 * bound at its duals meet, nothing is gained any more, or the part is beaten. Gives the last answer, and the lowest bound
 * with the duals that prove it.
 */
export function closeIn(
  first: OptimalAnswer,
  { session, price, rounds, gap, cut, left }: Approximation,
): { readonly answer: OptimalAnswer; readonly bound: number; readonly duals: Float64Array } {
  let answer = first;
  let stable = first.rowDuals;
  let [best, lastBest] = [Infinity, Infinity];
  for (let round = 0; round < rounds; round++) {
    const duals = round === 0 ? answer.rowDuals : mixed(stable, answer.rowDuals);
    const { bound, columns } = price(duals);
    if (bound < best) {
      best = bound;
      stable = duals;
    }
    if (round % STALL_ROUNDS === STALL_ROUNDS - 1) {
      if (lastBest - best <= STALLED * (lastBest - answer.objective)) break;
      lastBest = best;
    }
    const isClose = best - answer.objective <= PRICED * gap * Math.max(1, Math.abs(best));
    if (isClose || best <= cut || columns.length === 0 || left() <= 0) break;
    session.addColumns(columns);
    const next = session.solve(left());
    if (next.status !== 'optimal') break;
    answer = next;
  }
  return { answer, bound: best, duals: stable };
}

const mixed = (stable: Float64Array, fresh: Float64Array): Float64Array =>
  stable.map((value, i) => STABLE * value + (1 - STABLE) * (fresh[i] ?? 0));
