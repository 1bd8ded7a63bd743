import type { Budgets } from '@fleetgate/shared/api/operations';

/** Where the budgets rest that the operator has set. */
export interface BudgetStore {
  /** Undefined when none were ever set. */
  load(): Promise<Budgets | undefined>;
  save(budgets: Budgets): Promise<void>;
}

export class MemoryBudgetStore implements BudgetStore {
  #budgets: Budgets | undefined;

  async load(): Promise<Budgets | undefined> {
    return this.#budgets;
  }

  async save(budgets: Budgets): Promise<void> {
    this.#budgets = budgets;
  }
}
