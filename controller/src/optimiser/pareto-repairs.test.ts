import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { referenceProblem } from '../../../test/fixtures/instances/reference-instances.js';
import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { tinyFeaturedProblem, tinyProblem } from '../../../test/fixtures/instances/tiny-problem.js';
import { applyRepair, type Repair } from './bound-change.js';
import { buildExactModel } from './exact-model.js';
import { explainInfeasible } from './explain-infeasible.js';
import { HighsSolver } from './highs-solver.js';
import { dominates } from './pareto-repairs.js';
import type { JointRepair } from './plan.js';
import type { PlacementProblem } from './problem.js';
import { findRepair } from './repair.js';

const LIMITS = { timeLimitS: 20, gap: 1e-9 };
const exact = new HighsSolver();

/** As it is read back from a plan. */
const repairOf = ({ changes }: JointRepair): Repair => ({
  changes: changes.map(({ index, ...change }) => ({ ...change, index: index ?? undefined })),
});
const isFeasible = async (problem: PlacementProblem) => {
  const { program } = buildExactModel(problem, { elastic: new Set() });
  return (await exact.solve(program, LIMITS)).status !== 'infeasible';
};
const textsOf = (repairs: readonly JointRepair[] | undefined) =>
  repairs?.map(({ changes }) => changes.map(({ text }) => text));

/** Every joint repair works, and no repair moves less than another throughout. */
async function expectPareto(problem: PlacementProblem): Promise<void> {
  const { relaxations, repairs = [] } = await explainInfeasible(problem, { exact }, LIMITS);
  const singles: Repair[] = [];
  for (const { group } of relaxations ?? []) {
    const repair = await findRepair(problem, new Set([group]), exact, LIMITS);
    if (repair !== undefined) singles.push(repair);
  }
  const joint = repairs.map(repairOf);
  for (const repair of joint) {
    expect(await isFeasible(applyRepair(problem, repair)), JSON.stringify(repair)).toBe(true);
    for (const other of [...singles, ...joint]) if (other !== repair) expect(dominates(other, repair)).toBe(false);
  }
}

describe('joint repairs', () => {
  it('share what one bound alone would have to give', async () => {
    const { problem } = referenceProblem('fleet-15-inf-power');
    const { repairs, explanation } = await explainInfeasible(problem, { exact }, LIMITS);
    expect(textsOf(repairs)).toEqual([
      ['power budget 9.25 W -> 9.289 W', 'mean latency of c1 4.759 s -> 5.284 s'],
      ['served share of c1 0.9 -> 0.8834', 'mean latency of c1 4.759 s -> 5.284 s'],
      ['power budget 9.25 W -> 10.11 W', 'served share of c1 0.9 -> 0.5678'],
    ]);
    expect(explanation).toContain('Or together: power budget 9.25 W -> 10.11 W, served share of c1 0.9 -> 0.5678.');
  });

  it('mend two conflicts that have nothing to do with each other', async () => {
    // Half of each class has to be served on 0.5 W, and three sites of two are asked for.
    const fleet = smallFleet();
    const classes = fleet.classes.map((each) => ({ ...each, minSites: 3 }));
    const problem = smallFleet({ classes, budgets: { ...fleet.budgets, powerW: 0.5 } });
    const { conflict, relaxations, repairs, explanation } = await explainInfeasible(problem, { exact }, LIMITS);
    expect(conflict).toEqual(['demand', 'power']);
    expect(relaxations).toEqual([]);
    expect(textsOf(repairs)).toContainEqual([
      'power budget 0.5 W -> 2.001 W',
      'sites of code 3 -> 1',
      'sites of law 3 -> 1',
    ]);
    for (const repair of repairs ?? []) expect(await isFeasible(applyRepair(problem, repairOf(repair)))).toBe(true);
    expect(explanation[1]).toMatch(
      /^No single bound is enough; together: .*power budget 0\.5 W -> .*sites of code 3 -> /,
    );
  });

  it.each(['fleet-15-inf-power', 'fleet-17-inf-memory', 'fleet-19-inf-move'])('of %s work', async (name) => {
    await expectPareto(referenceProblem(name).problem);
  });

  it.each([
    ['plain', tinyProblem, 40],
    ['with every feature', tinyFeaturedProblem, 60],
  ])('of tiny random fleets work, and none is better than another throughout: %s', async (_, fleets, numRuns) => {
    await fc.assert(
      fc.asyncProperty(fleets, async (problem) => {
        if (problem.arcs.length > 0 && !(await isFeasible(problem))) await expectPareto(problem);
      }),
      { numRuns, seed: 20261004 },
    );
  });
});
