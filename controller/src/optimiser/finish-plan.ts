import type { Certificate } from './certificate.js';
import { explain } from './explain.js';
import { qualityCeiling } from './objective.js';
import type { PlacementPlan } from './plan.js';
import { NO_PRICES } from './prices.js';
import type { PlacementProblem } from './problem.js';
import type { Realised } from './realise.js';
import type { SecondOpinion } from './second-opinion.js';
import { tidied } from './tidy.js';
import { VERIFY_TOLERANCE, verifyPlacement } from './verify.js';
import { boundColumns } from './bound-columns.js';
import { type BoundCheck, verifyBound } from './verify-bound.js';

/** What a search leaves behind beside its placement. */
export interface Found {
  readonly certificate: Certificate | undefined;
  /** What the certificate proves, where the checker has been asked already; else it is asked. */
  readonly proven?: BoundCheck;
  readonly method: string;
  readonly isTimedOut: boolean;
  readonly nodes: number;
  /** Sentences that come before the explanation. */
  readonly notes: readonly string[];
}

/**
 * The plan of a placement: tidied, with the bound that the checker makes of the certificate (else the ceiling of quality)
 * and never more said of it than that proves. `copies`: whether idle copies are dropped.
 */
export function finished(
  problem: PlacementProblem,
  best: Realised,
  found: Found,
  second: SecondOpinion | undefined,
  copies: 'tidy' | 'keep' = 'tidy',
): PlacementPlan {
  const notes = [...found.notes];
  const ceiling = qualityCeiling(problem);
  const proof = proven(problem, found, notes);
  const margin = VERIFY_TOLERANCE * Math.max(1, Math.abs(proof));
  // A checked placement above what was proven refutes the proof: it is kept, the proof is not.
  const isRefuted = second !== undefined && second.check.objective > proof + margin;
  if (isRefuted) {
    notes.push(
      `javascript-lp-solver found ${second.check.objective}, above the bound ${proof}: the proof is not believed.`,
    );
  }
  const isBetter = second !== undefined && second.check.objective > best.check.objective + margin;
  const chosen = isBetter ? { placement: second.placement, prices: NO_PRICES, check: second.check } : best;
  const placement = copies === 'keep' ? chosen.placement : tidied(problem, chosen.placement);
  const check = placement === chosen.placement ? chosen.check : verifyPlacement(problem, placement);
  const { objective } = check;
  const bound = Math.max(objective, isRefuted ? ceiling : Math.min(proof, ceiling));
  const gap = (bound - objective) / Math.max(1, Math.abs(objective));
  const hasProof = !isRefuted && found.certificate !== undefined && Number.isFinite(proof);
  const isOptimal = hasProof && gap <= 1.5 * VERIFY_TOLERANCE;
  const claims = {
    status: isOptimal ? 'optimal' : found.isTimedOut ? 'timeout' : 'feasible',
    ...{ objective, bound, gap },
  } as const;
  const { prices } = chosen;
  return {
    schema: 'fleet-plan/1',
    ...claims,
    seconds: 0,
    method: found.method,
    ...placement,
    prices,
    conflict: null,
    relaxations: null,
    explanation: [...notes, ...explain(problem, { ...claims, prices, poweredOn: placement.poweredOn }, check.uses)],
    ...(hasProof ? { certificate: found.certificate } : {}),
  };
}

/** What the checker makes of a certificate; the ceiling when there is none or it does not hold. */
function proven(problem: PlacementProblem, { certificate, proven: known }: Found, notes: string[]): number {
  if (certificate === undefined) return Infinity;
  const { bound, faults } = known ?? verifyBound(boundColumns(problem, certificate.pools), certificate);
  if (faults.length > 0) {
    notes.push(
      `Not proven: the checker refuses the proof (${faults.slice(0, 3).join('; ')}), so the bound is only the ceiling of quality.`,
    );
  }
  return bound;
}

/** The answer when no placement was found: only a bound. */
export function withoutPlan(problem: PlacementProblem, found: Found, explanation: readonly string[]): PlacementPlan {
  const notes = [...found.notes];
  const bound = Math.min(proven(problem, found, notes), qualityCeiling(problem));
  return {
    schema: 'fleet-plan/1',
    status: 'timeout',
    objective: null,
    bound: Number.isFinite(bound) ? bound : null,
    gap: null,
    seconds: 0,
    method: found.method,
    placement: [],
    poweredOn: [],
    routing: [],
    prices: NO_PRICES,
    conflict: null,
    relaxations: null,
    explanation: [...notes, ...explanation],
  };
}
