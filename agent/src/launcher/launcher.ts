import type { Clock } from '@fleetgate/shared/clock';
import type { Logger } from '@fleetgate/shared/logger';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import type { ToLauncher } from './launch-messages.js';
import { giveUp, type LaunchState, onOffer, onProven, onStart, onStopped, type Program } from './launch-state.js';

/** A program that runs. */
export interface RunningProgram {
  /** Resolves with its exit status once it has ended; undefined: ended by a signal. */
  readonly ended: Promise<number | undefined>;
  /** Tells it the launcher's state. */
  tell(state: LaunchState): void;
  /** Asks it to end, and ends it should it take too long. */
  stop(): void;
}

export interface LauncherPorts {
  read(): LaunchState;
  /** Durably. */
  keep(state: LaunchState): void;
  clean(state: LaunchState): void;
  /** Starts a program; undefined: the installed one. */
  start(program: Program | undefined, onMessage: (message: ToLauncher) => void): RunningProgram;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface TrialTimes {
  /** Within it a program on trial has to say that it does well. */
  readonly deadline: Milliseconds;
  /** For so long it has to go on after that. */
  readonly survival: Milliseconds;
}

export const TRIAL_TIMES: TrialTimes = { deadline: milliseconds(600_000), survival: milliseconds(300_000) };

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 60_000;
/** Exit status of a program that was given options it does not know: starting it again changes nothing. */
const BAD_USAGE = 2;

/**
 * Runs one program after the other until it is told to stop: a new one when it is offered, the one before when that does
 * badly. Single writer of the launcher's state. Times are measured while it runs, so that no clock that jumps matters.
 */
export class Launcher {
  readonly #ports: LauncherPorts;
  readonly #times: TrialTimes;
  #state: LaunchState;
  #running: RunningProgram | undefined;
  #cancelTimer = (): void => {};
  #endWait = (): void => {};
  #surviving = false;
  #replaced = false;
  #stopped = false;
  #endsInARow = 0;

  constructor(ports: LauncherPorts, times: TrialTimes = TRIAL_TIMES) {
    this.#ports = ports;
    this.#times = times;
    this.#state = ports.read();
  }

  /** Resolves with an exit status once stopped, or when the installed program refuses its options. */
  async run(): Promise<number> {
    while (!this.#stopped) {
      const status = await this.#runOnce();
      if (this.#stopped) break;
      if (status === BAD_USAGE && this.#state.stack.length === 0) return BAD_USAGE;
      if (this.#replaced) continue;
      await this.#wait();
    }
    this.#change(onStopped(this.#state));
    return 0;
  }

  stop(): void {
    this.#stopped = true;
    this.#running?.stop();
    this.#endWait();
  }

  async #runOnce(): Promise<number | undefined> {
    const { log } = this.#ports;
    this.#replaced = false;
    this.#change(onStart(this.#state));
    this.#ports.clean(this.#state);
    const program = this.#state.stack[0];
    log.info('launcher.started', this.#about());
    const running = this.#ports.start(program, (message) => this.#onMessage(message, running));
    this.#running = running;
    running.tell(this.#state);
    if (this.#state.onTrial) this.#giveUpAfter(this.#times.deadline);
    const status = await running.ended;
    this.#running = undefined;
    this.#cancelTimer();
    log.info('launcher.ended', { ...this.#about(), status: status ?? null });
    return status;
  }

  #onMessage(message: ToLauncher, from: RunningProgram): void {
    if (from !== this.#running || this.#replaced) return;
    if (message.kind === 'agent-offer') this.#replace(onOffer(this.#state, message.program));
    else this.#onHealthy();
  }

  #onHealthy(): void {
    this.#endsInARow = 0;
    const { onTrial, starts } = this.#state;
    if (!onTrial) {
      if (starts > 0) this.#change(onProven(this.#state));
      return;
    }
    if (this.#surviving) return;
    this.#surviving = true;
    this.#after(this.#times.survival, () => {
      this.#ports.log.info('launcher.proven', this.#about());
      this.#change(onProven(this.#state));
    });
  }

  #giveUpAfter(deadline: Milliseconds): void {
    this.#surviving = false;
    this.#after(deadline, () => this.#replace(giveUp(this.#state, `did not do well within ${deadline} ms`)));
  }

  /** Ends what runs so that the first of `state` is started in its place. */
  #replace(state: LaunchState): void {
    if (state === this.#state) return;
    this.#change(state);
    this.#replaced = true;
    this.#running?.stop();
  }

  #change(state: LaunchState): void {
    if (state === this.#state) return;
    const given = state.failed.at(-1);
    if (given !== undefined && given !== this.#state.failed.at(-1)) {
      const { name, sequence, reason } = given;
      this.#ports.log.error('launcher.gave-up', { name, sequence, reason });
    }
    this.#state = state;
    this.#ports.keep(state);
    this.#running?.tell(state);
  }

  #after(delay: Milliseconds, run: () => void): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#ports.clock.after(delay, run);
  }

  #wait(): Promise<void> {
    const waitMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(this.#endsInARow++, 10));
    return new Promise((resolve) => {
      const cancel = this.#ports.clock.after(milliseconds(waitMs), resolve);
      this.#endWait = () => (cancel(), resolve());
    });
  }

  #about(): Readonly<Record<string, unknown>> {
    const { stack, onTrial, starts } = this.#state;
    return { sequence: stack[0]?.sequence ?? null, onTrial, starts };
  }
}
