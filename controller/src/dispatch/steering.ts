import type { ClassId, ExpertId } from '@fleetgate/shared/ids';
import type { Random } from '@fleetgate/shared/random';
import { z } from 'zod';

import { type Balance, balanced, biasOf, type PlannedShares } from './balance.js';
import { type ExplorationAccount, explore, NOTHING_EXPLORED } from './explore.js';
import type { Selection } from './select.js';

const NO_SHARES: PlannedShares = new Map();

/** What is kept of exploring over a restart: without it the bound would begin anew, and be none. */
export const explorationSchema = z.object({
  requests: z.number().int().nonnegative(),
  earned: z.number().nonnegative(),
  explored: z.number().int().nonnegative(),
  charged: z.number().nonnegative(),
});

export interface SteeringParts {
  readonly random: Random;
  /** Experts that `auto` may not choose yet. */
  readonly onTrial: () => ReadonlySet<ExpertId>;
  /** Those of them that may be explored with. */
  readonly onProbation: () => ReadonlySet<ExpertId>;
  /** Called after every change. */
  readonly keep: (account: ExplorationAccount) => void;
}

/**
 * How `auto` differs from taking the highest predicted value: it learns of new experts by asking them, within a bound, and
 * leans against experts that get more than the plan's share. The only writer of both accounts.
 */
export class Steering {
  readonly #parts: SteeringParts;
  #account: ExplorationAccount;
  #balance: Balance = new Map();

  constructor(parts: SteeringParts, account: ExplorationAccount = NOTHING_EXPLORED) {
    this.#parts = parts;
    this.#account = account;
  }

  get account(): ExplorationAccount {
    return this.#account;
  }

  get balance(): Balance {
    return this.#balance;
  }

  onTrial(): ReadonlySet<ExpertId> {
    return this.#parts.onTrial();
  }

  biasOf(classId: ClassId, expert: ExpertId): number {
    return biasOf(this.#balance, classId, expert);
  }

  /** The selection that a request is sent by; counts it. */
  settle(selection: Selection, classId: ClassId, planned: PlannedShares = NO_SHARES): Selection {
    const { keep, onProbation, random } = this.#parts;
    const probation = onProbation();
    const explored = explore(selection, this.#account, (expert) => probation.has(expert), random);
    this.#account = explored.account;
    keep(explored.account);
    const expert = explored.selection.chosen?.candidate.expertId;
    // What is asked only to learn of it says nothing of how the gate shares requests out.
    const counts = expert !== undefined && explored.selection.exploring === undefined;
    if (counts) this.#balance = balanced(this.#balance, classId, expert, planned);
    return explored.selection;
  }
}
