import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

import { type DispatchFigures, DispatchMetrics } from './dispatch-metrics.js';
import { type LearningFigures, LearningMetrics } from './learning-metrics.js';
import { type EndedRequest, type ExpertLoad, GenAiMetrics, type TokenUse, VllmMetrics } from './serving-metrics.js';

/** A device as it is at the time of a scrape, in base units; what is not known is left out. */
export interface DeviceFigures {
  readonly device: string;
  readonly online: boolean;
  readonly powerW: number | undefined;
  readonly temperatureC: number | undefined;
  readonly memoryUsedBytes: number | undefined;
  readonly memoryBudgetBytes: number | undefined;
  readonly residentVariants: number;
}

/** What a scrape sees besides counters. */
export interface FleetFigures {
  readonly devices: readonly DeviceFigures[];
  readonly brokerConnected: boolean;
  readonly liveFeedClients: number;
  /** 0..1000 of the active plan. */
  readonly planObjective: number | undefined;
  /** Every expert counts by what it does in general, whatever the prompt. */
  readonly gateDegraded: boolean;
  /** Undefined while the controller starts. */
  readonly learning: LearningFigures | undefined;
  /** Undefined while the controller starts. */
  readonly dispatch: DispatchFigures | undefined;
  readonly loads: ReadonlyMap<string, ExpertLoad>;
}

