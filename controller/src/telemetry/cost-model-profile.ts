import { type Joules, joules, type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import type { CostEstimate, CostProfile, Workload } from './cost.js';
import { type LogFigure, relativeSdOf, valueOf } from './cost-model-figure.js';
import type { CostFigures } from './cost-model-prior.js';

/** A figure out of its logarithm: value and relative standard deviation. */
interface Plain {
  readonly value: number;
  readonly relativeSd: number;
}

/** Figures as costs: time is overhead and so much a token, energy is power times the time of its part. */
export class FigureProfile implements CostProfile {
  readonly #overheadMs: Plain;
  readonly #prefillMs: Plain;
  readonly #decodeMs: Plain;
  readonly #prefillW: Plain;
  readonly #decodeW: Plain;
  readonly #basis: CostEstimate['basis'];

  constructor(figures: CostFigures, basis: CostEstimate['basis']) {
    this.#overheadMs = plain(figures.overheadMs);
    this.#prefillMs = plain(figures.prefillMs);
    this.#decodeMs = plain(figures.decodeMs);
    this.#prefillW = plain(figures.prefillW);
    this.#decodeW = plain(figures.decodeW);
    this.#basis = basis;
  }

  latency(workload: Workload): Milliseconds {
    return milliseconds(this.#overheadMs.value + this.#prefill(workload) + this.#decode(workload));
  }

  energy(workload: Workload): Joules {
    const prefillJ = (this.#prefill(workload) * this.#prefillW.value) / 1000;
    return joules(prefillJ + (this.#decode(workload) * this.#decodeW.value) / 1000);
  }

  estimate(workload: Workload): CostEstimate {
    const [overheadMs, prefillMs, decodeMs] = [this.#overheadMs.value, this.#prefill(workload), this.#decode(workload)];
    const prefillSdMs = prefillMs * this.#prefillMs.relativeSd;
    const decodeSdMs = decodeMs * this.#decodeMs.relativeSd;
    const prefillJ = (prefillMs * this.#prefillW.value) / 1000;
    const decodeJ = (decodeMs * this.#decodeW.value) / 1000;
    const prefillSdJ = prefillJ * norm(this.#prefillMs.relativeSd, this.#prefillW.relativeSd);
    const decodeSdJ = decodeJ * norm(this.#decodeMs.relativeSd, this.#decodeW.relativeSd);
    const firstMs = workload.outputTokens > 0 ? this.#decodeMs.value : 0;
    return {
      latency: this.latency(workload),
      latencySd: milliseconds(norm(overheadMs * this.#overheadMs.relativeSd, prefillSdMs, decodeSdMs)),
      firstToken: milliseconds(overheadMs + prefillMs + firstMs),
      energy: this.energy(workload),
      energySd: joules(norm(prefillSdJ, decodeSdJ)),
      basis: this.#basis,
    };
  }

  #prefill({ promptTokens }: Workload): number {
    return this.#prefillMs.value * Math.max(0, promptTokens);
  }

  #decode({ outputTokens }: Workload): number {
    return this.#decodeMs.value * Math.max(0, outputTokens);
  }
}

const plain = (figure: LogFigure): Plain => ({ value: valueOf(figure), relativeSd: relativeSdOf(figure) });

/** The spread of a sum of independent parts. */
const norm = (a: number, b: number, c = 0): number => Math.sqrt(a * a + b * b + c * c);
