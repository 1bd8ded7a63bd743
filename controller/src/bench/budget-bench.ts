import type { Budgets, DeviceView, ListBody, PlanView, StatusView } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';

import { type BenchReport, figure, type Progress } from './bench-report.js';
import { type BudgetPoint, planEnergyJ, sameBudgets } from './budget-figures.js';
import { type NamedBudgets, tighterBudgets } from './budget-search.js';
import type { ValidationPair } from './disk-validation-pairs.js';
import { meanOf } from './distribution.js';
import { ask, scoreAnswer } from './fleet-client.js';
import type { HttpFleetClient } from './http-fleet-client.js';

const ANSWER_TOKENS = 48;
const PLAN_DEADLINE_MS = 120_000;
/** The planner takes up a changed budget by itself; when it has seen no reason to move by then, it is told to. */
const NUDGE_AFTER_MS = 15_000;
const POLL_MS = 500;

/**
 * Quality against energy, from the running system: the same prompts under the present budgets and under two tighter ones,
 * either for the energy of a request (searched) or for the power of the fleet (`givenPowerW`). Sets budgets, waits until
 * the new plan is in force and loaded, and puts the budgets back at the end, also when it fails or is interrupted.
 */
export async function budgetBench(
  client: HttpFleetClient,
  pairs: readonly ValidationPair[],
  givenPowerW: readonly number[],
  progress: Progress,
  signal: AbortSignal,
): Promise<BenchReport> {
  const before = await client.get<Budgets>('/api/v1/budgets');
  const points: BudgetPoint[] = [];
  try {
    const present = await inForce(client, before, signal);
    progress('budget: present budgets');
    points.push(await measure(client, 'present', present, pairs, progress, signal));
    const tighter: readonly NamedBudgets[] =
      givenPowerW.length > 0
        ? givenPowerW.map((watts) => ({ name: `${watts} W`, budgets: { ...before, fleetPowerW: watts } }))
        : await tighterBudgets(client, before, present, progress, signal);
    for (const { name, budgets } of tighter) {
      progress(`budget: ${name}`);
      const wanted = await client.put<Budgets>('/api/v1/budgets', budgets);
      points.push(await measure(client, name, await inForce(client, wanted, signal), pairs, progress, signal));
    }
  } finally {
    await client.put('/api/v1/budgets', before);
  }
  progress('budget: back to the budgets as they were');
  await inForce(client, before, signal);
  return report(points, pairs.length);
}

