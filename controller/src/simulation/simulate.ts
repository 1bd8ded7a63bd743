/** A simulated fleet on the controller's own code: registry, gate, planner, optimiser, rollout, dispatcher, budget control. */
import type { Budgets } from '@fleetgate/shared/api/operations';
import type { JobId, RequestId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { type Random, SeededRandom } from '@fleetgate/shared/random';
import { after, milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import { merge, NEVER } from 'rxjs';

import { BudgetControl } from '../dispatch/control/budget-control.js';
import { DISPATCH_DEFAULTS } from '../dispatch/dispatch-config.js';
import { Dispatcher } from '../dispatch/dispatcher.js';
import type { Prompt } from '../dispatch/prompt.js';
import { MemoryFleetStore } from '../fleet/fleet-store.js';
import { Fleet } from '../fleet/fleet.js';
import type { Catalogue } from '../catalogue/catalogue.js';
import type { Gate } from '../gating/gate.js';
import type { Outcome } from '../gating/outcomes.js';
import { MemoryBudgetStore } from '../planning/budget-store.js';
import { byPlan } from '../planning/by-plan.js';
import { Demand } from '../planning/demand.js';
import type { PlacementOptimiser } from '../planning/placement-optimiser.js';
import { MemoryPlanStore } from '../planning/plan-store.js';
import { poweredOn } from '../planning/plan-record.js';
import { Planner } from '../planning/planner.js';
import { planPolicy } from '../planning/policy.js';
import { LingeringCopies, withLingering } from '../rollout/lingering-copies.js';
import { DesiredStates } from '../rollout/desired-states.js';
import { CostModel } from '../telemetry/cost-model.js';
import { WorkloadModel } from '../telemetry/workload-model.js';
import { CountingLedger } from './counting-ledger.js';
import { EventClock } from './event-clock.js';
import { startFleet } from './fleet-life.js';
import { type PolicyName, worthOf } from './policies.js';
import type { SimulatedDevice } from './simulated-device.js';
import { type DeviceSpec, makeDevices, type SimulationFaults } from './simulated-fleet.js';
import { SimulatedNetwork } from './simulated-network.js';
import { ReportBuilder, type SimulationReport } from './simulation-report.js';
import type { Arrival, ChurnEvent } from './trace.js';
import { WaitedOptimiser } from './waited-optimiser.js';

const LEASE = milliseconds(15_000);
const POWER_WINDOW = milliseconds(60_000);
/** Of simulated time, between two looks at whether to go on and at the real clock. */
const STEP_MS = 1000;
/** Before the first request: the fleet joins, and a plan is made and loaded. */
const LEAD_IN = milliseconds(60_000);
/** Traffic that the fleet has seen before: so much of the beginning of the trace. */
const HISTORY = milliseconds(300_000);
/** After the last arrival, what is under way has this long to end. */
const LEAD_OUT = milliseconds(DISPATCH_DEFAULTS.requestTimeout + DISPATCH_DEFAULTS.drainTimeout);
/** Filling of a prompt to the length that the trace says; four characters to a token. */
const FILLING = 'lorem ipsum '.repeat(50_000);

export interface SimulationOptions {
  readonly policy: PolicyName;
  readonly devices: readonly DeviceSpec[];
  readonly arrivals: readonly Arrival[];
  readonly churn: readonly ChurnEvent[];
  readonly catalogue: Catalogue;
  readonly gate: Gate;
  /** Prompts that the gate was not trained on, with how good each expert's answer really is. */
  readonly prompts: readonly Outcome[];
  readonly budgets: Budgets;
  readonly faults: SimulationFaults;
  readonly seed: number;
  readonly optimiser: PlacementOptimiser;
  readonly log: Logger;
  /** Real milliseconds; for the speed alone. */
  readonly realMs: () => number;
  /** At most so many times real time; absent: as fast as it goes. */
  readonly speed?: number;
  readonly signal?: AbortSignal;
}

export async function simulate(options: SimulationOptions): Promise<SimulationReport> {
  const began = options.realMs();
  const world = await World.open(options);
  const report = await world.run();
  return { ...report, speed: (1000 * report.seconds) / Math.max(1, options.realMs() - began) };
}

class World {
  readonly #options: SimulationOptions;
  readonly #clock: EventClock;
  readonly #fleet: Fleet;
  readonly #network: SimulatedNetwork;
  readonly #devices: readonly SimulatedDevice[];
  readonly #planner: Planner;
  readonly #lingering: LingeringCopies;
  readonly #rollout: DesiredStates;
  readonly #dispatcher: Dispatcher;
  readonly #optimiser: WaitedOptimiser;
  readonly #work: Map<RequestId, Asked>;
  readonly #builder: ReportBuilder;
  readonly #random: Random;
  /** Makes demand and lengths of answers known, as after minutes of such traffic. */
  readonly #history: () => void;
  #windows: number[] = [];
  #byClass: ReadonlyMap<string, readonly Outcome[]> | undefined;

  private constructor(parts: {
    readonly options: SimulationOptions;
    readonly clock: EventClock;
    readonly fleet: Fleet;
    readonly random: Random;
  }) {
    const { clock, fleet, options, random } = parts;
    const { catalogue, gate, log } = options;
    this.#options = options;
    this.#clock = clock;
    this.#fleet = fleet;
    this.#random = random;
    this.#work = new Map();
    this.#builder = new ReportBuilder(options.budgets.defaultClass.latencyMeanMs);
    this.#optimiser = new WaitedOptimiser(options.optimiser);
    this.#network = new SimulatedNetwork({ clock, random, faults: options.faults, fleet });
    this.#devices = makeDevices(options, clock, random, this.#network, (job) => this.#workOf(job));
    const costs = new CostModel({
      boardOf: () => undefined,
      variantOf: (id) => catalogue.variants.get(id),
      powerOf: (id) => fleet.view.get(id)?.reported?.power,
    });
    fleet.changes$.subscribe(({ event }) => {
      if (event.kind !== 'reported') return;
      for (const measurement of event.reported.measurements) costs.observeMeasurement(event.deviceId, measurement);
    });
    const workloads = new WorkloadModel();
    const demand = new Demand();
    this.#history = () => this.#rehearse(demand, workloads);
    const planning = { fleet, catalogue: () => catalogue, gate: () => gate, costs, workloads };
    this.#planner = new Planner({
      ...planning,
      demand,
      plans: new MemoryPlanStore(),
      budgets: new MemoryBudgetStore(),
      optimiser: this.#optimiser,
      clock,
      random,
      log,
    });
    const planned = byPlan(this.#planner, (record) => ({ ...planPolicy(record), poweredOn: poweredOn(record) }));
    this.#lingering = new LingeringCopies({ fleet, catalogue, plan: planned, clock });
    const policy = withLingering(planned, this.#lingering);
    this.#rollout = new DesiredStates({
      fleet,
      catalogue: { ...catalogue, changes$: NEVER },
      activePlan: policy,
      planChanges$: merge(this.#planner.plans.active$, this.#lingering.changes$),
      link: this.#network,
      settings: { telemetry: { sampleMs: 1000, batchMs: 5000 } },
      clock,
      log,
    });
    const worth = worthOf(options.policy, (device) => this.#network.lastSent.get(device) ?? 0);
    this.#dispatcher = new Dispatcher({
      ...planning,
      policy,
      link: this.#network,
      ledger: new CountingLedger((record) => {
        this.#builder.add(record, this.#qualityOf(record.id as RequestId, record.expertId));
        this.#work.delete(record.id as RequestId);
      }),
      clock,
      random,
      log,
      onDemand: (classId) => demand.record(classId, clock.now()),
      ...(worth === undefined
        ? {
            control: new BudgetControl({
              clock,
              facts: () => policy()?.control,
              budgets: () => options.budgets,
              chargeOf: () => undefined,
              concurrencyOf: () => 1,
            }),
          }
        : { worth }),
      config: { ...DISPATCH_DEFAULTS, maxInFlight: 4096 },
    });
  }

  static async open(options: SimulationOptions): Promise<World> {
    const clock = new EventClock();
    const random = new SeededRandom(options.seed);
    const fleet = await Fleet.open({
      store: new MemoryFleetStore(),
      settings: { lease: LEASE },
      clock,
      log: options.log,
    });
    const world = new World({ options, clock, fleet, random });
    for (const { id } of world.#devices) {
      await fleet.enrol(id, 'linux-arm64' as Parameters<Fleet['enrol']>[1], { secretSha256: '0'.repeat(64) });
    }
    await world.#planner.setBudgets(options.budgets);
    return world;
  }

  async run(): Promise<SimulationReport> {
    const { arrivals, churn, faults, realMs, signal, speed } = this.#options;
    const start = this.#clock.now();
    startFleet({
      clock: this.#clock,
      random: this.#random,
      network: this.#network,
      devices: this.#devices,
      churn,
      churnFrom: LEAD_IN,
      restarts: faults.restarts,
    });
    this.#history();
    await this.#planner.start();
    this.#rollout.start();
    const rest = (): Promise<void> => this.#rest();
    await this.#clock.runUntil(after(start, LEAD_IN), rest);
    const from = this.#clock.now();
    const energyBefore = this.#drawnJ();
    this.#watchPower();
    const last = arrivals.at(-1)?.atMs ?? 0;
    this.#scheduleArrivals(0);
    const began = realMs();
    for (let at = Math.min(STEP_MS, last); ; at = Math.min(at + STEP_MS, last)) {
      signal?.throwIfAborted();
      await this.#clock.runUntil(unixMs(from + at), rest);
      if (speed !== undefined) await pause(at / speed - (realMs() - began));
      if (at >= last) break;
    }
    const seconds = last / 1000;
    const totalJ = this.#drawnJ() - energyBefore;
    const windows = this.#windows;
    await this.#clock.runUntil(after(this.#clock.now(), LEAD_OUT), rest);
    const { retried, takenOver } = this.#dispatcher.stats;
    const plans = this.#planner.plans.views().filter(({ activatedAtMs }) => activatedAtMs !== null).length;
    await this.#close();
    return this.#builder.build({
      policy: this.#options.policy,
      seconds,
      speed: 0,
      requests: arrivals.length,
      retried,
      takenOver,
      plans,
      totalJ,
      budget: budgetOf(this.#options.budgets.fleetPowerW, windows, totalJ / Math.max(1e-9, seconds)),
    });
  }

  async #close(): Promise<void> {
    await this.#dispatcher.close();
    await this.#rollout.stop();
    this.#lingering.close();
    await this.#planner.stop();
    await this.#fleet.close();
  }

  /** Lets promises come to rest; simulated time stands still while a plan is solved. */
  async #rest(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#optimiser.isBusy) await this.#optimiser.rest();
  }

  #scheduleArrivals(at: number): void {
    const { arrivals } = this.#options;
    const arrival = arrivals[at];
    if (arrival === undefined) return;
    const before = arrivals[at - 1]?.atMs ?? 0;
    this.#clock.after(milliseconds(arrival.atMs - before), () => {
      this.#scheduleArrivals(at + 1);
      this.#accept(arrival);
    });
  }

  #accept(arrival: Arrival): void {
    const outcome = this.#draw(arrival);
    if (outcome === undefined) return;
    const ownTokens = Math.ceil(outcome.prompt.length / 4);
    const filling = FILLING.slice(0, Math.max(0, arrival.promptTokens - ownTokens) * 4);
    const prompt: Prompt = {
      endpoint: '/v1/chat/completions',
      model: arrival.model ?? 'auto',
      mode: undefined,
      input: {
        kind: 'chat',
        messages: [
          ...(filling === '' ? [] : [{ role: 'system' as const, content: filling }]),
          { role: 'user', content: outcome.prompt },
        ],
      },
      sampling: { maxTokens: 1024, temperature: 0, topP: 1, stop: [] },
      limits: { energy: undefined, latency: undefined },
    };
    const considered = this.#dispatcher.consider(prompt);
    this.#work.set(considered.request.id, { arrival, outcome });
    const { events } = this.#dispatcher.take(considered.request, undefined, considered.decision);
    void drain(events);
  }

  /** The beginning of the trace, as if it had been before. */
  #rehearse(demand: Demand, workloads: WorkloadModel): void {
    const { arrivals, gate } = this.#options;
    const now = this.#clock.now();
    for (const arrival of arrivals.filter(({ atMs: at }) => at < HISTORY)) {
      const { atMs, outputTokens, promptTokens } = arrival;
      const outcome = this.#draw(arrival);
      if (outcome === undefined) return;
      const { classId, experts } = gate.score(outcome.prompt);
      demand.record(classId, unixMs(now - HISTORY + atMs));
      // Whoever answered: what the gate expects in the mean of all.
      const expectedTokens = meanOf([...experts.values()].map((score) => score.outputTokens));
      const ofClass = [...experts.keys()].map(
        (expert) => gate.classQuality(classId, expert)?.outputTokens ?? expectedTokens,
      );
      workloads.observe(classId, { promptTokens, outputTokens, expectedTokens, classTokens: meanOf(ofClass) });
    }
  }

  /** A prompt for an arrival: of its class, where that is known. */
  #draw({ classId }: Arrival): Outcome | undefined {
    const { gate, prompts } = this.#options;
    const of = (list: readonly Outcome[]): Outcome | undefined =>
      list[Math.floor(this.#random.uniform() * list.length)];
    if (classId === undefined) return of(prompts);
    this.#byClass ??= byClass(gate, prompts);
    return of(this.#byClass.get(classId) ?? prompts);
  }

  #workOf(job: JobId): Arrival {
    const request = job.slice(0, job.lastIndexOf('-')) as RequestId;
    return this.#work.get(request)?.arrival ?? { atMs: 0, promptTokens: 1, outputTokens: 1 };
  }

  #qualityOf(request: RequestId, expert: string | null): number {
    const outcome = this.#work.get(request)?.outcome;
    return expert === null ? 0 : (outcome?.y[expert] ?? 0);
  }

  #drawnJ(): number {
    return this.#devices.reduce((sum, device) => sum + device.energyJ(), 0);
  }

  /** Joules of every minute. */
  #watchPower(): void {
    let before = this.#drawnJ();
    this.#clock.every(POWER_WINDOW, () => {
      const now = this.#drawnJ();
      this.#windows.push(now - before);
      before = now;
    });
  }
}

interface Asked {
  readonly arrival: Arrival;
  readonly outcome: Outcome;
}

function byClass(gate: Gate, prompts: readonly Outcome[]): ReadonlyMap<string, readonly Outcome[]> {
  const classes = new Map<string, Outcome[]>();
  for (const outcome of prompts) {
    const { classId } = gate.score(outcome.prompt);
    const ofClass = classes.get(classId);
    if (ofClass === undefined) classes.set(classId, [outcome]);
    else ofClass.push(outcome);
  }
  return classes;
}

const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

function pause(ms: number): Promise<void> {
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : Promise.resolve();
}

async function drain(events: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of events);
}

function budgetOf(powerW: number | null, windows: readonly number[], meanW: number): SimulationReport['budget'] {
  if (powerW === null) return null;
  const perWindow = (powerW * POWER_WINDOW) / 1000;
  const violationJ = windows.reduce((sum, joules) => sum + Math.max(0, joules - perWindow), 0);
  const allowed = Math.max(1, perWindow * windows.length);
  return { powerW, violationJ, violationRatio: violationJ / allowed, meanOver: meanW / powerW - 1 };
}
