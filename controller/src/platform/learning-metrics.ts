import { Gauge, type Registry } from 'prom-client';

/** What has been learned from use, at the time of a scrape. */
export interface LearningFigures {
  readonly version: number;
  /** Observations in the window by source. */
  readonly evidence: Readonly<Record<string, number>>;
  /** Error on held-back observations; undefined while there are none. */
  readonly errorWith: number | undefined;
  readonly errorWithout: number | undefined;
  /** Share of the quality that exploring may have cost. */
  readonly explorationSpent: number;
  readonly explored: number;
  /** Largest bias that balancing has in use, in quality. */
  readonly largestBias: number;
  /** Experts by state: enrolling, probation, serving. */
  readonly experts: Readonly<Record<string, number>>;
}

/** Gauges of what the gate learns. */
export class LearningMetrics {
  readonly #version: Gauge;
  readonly #evidence: Gauge<'source'>;
  readonly #error: Gauge<'gate'>;
  readonly #spent: Gauge;
  readonly #explored: Gauge;
  readonly #bias: Gauge;
  readonly #experts: Gauge<'state'>;

  constructor(registry: Registry) {
    const registers = [registry];
    const gauge = (name: string, help: string): Gauge => new Gauge({ name: `fleetgate_${name}`, help, registers });
    this.#version = gauge('gate_adaptation_version', 'Version of the corrections of the gate that are in use.');
    this.#spent = gauge('gate_exploration_spent_ratio', 'Share of the quality that exploring may have cost.');
    this.#explored = gauge('gate_explored_requests', 'Requests that were explored with.');
    this.#bias = gauge('gate_largest_bias', 'Largest bias of load balancing, in quality.');
    this.#evidence = new Gauge({
      name: 'fleetgate_gate_evidence',
      help: 'Observations that are learned from, by source.',
      labelNames: ['source'],
      registers,
    });
    this.#error = new Gauge({
      name: 'fleetgate_gate_held_back_error',
      help: 'Error on observations that are never fitted: corrected, and of the trained gate alone.',
      labelNames: ['gate'],
      registers,
    });
    this.#experts = new Gauge({
      name: 'fleetgate_experts',
      help: 'Experts by what auto may do with them: enrolling, probation, serving.',
      labelNames: ['state'],
      registers,
    });
  }

  show(figures: LearningFigures): void {
    this.#version.set(figures.version);
    this.#spent.set(figures.explorationSpent);
    this.#explored.set(figures.explored);
    this.#bias.set(figures.largestBias);
    for (const [source, count] of Object.entries(figures.evidence)) this.#evidence.set({ source }, count);
    this.#error.reset();
    if (figures.errorWith !== undefined) this.#error.set({ gate: 'corrected' }, figures.errorWith);
    if (figures.errorWithout !== undefined) this.#error.set({ gate: 'trained' }, figures.errorWithout);
    for (const [state, count] of Object.entries(figures.experts)) this.#experts.set({ state }, count);
  }
}
