/** Waits for the running planner, and makes it plan. */
import type { Budgets, DeviceView, ListBody, PlanView, StatusView } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';

import { sameBudgets } from './budget-figures.js';
import type { HttpFleetClient } from './http-fleet-client.js';

const PLAN_DEADLINE_MS = 120_000;
/** The planner takes up a changed budget by itself; when it has seen no reason to move by then, it is told to. */
const NUDGE_AFTER_MS = 15_000;
const POLL_MS = 500;

/** The active plan under `budgets`, once every device holds what it places. Throws `plan.infeasible`. */
export async function planInForce(client: HttpFleetClient, budgets: Budgets, signal: AbortSignal): Promise<PlanView> {
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
      await planAgain(client);
    }
    if (waited > PLAN_DEADLINE_MS) throw notInForce(`not in force after ${PLAN_DEADLINE_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Has a plan made for what is known now, under the budgets as they are, and puts it in force. */
export async function planAgain(client: HttpFleetClient): Promise<void> {
  const proposed = await client.post('/api/v1/plans/propose', {});
  if (!proposed.ok) return;
  const { id, status } = (await proposed.response.json()) as PlanView;
  if (status === 'infeasible') throw notInForce('no plan meets them');
  await client.post(`/api/v1/plans/${id}/apply`, {});
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
