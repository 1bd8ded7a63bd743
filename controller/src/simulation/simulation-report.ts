import type { RequestView } from '@fleetgate/shared/api/operations';

/** What came of one run; energies in joules, times in ms of simulated time, qualities 0..1. */
export interface SimulationReport {
  readonly policy: string;
  readonly seconds: number;
  /** Simulated over real time, planning included. */
  readonly speed: number;
  readonly requests: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly refused: number;
  readonly cancelled: number;
  /** Requests without a terminal state at the end: always 0, or something is wrong. */
  readonly lost: number;
  /** Mean of the real quality over all requests; what was not answered counts 0. */
  readonly quality: number;
  readonly qualityOfAnswers: number;
  readonly latencyMs: { readonly mean: number; readonly p50: number; readonly p95: number; readonly p99: number };
  readonly firstTokenMs: { readonly mean: number; readonly p95: number };
  /** Share of answers within the bound on the class's mean latency, and mean latency over it. */
  readonly withinBound: number;
  readonly meanOverBound: number;
  readonly energyJ: { readonly requests: number; readonly total: number };
  readonly meanW: number;
  /** Mean power of the requests alone, above idling. */
  readonly requestW: number;
  /** Power budget: watts, and joules above it, summed over minutes, and as a share of it; null without one. */
  readonly budget: {
    readonly powerW: number;
    readonly violationJ: number;
    readonly violationRatio: number;
    /** Mean over the whole run against the budget, -0.02 for 2 % below. */
    readonly meanOver: number;
  } | null;
  readonly retried: number;
  readonly takenOver: number;
  readonly plans: number;
  /** Answers by expert. */
  readonly byExpert: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
}

/** Adds up requests as they end. */
export class ReportBuilder {
  readonly #latencies: number[] = [];
  readonly #firstTokens: number[] = [];
  readonly #byExpert = new Map<string, number>();
  readonly #errors = new Map<string, number>();
  readonly #states = { succeeded: 0, failed: 0, refused: 0, cancelled: 0 };
  readonly #boundMs: number;
  #quality = 0;
  #within = 0;
  #energyJ = 0;

  constructor(boundMs: number) {
    this.#boundMs = boundMs;
  }

  get ended(): number {
    const { cancelled, failed, refused, succeeded } = this.#states;
    return succeeded + failed + refused + cancelled;
  }

  get requestJ(): number {
    return this.#energyJ;
  }

  /** `quality`: what the answer was really worth. */
  add(record: RequestView, quality: number): void {
    const { actual, error, expertId, state } = record;
    if (state === 'queued' || state === 'running') return;
    this.#states[state] += 1;
    this.#energyJ += actual?.energyJ ?? 0;
    if (error !== null) this.#errors.set(error.code, (this.#errors.get(error.code) ?? 0) + 1);
    if (state !== 'succeeded' || actual === null) return;
    this.#quality += quality;
    this.#latencies.push(actual.latencyMs);
    if (actual.ttftMs !== null) this.#firstTokens.push(actual.ttftMs);
    if (actual.latencyMs <= this.#boundMs) this.#within += 1;
    this.#byExpert.set(expertId ?? '', (this.#byExpert.get(expertId ?? '') ?? 0) + 1);
  }

  build(
    rest: Pick<
      SimulationReport,
      'policy' | 'seconds' | 'speed' | 'requests' | 'retried' | 'takenOver' | 'plans' | 'budget'
    > & { readonly totalJ: number },
  ): SimulationReport {
    const { totalJ, ...told } = rest;
    const latencies = this.#latencies.toSorted((a, b) => a - b);
    const firstTokens = this.#firstTokens.toSorted((a, b) => a - b);
    const succeeded = Math.max(1, this.#states.succeeded);
    return {
      ...told,
      ...this.#states,
      lost: told.requests - this.ended,
      quality: this.#quality / Math.max(1, told.requests),
      qualityOfAnswers: this.#quality / succeeded,
      latencyMs: {
        mean: mean(latencies),
        p50: quantile(latencies, 0.5),
        p95: quantile(latencies, 0.95),
        p99: quantile(latencies, 0.99),
      },
      firstTokenMs: { mean: mean(firstTokens), p95: quantile(firstTokens, 0.95) },
      withinBound: this.#within / succeeded,
      meanOverBound: mean(latencies) / this.#boundMs,
      energyJ: { requests: this.#energyJ, total: totalJ },
      meanW: totalJ / told.seconds,
      requestW: this.#energyJ / told.seconds,
      byExpert: Object.fromEntries([...this.#byExpert].sort(([, a], [, b]) => b - a)),
      errors: Object.fromEntries(this.#errors),
    };
  }
}

const mean = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;

/** `sorted` ascending; 0 for none. */
const quantile = (sorted: readonly number[], p: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))] ?? 0;
