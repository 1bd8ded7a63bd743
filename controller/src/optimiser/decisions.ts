/** The whole-number decisions of an exact model, as the search branches on them. */
import type { ExactModel } from './exact-model.js';
import { pairKey } from './placement.js';
import type { PlacementProblem } from './problem.js';
import type { Decision } from './search-tree.js';

export function catalogueDecisions(model: ExactModel): Decision[] {
  return [...model.catalogue.entries()]
    .filter(([, column]) => column >= 0)
    .map(([v, column]) => ({ column, branch: { of: 'variant', v }, rank: 0, lower: 0, upper: 1 }) as const);
}

export function decisionsOf(problem: PlacementProblem, model: ExactModel): Decision[] {
  const { upper } = model.program;
  const powered = model.powered.flatMap((columns, u) =>
    columns.map((column, m): Decision => {
      return { column, branch: { of: 'powered', u, m }, rank: 1, lower: 0, upper: upper[column] ?? 0 };
    }),
  );
  const copies = problem.devices.flatMap((_, u) =>
    problem.variants.flatMap((__, v): Decision[] => {
      const column = model.copies[pairKey(problem, u, v)] ?? -1;
      if (column < 0) return [];
      return [{ column, branch: { of: 'copies', u, v }, rank: 1, lower: 0, upper: upper[column] ?? 0 }];
    }),
  );
  return [...catalogueDecisions(model), ...powered, ...copies];
}
