import type { EntityManager } from 'typeorm';
import { BehaviorSubject, type Observable } from 'rxjs';

import type { Database } from './database.js';

/** Which of several controllers does what only one may do: planning, rollout, trials, batches, expiry. */
export interface Leadership {
  /**
   * The number of this controller's term while it leads; undefined while another does, or nobody. Emits the present state on
   * subscription. A later term has a greater number, whoever leads in it.
   */
  readonly term$: Observable<number | undefined>;
  /**
   * As `Database.write`, but what is written holds only if this controller leads when it is committed: `leader.fenced`
   * otherwise, and nothing is changed. A controller that stood still for a while does not undo what its successor did.
   */
  write<T>(work: (manager: EntityManager) => Promise<T>): Promise<T>;
  /** Begins to ask for it. */
  start(): void;
  /** Gives it up at once, so that another can lead. */
  close(): Promise<void>;
}

/** Of the one controller that there is. */
export function alone(database: Database): Leadership {
  return {
    term$: new BehaviorSubject<number | undefined>(1),
    write: (work) => database.write(work),
    start: () => {},
    close: () => Promise.resolve(),
  };
}
