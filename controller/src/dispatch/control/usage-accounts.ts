import type { UsageBudget, UsageBurnDown } from '@fleetgate/shared/api/operations';
import { type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';
import { z } from 'zod';

/** What one job uses of a budget. */
export interface Use {
  readonly energyJ: number;
  readonly busyMs: number;
  readonly calls: number;
}

/** Whose budgets a job counts against. */
export interface Spender {
  readonly device: string;
  readonly class: string | undefined;
  readonly tenant: string | undefined;
}

/** An account of a usage budget: what was used in a window. */
export const accountRecordSchema = z.object({
  id: z.string(),
  windowStartMs: z.number(),
  energyJ: z.number(),
  busyMs: z.number(),
  calls: z.number(),
});
export type AccountRecord = z.infer<typeof accountRecordSchema>;

export const usageRecordSchema = z.array(accountRecordSchema);
export type UsageRecord = z.infer<typeof usageRecordSchema>;

interface Account {
  windowStartMs: number;
  energyJ: number;
  busyMs: number;
  calls: number;
}

const WINDOW_MS = { hour: 3_600_000, day: 86_400_000 } as const;

/** Used so far of every usage budget in its present window. Accounts of budgets that are gone are forgotten. */
export class UsageAccounts {
  readonly #accounts = new Map<string, Account>();

  /** Of several of one budget the last counts. */
  restore(record: UsageRecord): void {
    for (const { id, ...account } of record) this.#accounts.set(id, account);
  }

  toRecord(budgets: readonly UsageBudget[]): UsageRecord {
    const known = new Set(budgets.map(({ id }) => id));
    for (const id of this.#accounts.keys()) if (!known.has(id)) this.#accounts.delete(id);
    return [...this.#accounts].map(([id, account]) => ({ id, ...account }));
  }

  /** Counts a job against every budget that it falls under, and returns their accounts; negative amounts take back. */
  use(budgets: readonly UsageBudget[], spender: Spender, { energyJ, busyMs, calls }: Use, now: UnixMs): UsageRecord {
    const changed: AccountRecord[] = [];
    for (const budget of budgets) {
      if (!coversSpender(budget, spender)) continue;
      const account = this.#of(budget, now);
      account.energyJ = Math.max(0, account.energyJ + energyJ);
      account.busyMs = Math.max(0, account.busyMs + busyMs);
      account.calls = Math.max(0, account.calls + calls);
      changed.push({ id: budget.id, ...account });
    }
    return changed;
  }

  /** What budgets have left in their present windows for who asks; for so long as nothing more is used. */
  roomLeft(budgets: readonly UsageBudget[], asker: Omit<Spender, 'device'>, now: UnixMs): RoomLeft {
    return new RoomLeft(
      budgets.filter((budget) => coversSpender(budget, { ...asker, device: budget.device ?? '' })),
      (budget) => this.#of(budget, now),
    );
  }

  /**
   * Energy beyond an even pace through the window, in seconds of that pace. What was saved earlier in a window may be
   * spent later in it; nothing is carried over to the next.
   */
  aheadS(budget: UsageBudget, now: UnixMs): number {
    if (typeof budget.energyJ !== 'number') return 0;
    const perS = budget.energyJ / (WINDOW_MS[budget.per] / 1000);
    return Math.max(0, this.#of(budget, now).energyJ - paceOf(budget, budget.energyJ, now)) / perS;
  }

  view(budget: UsageBudget, price: number, now: UnixMs): UsageBurnDown {
    const { windowStartMs, ...used } = this.#of(budget, now);
    const paceJ = typeof budget.energyJ === 'number' ? paceOf(budget, budget.energyJ, now) : null;
    const isSpent =
      used.energyJ >= (budget.energyJ ?? Infinity) ||
      used.busyMs >= (budget.busyMs ?? Infinity) ||
      used.calls >= (budget.calls ?? Infinity);
    const isAhead = paceJ !== null && used.energyJ > paceJ;
    return {
      ...budget,
      windowStartMs,
      windowEndMs: windowStartMs + WINDOW_MS[budget.per],
      used,
      paceJ,
      price,
      state: isSpent ? 'spent' : isAhead ? 'ahead' : 'on-pace',
    };
  }

  #of(budget: UsageBudget, now: UnixMs): Account {
    const windowStartMs = windowStart(budget, now);
    const known = this.#accounts.get(budget.id);
    if (known?.windowStartMs === windowStartMs) return known;
    const fresh = { windowStartMs, energyJ: 0, busyMs: 0, calls: 0 };
    this.#accounts.set(budget.id, fresh);
    return fresh;
  }
}

/** Room in the budgets that one request counts against. */
export class RoomLeft {
  readonly #budgets: readonly { readonly budget: UsageBudget; readonly account: Readonly<Account> }[];

  constructor(budgets: readonly UsageBudget[], accountOf: (budget: UsageBudget) => Account) {
    this.#budgets = budgets.map((budget) => ({ budget, account: accountOf(budget) }));
  }

  /** The first budget that has no room for a job on a device any more. */
  spentBy(device: string, use: Use): UsageBudget | undefined {
    return this.#budgets.find(
      ({ account, budget }) => (budget.device === undefined || budget.device === device) && !fits(budget, account, use),
    )?.budget;
  }
}

function fits({ busyMs, calls, energyJ }: UsageBudget, used: Readonly<Account>, use: Use): boolean {
  return (
    used.energyJ + use.energyJ <= (energyJ ?? Infinity) &&
    used.busyMs + use.busyMs <= (busyMs ?? Infinity) &&
    used.calls + use.calls <= (calls ?? Infinity)
  );
}

export function coversSpender(budget: UsageBudget, { device, class: ofClass, tenant }: Spender): boolean {
  return (
    (budget.device === undefined || budget.device === device) &&
    (budget.class === undefined || budget.class === ofClass) &&
    (budget.tenant === undefined || budget.tenant === tenant)
  );
}

/** When a budget has room again. */
export function windowEnd(budget: UsageBudget, now: UnixMs): UnixMs {
  return unixMs(windowStart(budget, now) + WINDOW_MS[budget.per]);
}

function windowStart({ per }: UsageBudget, now: UnixMs): number {
  return Math.floor(now / WINDOW_MS[per]) * WINDOW_MS[per];
}

function paceOf(budget: UsageBudget, energyJ: number, now: UnixMs): number {
  return (energyJ * (now - windowStart(budget, now))) / WINDOW_MS[budget.per];
}
