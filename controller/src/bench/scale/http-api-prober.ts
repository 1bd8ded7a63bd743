import { type Distribution, distributionOf } from '../distribution.js';

const PAUSE_MS = 20;

/** Asks one question after another, as a dashboard and a client do, and times each answer until it is read whole. */
export class ApiProber {
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #paths: readonly string[];
  #answers: number[] = [];
  #failures = 0;
  #stopped = false;
  readonly #done: Promise<void>;

  constructor(url: string, key: string | undefined, paths: readonly string[]) {
    this.#url = url;
    this.#headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
    this.#paths = paths;
    this.#done = this.#run();
  }

  /** Of the milliseconds of all answers, and how many questions got none or a refusal. */
  async stop(): Promise<{ readonly ms: Distribution; readonly failures: number }> {
    this.#stopped = true;
    await this.#done;
    return { ms: distributionOf(this.#answers), failures: this.#failures };
  }

  async #run(): Promise<void> {
    for (let at = 0; !this.#stopped; at++) {
      const began = performance.now();
      try {
        const response = await fetch(this.#url + this.#paths[at % this.#paths.length], {
          headers: this.#headers,
          signal: AbortSignal.timeout(30_000),
        });
        await response.text();
        if (!response.ok) this.#failures += 1;
        this.#answers.push(performance.now() - began);
      } catch {
        this.#failures += 1;
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
