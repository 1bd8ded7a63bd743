import { joules, milliseconds } from '@fleetgate/shared/units/quantity';

import type { CostEstimate, CostProfile, Workload } from './cost.js';
import { relativeSdOf, valueOf } from './cost-model-figure.js';
import type { CostFigures } from './cost-model-prior.js';

/** Figures out of their logarithms. Energy is power times time; an overhead takes none above idle. */
export class FigureProfile implements CostProfile {
  readonly baseMs: number;
  readonly promptMs: number;
  readonly outputMs: number;
  readonly baseJ = 0;
  readonly promptJ: number;
  readonly outputJ: number;
  /** Relative standard deviations, of energy those of time and power together. */
  readonly #sd: { readonly base: number; readonly prompt: number; readonly output: number };
  readonly #energySd: { readonly prompt: number; readonly output: number };
  readonly #basis: CostEstimate['basis'];

  constructor(figures: CostFigures, basis: CostEstimate['basis']) {
    this.#sd = {
      base: relativeSdOf(figures.overheadMs),
      prompt: relativeSdOf(figures.prefillMs),
      output: relativeSdOf(figures.decodeMs),
    };
    this.#energySd = {
      prompt: norm(this.#sd.prompt, relativeSdOf(figures.prefillW)),
      output: norm(this.#sd.output, relativeSdOf(figures.decodeW)),
    };
    this.#basis = basis;
    this.baseMs = valueOf(figures.overheadMs);
    this.promptMs = valueOf(figures.prefillMs);
    this.outputMs = valueOf(figures.decodeMs);
    this.promptJ = (this.promptMs * valueOf(figures.prefillW)) / 1000;
    this.outputJ = (this.outputMs * valueOf(figures.decodeW)) / 1000;
  }

  estimate(workload: Workload): CostEstimate {
    const promptTokens = Math.max(0, workload.promptTokens);
    const outputTokens = Math.max(0, workload.outputTokens);
    const promptMs = this.promptMs * promptTokens;
    const outputMs = this.outputMs * outputTokens;
    const promptJ = this.promptJ * promptTokens;
    const outputJ = this.outputJ * outputTokens;
    return {
      latency: milliseconds(this.baseMs + promptMs + outputMs),
      latencySd: milliseconds(
        norm(this.baseMs * this.#sd.base, promptMs * this.#sd.prompt, outputMs * this.#sd.output),
      ),
      firstToken: milliseconds(this.baseMs + promptMs + (outputTokens > 0 ? this.outputMs : 0)),
      energy: joules(promptJ + outputJ),
      energySd: joules(norm(promptJ * this.#energySd.prompt, outputJ * this.#energySd.output)),
      basis: this.#basis,
    };
  }
}

/** The spread of a sum of independent parts. */
const norm = (a: number, b: number, c = 0): number => Math.sqrt(a * a + b * b + c * c);
