import type { DeviceView, PlanView } from '@fleetgate/shared/api/operations';

/** One point of the trade-off curve. */
export interface BudgetPoint {
  readonly budgetW: number | null;
  readonly planW: number;
  readonly reportedW: number;
  readonly joulesPerRequest: number;
  readonly tokensPerRequest: number;
  readonly bitsPerByte: number;
  readonly objective: number | null;
  readonly devicesOn: number;
  readonly experts: readonly string[];
}

/** A budget that a plan was found for. */
export interface Proposed {
  readonly powerW: number;
  readonly objective: number;
}

/** Mean power that a plan means: idle of what is on and the energy of its demand. */
export function planPowerW(plan: PlanView, devices: readonly DeviceView[]): number {
  const on = new Set(plan.poweredOn);
  const idle = devices.reduce((sum, device) => sum + (on.has(device.id) ? (device.power?.idleW ?? 0) : 0), 0);
  return idle + plan.routing.reduce((sum, route) => sum + route.ratePerS * route.energyJ, 0);
}

/** Two budgets that show the trade-off: the tightest one, and the one whose plan lies nearest to half-way in quality. */
export function chooseBudgets(proposed: readonly Proposed[]): readonly number[] {
  const sorted = [...proposed].sort((a, b) => b.powerW - a.powerW);
  const tightest = sorted.at(-1);
  const loosest = sorted[0];
  if (tightest === undefined || loosest === undefined) return [];
  const middle = (tightest.objective + loosest.objective) / 2;
  const between = sorted
    .filter((one) => one !== tightest)
    .sort((a, b) => Math.abs(a.objective - middle) - Math.abs(b.objective - middle) || a.powerW - b.powerW)[0];
  return between === undefined ? [tightest.powerW] : [between.powerW, tightest.powerW];
}
