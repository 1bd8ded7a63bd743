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
  readonly #figures: CostFigures;
  readonly #basis: CostEstimate['basis'];

  constructor(figures: CostFigures, basis: CostEstimate['basis']) {
    this.#figures = figures;
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
    const [prefillMs, decodeMs] = [this.promptMs * promptTokens, this.outputMs * outputTokens];
    const [prefillJ, decodeJ] = [this.promptJ * promptTokens, this.outputJ * outputTokens];
    const base = relativeSdOf(this.#figures.overheadMs);
    const [prefill, decode] = [relativeSdOf(this.#figures.prefillMs), relativeSdOf(this.#figures.decodeMs)];
    const prefillSdJ = prefillJ * norm(prefill, relativeSdOf(this.#figures.prefillW));
    const decodeSdJ = decodeJ * norm(decode, relativeSdOf(this.#figures.decodeW));
    return {
      latency: milliseconds(this.baseMs + prefillMs + decodeMs),
      latencySd: milliseconds(norm(this.baseMs * base, prefillMs * prefill, decodeMs * decode)),
      firstToken: milliseconds(this.baseMs + prefillMs + (outputTokens > 0 ? this.outputMs : 0)),
      energy: joules(prefillJ + decodeJ),
      energySd: joules(norm(prefillSdJ, decodeSdJ)),
      basis: this.#basis,
    };
  }
}

/** The spread of a sum of independent parts. */
const norm = (a: number, b: number, c = 0): number => Math.sqrt(a * a + b * b + c * c);
