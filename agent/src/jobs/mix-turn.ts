import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { MIX_SILENCE_MS } from '@fleetgate/shared/protocol/job';
import { milliseconds } from '@fleetgate/shared/units/quantity';

interface Waiting {
  readonly step: number;
  readonly resolve: (token: number) => void;
  readonly stopTimer: () => void;
}

/** The step of a mixed answer that waits for its token, one at a time. */
export class MixTurn {
  readonly #clock: Clock;
  #waiting: Waiting | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves with the token chosen for `step`; rejects with `job.expired` when none comes for a while. */
  wait(step: number): Promise<number> {
    this.end();
    return new Promise((resolve, reject) => {
      const stopTimer = this.#clock.after(milliseconds(MIX_SILENCE_MS), () => {
        this.#waiting = undefined;
        const what = `no token was chosen for step ${step} within ${MIX_SILENCE_MS} ms`;
        reject(new FleetError('job.expired', what, { retryable: false }));
      });
      this.#waiting = { step, resolve, stopTimer };
    });
  }

  /** True when `step` waited for it. A repeated token, one of another step and one that comes too late change nothing. */
  take(step: number, token: number): boolean {
    const waiting = this.#waiting;
    if (waiting?.step !== step) return false;
    this.end();
    waiting.resolve(token);
    return true;
  }

  /** Nothing is waited for any more; what waited never settles. */
  end(): void {
    this.#waiting?.stopTimer();
    this.#waiting = undefined;
  }
}
