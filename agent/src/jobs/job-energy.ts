import type { PowerSource } from '@fleetgate/shared/protocol/twin';
import { type Joules, joules } from '@fleetgate/shared/units/quantity';

export interface UsedEnergy {
  readonly energy: Joules;
  readonly source: PowerSource;
}

/** Accounts for the energy above idle of whatever uses the engine between `start` and `stop`. */
export interface JobEnergy {
  start(id: string): void;
  stop(id: string): UsedEnergy;
}

/** Energy of one job over all the pieces of time in which it uses the engine. */
export class EnergyAccount {
  readonly #meter: JobEnergy;
  readonly #id: string;
  #running = false;
  #spent: UsedEnergy | undefined;

  constructor(meter: JobEnergy, id: string) {
    this.#meter = meter;
    this.#id = id;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#meter.start(this.#id);
  }

  pause(): void {
    if (!this.#running) return;
    this.#running = false;
    const { energy, source } = this.#meter.stop(this.#id);
    const before = this.#spent ?? { energy: joules(0), source };
    const measured = before.source === 'measured' && source === 'measured';
    this.#spent = { energy: joules(before.energy + energy), source: measured ? 'measured' : 'modelled' };
  }

  /** Ends the present piece; what all of them took. `measured` only when all of them were. */
  total(): UsedEnergy {
    this.pause();
    return this.#spent ?? { energy: joules(0), source: 'modelled' };
  }
}