const LATENCY_BUCKETS_S = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/**
 * Every metric of the controller, for Prometheus: prefix `fleetgate_`, base units, and few labels (device, expert); and the
 * same requests under the names of vLLM and OpenTelemetry. Milliseconds become seconds in its callers' hand-over only.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #messages: Counter<'channel' | 'reason'>;
  readonly #requests: Counter<'state' | 'expert'>;
  readonly #durations: Histogram<'expert'>;
  readonly #firstTokens: Histogram<'expert'>;
  readonly #energy: Counter<'device' | 'expert' | 'source'>;
  readonly #tokens: Counter<'device' | 'expert' | 'type'>;
  readonly #plans: Counter<'status'>;
  readonly #gauges: Readonly<Record<string, Gauge<'device'>>>;
  readonly #brokerConnected: Gauge;
  readonly #liveFeedClients: Gauge;
  readonly #planObjective: Gauge;
  readonly #gateDegraded: Gauge;
  readonly #abstained: Counter;
  readonly #learning: LearningMetrics;
  readonly #dispatch: DispatchMetrics;
  readonly #vllm: VllmMetrics;
  readonly #genAi: GenAiMetrics;
  readonly #figures: () => FleetFigures;

  constructor(figures: () => FleetFigures) {
    this.#figures = figures;
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry, prefix: 'fleetgate_' });
    this.#messages = new Counter({
      name: 'fleetgate_device_messages_total',
      help: 'Messages of devices by channel and by what became of them: ok, or an error code.',
      labelNames: ['channel', 'reason'],
      registers,
    });
    this.#requests = new Counter({
      name: 'fleetgate_requests_total',
      help: 'Requests that ended, by terminal state and expert.',
      labelNames: ['state', 'expert'],
      registers,
    });
    this.#durations = new Histogram({
      name: 'fleetgate_request_duration_seconds',
      help: 'Time from arrival to end of succeeded requests.',
      labelNames: ['expert'],
      buckets: LATENCY_BUCKETS_S,
      registers,
    });
    this.#firstTokens = new Histogram({
      name: 'fleetgate_time_to_first_token_seconds',
      help: 'Time from arrival to the first token of succeeded requests.',
      labelNames: ['expert'],
      buckets: LATENCY_BUCKETS_S,
      registers,
    });
    this.#energy = new Counter({
      name: 'fleetgate_request_energy_joules_total',
      help: 'Energy above idle that requests used, by whether it was measured or modelled.',
      labelNames: ['device', 'expert', 'source'],
      registers,
    });
    this.#tokens = new Counter({
      name: 'fleetgate_tokens_total',
      help: 'Tokens read (input) and generated (output).',
      labelNames: ['device', 'expert', 'type'],
      registers,
    });
    this.#plans = new Counter({
      name: 'fleetgate_plans_total',
      help: 'Plans that became active, by solver status.',
      labelNames: ['status'],
      registers,
    });
    const deviceGauge = (name: string, help: string): Gauge<'device'> =>
      new Gauge({ name: `fleetgate_device_${name}`, help, labelNames: ['device'], registers });
    this.#gauges = {
      online: deviceGauge('online', '1 while the device is online.'),
      powerW: deviceGauge('power_watts', 'Power of the whole board, measured or modelled.'),
      temperatureC: deviceGauge('temperature_celsius', 'Temperature of the board.'),
      memoryUsedBytes: deviceGauge('memory_used_bytes', 'Memory that resident variants use.'),
      memoryBudgetBytes: deviceGauge('memory_budget_bytes', 'Memory that variants may use.'),
      residentVariants: deviceGauge('resident_variants', 'Variants that are resident.'),
    };
    this.#brokerConnected = new Gauge({
      name: 'fleetgate_broker_connected',
      help: '1 while the controller is connected to the broker.',
      registers,
    });
    this.#liveFeedClients = new Gauge({
      name: 'fleetgate_live_feed_clients',
      help: 'Clients of the live feed.',
      registers,
    });
    this.#planObjective = new Gauge({
      name: 'fleetgate_plan_objective',
      help: 'Objective of the active plan, 0 to 1000.',
      registers,
    });
    this.#gateDegraded = new Gauge({
      name: 'fleetgate_gate_degraded',
      help: '1 while experts are compared by what they are in general, whatever the prompt.',
      registers,
    });
    this.#learning = new LearningMetrics(this.#registry);
    this.#dispatch = new DispatchMetrics(this.#registry);
    this.#vllm = new VllmMetrics(this.#registry);
    this.#genAi = new GenAiMetrics(this.#registry);
    this.#abstained = new Counter({
      name: 'fleetgate_gate_abstained_total',
      help: 'Requests whose prompts the gate made no prediction for.',
      registers,
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  countMessage(channel: string, reason: string): void {
    this.#messages.inc({ channel, reason });
  }

  countPlan(status: string): void {
    this.#plans.inc({ status });
  }

  /**
   * One request that ended, or a call of one. What several experts have used together counts with their calls, who
   * answered the request with the request.
   */
  observe(request: EndedRequest): void {
    const { role, state, use } = request;
    if (request.abstained) this.#abstained.inc();
    if (use !== undefined && role !== 'joint') this.#observeUse(request, use);
    if (role !== 'call') {
      const expert = request.expert ?? '';
      this.#requests.inc({ state, expert });
      if (state === 'succeeded') {
        this.#durations.observe({ expert }, request.durationS);
        if (request.firstTokenS !== undefined) this.#firstTokens.observe({ expert }, request.firstTokenS);
      }
    }
    this.#vllm.observe(request);
    this.#genAi.observe(request);
  }

  #observeUse({ expert = '', device = '' }: EndedRequest, use: TokenUse): void {
    this.#energy.inc({ device, expert, source: use.energySource }, use.energyJ);
    this.#tokens.inc({ device, expert, type: 'input' }, use.promptTokens);
    this.#tokens.inc({ device, expert, type: 'output' }, use.outputTokens);
  }

  /** The text that Prometheus reads. */
  async render(): Promise<string> {
    const figures = this.#figures();
    const { devices, brokerConnected, liveFeedClients, learning, dispatch, planObjective, gateDegraded } = figures;
    // Removed devices must not linger with their last values.
    for (const gauge of Object.values(this.#gauges)) gauge.reset();
    for (const one of devices) {
      for (const [name, gauge] of Object.entries(this.#gauges)) {
        const value = one[name as keyof DeviceFigures];
        if (value !== undefined) gauge.set({ device: one.device }, Number(value));
      }
    }
    this.#brokerConnected.set(brokerConnected ? 1 : 0);
    this.#liveFeedClients.set(liveFeedClients);
    this.#gateDegraded.set(gateDegraded ? 1 : 0);
    if (learning !== undefined) this.#learning.show(learning);
    if (dispatch !== undefined) this.#dispatch.show(dispatch);
    this.#vllm.show(figures.loads);
    if (planObjective !== undefined) this.#planObjective.set(planObjective);
    return this.#registry.metrics();
  }
}