/** The active plan under `budgets`, once every device holds what it places. */
async function inForce(client: HttpFleetClient, budgets: Budgets, signal: AbortSignal): Promise<PlanView> {
  const started = performance.now();
  let isNudged = false;
  for (;;) {
    signal.throwIfAborted();
    const waited = performance.now() - started;
    const plan = await activePlan(client);
    if (plan !== undefined && sameBudgets(plan.budgets, budgets)) {
      const { items } = await client.get<ListBody<DeviceView>>('/api/v1/devices');
      if (isHeld(plan, items)) return plan;
    } else if (waited > NUDGE_AFTER_MS && !isNudged) {
      isNudged = true;
      const proposed = await client.post('/api/v1/plans/propose', {});
      if (proposed.ok) {
        const { id, status } = (await proposed.response.json()) as PlanView;
        if (status === 'infeasible') throw notInForce('no plan meets them');
        await client.post(`/api/v1/plans/${id}/apply`, {});
      }
    }
    if (waited > PLAN_DEADLINE_MS) throw notInForce(`not in force after ${PLAN_DEADLINE_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function notInForce(what: string): FleetError {
  return new FleetError('plan.infeasible', `budgets of the benchmark: ${what}`, {
    hint: 'fleetgate plan show says why; --power 20,14 gives budgets of your own',
  });
}

async function activePlan(client: HttpFleetClient): Promise<PlanView | undefined> {
  const { activePlanId } = await client.get<StatusView>('/api/v1/status');
  return activePlanId === null ? undefined : client.get<PlanView>(`/api/v1/plans/${activePlanId}`);
}

function isHeld(plan: PlanView, devices: readonly DeviceView[]): boolean {
  return plan.placements.every(({ deviceId, variantId }) =>
    devices
      .find((device) => device.id === deviceId)
      ?.variants.some((variant) => variant.variantId === variantId && variant.residency === 'resident'),
  );
}

async function measure(
  client: HttpFleetClient,
  name: string,
  plan: PlanView,
  pairs: readonly ValidationPair[],
  progress: Progress,
  signal: AbortSignal,
): Promise<BudgetPoint> {
  const energies: number[] = [];
  const watts: number[] = [];
  const experts = new Map<string, number>();
  let [bits, bytes, tokens] = [0, 0, 0];
  for (const [at, pair] of pairs.entries()) {
    signal.throwIfAborted();
    if (at % 10 === 0) progress(`  request ${at + 1} of ${pairs.length}`);
    const answer = await ask(client, 'auto', pair.prompt, ANSWER_TOKENS);
    energies.push(answer.energyJ);
    tokens += answer.outputTokens;
    experts.set(answer.expert, (experts.get(answer.expert) ?? 0) + 1);
    const score = await scoreAnswer(client, answer.expert, pair.prompt, pair.completion);
    bits += score?.bits ?? 0;
    bytes += score?.bytes ?? 0;
    const { items } = await client.get<ListBody<DeviceView>>('/api/v1/devices');
    watts.push(items.reduce((sum, device) => sum + (device.last.powerW ?? 0), 0));
  }
  return {
    name,
    planJ: planEnergyJ(plan),
    objective: plan.objective,
    joulesPerRequest: meanOf(energies),
    tokensPerRequest: tokens / Math.max(1, pairs.length),
    bitsPerByte: bits / bytes,
    reportedW: meanOf(watts),
    placements: plan.placements.length,
    experts: [...experts].sort(([, a], [, b]) => b - a).map(([expert, count]) => `${expert} ${count}`),
  };
}

function report(points: readonly BudgetPoint[], prompts: number): BenchReport {
  const [first] = points;
  const last = points.at(-1);
  const peer = (value: number) => ({ name: 'present budgets', value });
  return {
    name: 'budget',
    figures:
      first === undefined || last === undefined || points.length < 2
        ? []
        : [
            figure(
              'energy above idle per request, tightest budget',
              'J',
              last.joulesPerRequest,
              peer(first.joulesPerRequest),
            ),
            figure('mean bits per byte, tightest budget', 'bit/byte', last.bitsPerByte, peer(first.bitsPerByte)),
            figure('fleet power as reported, tightest budget', 'W', last.reportedW, peer(first.reportedW)),
          ],
    tables: [
      {
        title: 'trade-off: the same prompts under each budget',
        columns: ['budget', 'plan J', 'J/request', 'tokens', 'bit/byte', 'plan points', 'fleet W', 'copies', 'experts'],
        rows: points.map((point) => [
          point.name,
          point.planJ.toFixed(3),
          point.joulesPerRequest.toFixed(3),
          point.tokensPerRequest.toFixed(1),
          point.bitsPerByte.toFixed(3),
          point.objective === null ? '-' : point.objective.toFixed(1),
          point.reportedW.toFixed(2),
          point.placements,
          point.experts.join(', '),
        ]),
      },
    ],
    notes: [
      `${prompts} validation prompts at each point, at most ${ANSWER_TOKENS} tokens each, one at a time`,
      'plan J: planned energy of a request above idle, with answers of their full expected length; fleet W: sum of what the devices report, mean over the run',
      'bit/byte: reference answers under the expert that was chosen, over all prompts together',
      ...(points.length < 2 ? ['no tighter budget was found that a plan meets'] : []),
    ],
  };
}
