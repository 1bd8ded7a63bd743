import type { Budgets, PlanView } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';

import type { Progress } from './bench-report.js';
import { between, classEnergies, withClassEnergies } from './budget-figures.js';
import type { HttpFleetClient } from './http-fleet-client.js';

/** Halvings in the search for a class's least energy: to within 3 % of its present one. */
const HALVINGS = 5;
/** Room above each class's own least energy, first one that a plan for all classes together meets. */
const SLACKS = [1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.6] as const;

/**
 * Tighter budgets for the energy of a request: `share` of the way from those of the `present` plan to the tightest that
 * some plan meets for all classes at once; undefined when there are none. Asks the running planner what it could do
 * (`plans/propose`); changes nothing.
 */
export async function tighterBudgets(
  client: HttpFleetClient,
  budgets: Budgets,
  present: PlanView,
  share: number,
  progress: Progress,
  signal: AbortSignal,
): Promise<Budgets | undefined> {
  const now = classEnergies(present);
  const least = new Map<string, number>();
  for (const [classId, energyJ] of now) {
    progress(`budget: least energy of a ${classId} request`);
    let [low, high] = [0, energyJ];
    for (let halving = 0; halving < HALVINGS; halving++) {
      signal.throwIfAborted();
      const tried = (low + high) / 2;
      const isMet = (await propose(client, withClassEnergies(budgets, new Map([[classId, tried]])))) !== undefined;
      if (isMet) high = tried;
      else low = tried;
    }
    least.set(classId, high);
  }
  for (const slack of SLACKS) {
    signal.throwIfAborted();
    const tight = new Map([...least].map(([classId, value]) => [classId, value * slack]));
    if ((await propose(client, withClassEnergies(budgets, tight))) === undefined) continue;
    return withClassEnergies(budgets, between(tight, now, 1 - share));
  }
  return undefined;
}

/** What the planner would do under `budgets`; undefined when no plan meets them. */
async function propose(client: HttpFleetClient, budgets: Budgets): Promise<PlanView | undefined> {
  const posted = await client.post('/api/v1/plans/propose', { budgets });
  if (!posted.ok) {
    throw new FleetError('plan.infeasible', `proposing a plan: ${posted.message}`, {
      hint: `the controller answered ${posted.status} ${posted.code}`,
    });
  }
  const plan = (await posted.response.json()) as PlanView;
  return plan.objective === null ? undefined : plan;
}
