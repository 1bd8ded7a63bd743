import { FleetError } from '@fleetgate/shared/errors';

import { arcFaults } from './arc-faults.js';
import { type GateProblem, gateProblemSchema } from './gate-problem.js';
import { type PlacementProblem, placementProblemSchema, type ProblemArc } from './problem.js';
import { problemFaults } from './problem-faults.js';
import { schemaFaults } from './schema-faults.js';

const MOST_FAULTS = 8;
/** What to do about a document that is no instance. */
export const INSTANCE_HINT =
  'instances follow the schema fleet-opt/1; docs/formulation.md describes it, figures are in s, W, J, GiB and requests/s';
const frameSchema = placementProblemSchema.omit({ arcs: true });

/**
 * A placement problem of a parsed document, or a FleetError `instance.invalid` that lists up to eight faults as
 * `where: path: what`. The arcs are checked where they are, not copied.
 */
export function readProblem(document: unknown, where: string): PlacementProblem {
  const frame = frameSchema.safeParse(document);
  const list = (document as { readonly arcs?: unknown } | null)?.arcs;
  const arcs = arcFaults(list);
  if (!frame.success || arcs.count > 0) {
    const issues = frame.error === undefined ? [] : schemaFaults(frame.error, document);
    throw invalid(where, [...issues, ...arcs.texts], issues.length + arcs.count);
  }
  const problem: PlacementProblem = { ...frame.data, arcs: list as ProblemArc[] };
  const faults = problemFaults(problem);
  if (faults.length > 0) throw invalid(where, faults, faults.length);
  return problem;
}

function invalid(where: string, faults: readonly string[], count: number): FleetError {
  const listed = faults.slice(0, MOST_FAULTS);
  const more = count > listed.length ? `; and ${count - listed.length} more` : '';
  return new FleetError('instance.invalid', `${where}: ${listed.join('; ')}${more}`, { hint: INSTANCE_HINT });
}

/** A gate of a parsed document, or a FleetError like that of `readProblem`. */
export function readGate(document: unknown, where: string): GateProblem {
  const { data, error } = gateProblemSchema.safeParse(document);
  if (data !== undefined) return data;
  const faults = schemaFaults(error, document);
  throw invalid(where, faults, faults.length);
}
