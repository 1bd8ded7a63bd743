/** What became of a change of the budgets. Pure. */
import type { Budgets, PlanView } from '@fleetgate/shared/api/operations';

export type ChangeOutcome =
  | { readonly kind: 'waiting' }
  /** A new plan took over. */
  | { readonly kind: 'planned'; readonly plan: PlanView; readonly before: PlanView | null }
  /** The new plan was rejected, mostly because none meets the budgets; the old one stays. */
  | { readonly kind: 'refused'; readonly plan: PlanView }
  /** Saved, and no new plan came within the time allowed: the active one still fits. */
  | { readonly kind: 'kept' };

export interface PendingChange {
  readonly savedAtMs: number;
  /** Plans known before the change. */
  readonly knownIds: ReadonlySet<string>;
  readonly before: PlanView | null;
}

/** Beyond the longest solve of a small fleet. */
export const OUTCOME_DEADLINE_MS = 30_000;

export function changeOutcome(change: PendingChange, plans: readonly PlanView[], nowMs: number): ChangeOutcome {
  const news = plans.filter((plan) => !change.knownIds.has(plan.id));
  const planned = news.find((plan) => plan.state === 'active' || plan.state === 'superseded');
  if (planned !== undefined) return { kind: 'planned', plan: planned, before: change.before };
  const refused = news.find((plan) => plan.state === 'rejected');
  if (refused !== undefined) return { kind: 'refused', plan: refused };
  return nowMs - change.savedAtMs > OUTCOME_DEADLINE_MS ? { kind: 'kept' } : { kind: 'waiting' };
}

/** What a person typed as a fleet power budget: empty means no bound. */
export type PowerInput =
  { readonly ok: true; readonly fleetPowerW: number | null } | { readonly ok: false; readonly message: string };

export function parsePower(text: string): PowerInput {
  const trimmed = text.trim().replace(',', '.').replace(/\s*w$/i, '');
  if (trimmed === '') return { ok: true, fleetPowerW: null };
  const value = Number(trimmed);
  if (!/^\d*\.?\d+$|^\d+\.$/.test(trimmed) || !Number.isFinite(value) || value <= 0) {
    return {
      ok: false,
      message: `Give a power above 0 in watts, for example 25, or nothing for no bound. Got “${text}”.`,
    };
  }
  return { ok: true, fleetPowerW: value };
}

export function withPower(budgets: Budgets, fleetPowerW: number | null): Budgets {
  return { ...budgets, fleetPowerW };
}

/** The fleet power that the smallest power repair of a refused plan would need, rounded up to 0.1 W; null when none. */
export function repairPowerW(plan: PlanView): number | null {
  const repair = plan.relaxations?.find((relaxation) => relaxation.group === 'power');
  const bound = plan.budgets.fleetPowerW;
  if (repair === undefined || repair.unit !== 'W' || bound === null) return null;
  // Rounded first so that 14.3 in binary does not become 14.4.
  return Math.ceil(Number(((bound + repair.slack) * 10).toFixed(6))) / 10;
}
