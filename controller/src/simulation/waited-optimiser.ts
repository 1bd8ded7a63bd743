import type { ExplanationQuestion, OptimiserQuestion, PlacementOptimiser } from '../planning/placement-optimiser.js';

/** An optimiser that says whether it is solving: simulated time stands still meanwhile. */
export class WaitedOptimiser implements PlacementOptimiser {
  readonly #optimiser: PlacementOptimiser;
  #busy = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(optimiser: PlacementOptimiser) {
    this.#optimiser = optimiser;
  }

  get isBusy(): boolean {
    return this.#busy > 0;
  }

  /** Resolves when the newest question is answered and whoever asked has taken the answer up. */
  async rest(): Promise<void> {
    await this.#last.catch(() => {});
    await new Promise((resolve) => setImmediate(resolve));
  }

  ask(question: OptimiserQuestion): ReturnType<PlacementOptimiser['ask']> {
    return this.#counted(this.#optimiser.ask(question));
  }

  explain(question: ExplanationQuestion): ReturnType<PlacementOptimiser['explain']> {
    return this.#counted(this.#optimiser.explain(question));
  }

  close(): Promise<void> {
    return this.#optimiser.close();
  }

  #counted<T>(answer: Promise<T>): Promise<T> {
    this.#busy += 1;
    const counted = answer.finally(() => {
      this.#busy -= 1;
    });
    this.#last = counted;
    return counted;
  }
}
