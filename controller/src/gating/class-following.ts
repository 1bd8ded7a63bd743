import type { Clock } from '@fleetgate/shared/clock';
import type { Logger } from '@fleetgate/shared/logger';

import type { ClassRecord } from './class-record.js';
import { ClassTracker, type Sighting } from './class-tracker.js';
import type { Gate } from './gate.js';
import { startState } from './tracker-state.js';

export interface ClassFollowingParts {
  /** The trained gate whose classes are followed. */
  readonly gate: () => Gate;
  /** Tells which trained gate that is now. */
  readonly fingerprint: () => string;
  /** What was followed before; of another gate it is forgotten. */
  readonly kept: ClassRecord | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Follows the classes of whichever trained gate is in use: another gate's begin where its training left them. */
export class ClassFollowing {
  readonly #parts: ClassFollowingParts;
  #current: { readonly gate: string; readonly tracker: ClassTracker | undefined } | undefined;

  constructor(parts: ClassFollowingParts) {
    this.#parts = parts;
  }

  /** Undefined while the gate tells nothing of where prompts lie. */
  get tracker(): ClassTracker | undefined {
    const gate = this.#parts.fingerprint();
    if (this.#current?.gate !== gate) this.#current = { gate, tracker: this.#begin(gate) };
    return this.#current.tracker;
  }

  /** One prompt of the traffic, as it was scored. */
  observe(score: Sighting): void {
    this.tracker?.observe(score, this.#parts.clock.now());
  }

  /** Finds, joins and forgets classes; to be called now and then. */
  review(): void {
    const change = this.tracker?.review(this.#parts.clock.now());
    if (change !== undefined) this.#parts.log.info('gate.classes-changed', { ...change });
  }

  /** Undefined while nothing is followed. */
  record(): ClassRecord | undefined {
    const { tracker } = this;
    const gate = this.#current?.gate;
    return tracker === undefined || gate === undefined ? undefined : { gate, state: tracker.state };
  }

  #begin(gate: string): ClassTracker | undefined {
    const { kept, clock } = this.#parts;
    const state = kept?.gate === gate ? kept.state : startState(this.#parts.gate(), clock.now());
    return state === undefined ? undefined : new ClassTracker(state);
  }
}
