import type { Budgets, DeviceView, ListBody, PlanView, StatusView } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';

import { type BenchReport, figure, type Progress } from './bench-report.js';
import { type BudgetPoint, chooseBudgets, planPowerW, type Proposed } from './budget-figures.js';
import type { ValidationPair } from './disk-validation-pairs.js';
import { meanOf } from './distribution.js';
import { ask, scoreAnswer } from './fleet-client.js';
import type { HttpFleetClient } from './http-fleet-client.js';

const ANSWER_TOKENS = 48;
const PLAN_DEADLINE_MS = 120_000;
/** The planner takes up a changed budget by itself; when it has seen no reason to move by then, it is told to. */
const NUDGE_AFTER_MS = 15_000;
const POLL_MS = 500;
/** Shares of the present plan's power that are tried as budgets, tightest last. */
const TRIED_SHARES = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2] as const;

/**
 * Quality against power, from the running system: the same prompts under the present budgets and under two tighter fleet
 * power budgets (or those given). Sets budgets, waits until the new plan is in force and loaded, and puts the budgets
 * back at the end, also when it fails or is interrupted.
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
    progress('budget: present plan');
    points.push(await measure(client, await inForce(client, before, signal), pairs, progress, signal));
    const budgets =
      givenPowerW.length > 0 ? givenPowerW : await feasibleBudgets(client, before, points[0]?.planW ?? NaN);
    for (const fleetPowerW of budgets) {
      progress(`budget: fleet power at most ${fleetPowerW.toFixed(1)} W`);
      const wanted = await client.put<Budgets>('/api/v1/budgets', { ...before, fleetPowerW });
      points.push(await measure(client, await inForce(client, wanted, signal), pairs, progress, signal));
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
    if (plan !== undefined && plan.budgets.fleetPowerW === budgets.fleetPowerW) {
      const { items } = await client.get<ListBody<DeviceView>>('/api/v1/devices');
      if (isHeld(plan, items)) return plan;
    } else if (waited > NUDGE_AFTER_MS && !isNudged) {
      isNudged = true;
      const proposed = await client.post('/api/v1/plans/propose', {});
      if (proposed.ok) {
        const { id, status } = (await proposed.response.json()) as PlanView;
        if (status === 'infeasible') throw notInForce(budgets, 'no plan meets it');
        await client.post(`/api/v1/plans/${id}/apply`, {});
      }
    }
    if (waited > PLAN_DEADLINE_MS) throw notInForce(budgets, `it was not in force after ${PLAN_DEADLINE_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function notInForce(budgets: Budgets, what: string): FleetError {
  return new FleetError('plan.infeasible', `fleet power budget ${budgets.fleetPowerW ?? 'none'} W: ${what}`, {
    hint: 'give reachable budgets with --power, for example --power 20,14',
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

async function feasibleBudgets(client: HttpFleetClient, before: Budgets, presentW: number): Promise<readonly number[]> {
  const proposed: Proposed[] = [];
  for (const share of TRIED_SHARES) {
    const powerW = share * presentW;
    const posted = await client.post('/api/v1/plans/propose', { budgets: { ...before, fleetPowerW: powerW } });
    if (!posted.ok) continue;
    const plan = (await posted.response.json()) as PlanView;
    if (plan.objective !== null) proposed.push({ powerW, objective: plan.objective });
  }
  return chooseBudgets(proposed);
}

async function measure(
  client: HttpFleetClient,
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
  const { items } = await client.get<ListBody<DeviceView>>('/api/v1/devices');
  return {
    budgetW: plan.budgets.fleetPowerW,
    planW: planPowerW(plan, items),
    reportedW: meanOf(watts),
    joulesPerRequest: meanOf(energies),
    tokensPerRequest: tokens / Math.max(1, pairs.length),
    bitsPerByte: bits / bytes,
    objective: plan.objective,
    devicesOn: plan.poweredOn.length,
    experts: [...experts].sort(([, a], [, b]) => b - a).map(([expert, count]) => `${expert} ${count}`),
  };
}

function report(points: readonly BudgetPoint[], prompts: number): BenchReport {
  const [first] = points;
  const last = points.at(-1);
  const peer = (value: number | undefined) => ({ name: 'present budgets', value: value ?? NaN });
  return {
    name: 'budget',
    figures:
      first === undefined || last === undefined || points.length < 2
        ? []
        : [
            figure('fleet power under the tightest budget, as reported', 'W', last.reportedW, peer(first.reportedW)),
            figure('energy above idle per request under it', 'J', last.joulesPerRequest, peer(first.joulesPerRequest)),
            figure('mean bits per byte under it', 'bit/byte', last.bitsPerByte, peer(first.bitsPerByte)),
          ],
    tables: [
      {
        title: 'trade-off: same prompts under each budget',
        columns: [
          'budget W',
          'plan W',
          'reported W',
          'devices on',
          'J/request',
          'tokens/request',
          'bit/byte',
          'plan points',
          'experts',
        ],
        rows: points.map((point) => [
          point.budgetW === null ? 'none' : point.budgetW.toFixed(1),
          point.planW.toFixed(2),
          point.reportedW.toFixed(2),
          point.devicesOn,
          point.joulesPerRequest.toFixed(3),
          point.tokensPerRequest.toFixed(1),
          point.bitsPerByte.toFixed(3),
          point.objective === null ? '-' : point.objective.toFixed(1),
          point.experts.join(', '),
        ]),
      },
    ],
    notes: [
      `${prompts} validation prompts at each point, at most ${ANSWER_TOKENS} tokens each, one at a time`,
      'plan W: idle power of the devices that are on and the energy of the planned demand; reported W: sum of what the devices report, mean over the run',
      'bit/byte: reference answers under the expert that was chosen, over all prompts together',
    ],
  };
}
