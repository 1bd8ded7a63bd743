/** Fleets, budgets and requests of all kinds, for properties of decisions. */
import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { Variant } from '@fleetgate/shared/catalogue/expert';
import { ManualClock } from '@fleetgate/shared/clock';
import { classId, deviceId, type DeviceId, expertId, jobId } from '@fleetgate/shared/ids';
import type { Random } from '@fleetgate/shared/random';
import { joules, milliseconds, watts } from '@fleetgate/shared/units/quantity';

import type { Device } from '../../fleet/device.js';
import type { GateScore } from '../../gating/gate.js';
import { CostModel } from '../../telemetry/cost-model.js';
import type { DispatchFacts } from '../candidates.js';
import { BudgetControl } from '../control/budget-control.js';
import type { ControlFacts } from '../control/control-facts.js';
import { forEvaluation, withoutAdmission } from '../control/request-control.js';
import { DeviceLoads } from '../device-load.js';
import { aCatalogue, aCost, aDevice, anExpert, aPolicy, aVariant, type DeviceOptions } from '../dispatch-fixtures.js';
import { MODES } from '../prompt.js';

const ANY = classId('any');
const TENANTS = ['guest', undefined] as const;

export class RandomFleet {
  readonly #random: Random;
  readonly #clock = new ManualClock();
  readonly #loads = new DeviceLoads();
  /** How often anything is as it should be. */
  readonly #health: number;
  readonly #names: readonly string[];
  readonly #catalogue: ReturnType<typeof aCatalogue>;
  readonly #variants: readonly Variant[];
  readonly #devices = new Map<DeviceId, Device>();
  readonly #costs: CostModel;
  readonly #control: BudgetControl;
  #policy: DispatchFacts['policy'];
  #jobs = 0;

  constructor(random: Random, size: { readonly experts: number; readonly devices: number }) {
    this.#random = random;
    this.#health = this.#pick([0.7, 0.95, 1]);
    this.#names = Array.from({ length: size.experts }, (_, at) => `expert-${at}`);
    const experts = this.#names.map((name) => {
      const made = this.#isOften(0.5) ? [this.#madeOf(name)] : [];
      const card = this.#isOften(0.6) ? { web: 1 + this.#upTo(2) } : {};
      return anExpert(name, [aVariant(name), ...made], card);
    });
    this.#catalogue = aCatalogue(experts);
    this.#variants = [...this.#catalogue.variants.values()];
    for (let at = 0; at < size.devices; at++) {
      const device = this.#deviceNamed(`device-${at}`);
      this.#devices.set(device.id, device);
    }
    this.#policy = this.#plan();
    const boards = new Map([...this.#devices.keys()].map((id) => [id, this.#isOften(0.5) ? this.#board() : undefined]));
    this.#costs = new CostModel({
      boardOf: (id) => boards.get(id),
      variantOf: (id) => this.#catalogue.variants.get(id),
      powerOf: (id) => this.#devices.get(id)?.reported?.power,
    });
    for (const id of this.#devices.keys()) if (this.#isOften(this.#health)) this.#learn(id);
    const facts = this.#controlFacts();
    const budgets = this.#budgets();
    const charge = this.#upTo(1);
    this.#control = new BudgetControl({
      ...{ clock: this.#clock, facts: () => facts, budgets: () => budgets, chargeOf: () => charge },
      concurrencyOf: (id) => this.#devices.get(id)?.reported?.concurrency ?? 1,
    });
    const jobs = this.#pick([0, 1, 3]) * size.devices;
    for (let at = 0; at < jobs; at++) this.#book(this.#deviceId());
  }

  /** Something happens: a device says something else, its costs are learned, a job is sent or ends, a variant or the plan changes. */
  change(): void {
    const id = this.#deviceId();
    switch (Math.floor(this.#upTo(6))) {
      case 0:
        this.#devices.set(id, this.#deviceNamed(id));
        return;
      case 1:
        this.#learn(id);
        return;
      case 2:
        this.#costs.forget(id);
        return;
      case 3: {
        const variant = this.#variant();
        this.#catalogueVariants().set(variant.id, { ...variant, made: this.#madeOf(variant.expertId).made });
        return;
      }
      case 4:
        this.#policy = this.#plan();
        return;
      default:
        this.#book(id);
        this.#clock.advance(this.#upTo(2000));
    }
  }

  /** What a random request is decided by. */
  facts(): DispatchFacts {
    const now = this.#clock.now();
    const priced = this.#control.forRequest(this.#isOften(0.9) ? ANY : undefined, this.#pick(TENANTS));
    const control = this.#pick([priced, priced, undefined, withoutAdmission(priced), forEvaluation(priced)]);
    return {
      target: this.#target(),
      limits: {
        energy: this.#isOften(0.2) ? joules(this.#upTo(30)) : undefined,
        latency: this.#isOften(0.2) ? milliseconds(this.#upTo(20_000)) : undefined,
      },
      score: this.#isOften(0.9) ? this.#score() : undefined,
      promptTokens: this.#isOften(0.9) ? Math.ceil(this.#upTo(1000)) : 3000,
      maxOutputTokens: this.#pick([0, 1, 64, 1000]),
      abilities: this.#pick([[], [], [], ['grammar'], ['grammar', 'resume']]),
      answerFactor: this.#pick([1, 0.5, 2]),
      catalogue: this.#catalogue,
      fleet: this.#devices,
      policy: this.#policy,
      costs: this.#costs,
      loadOf: (device) => this.#loads.loadOf(device, now),
      maxQueuedPerDevice: this.#pick([0, 1, 4, Infinity]),
      tried: this.#someDevices(1 - this.#health),
      unresponsive: this.#someDevices(1 - this.#health),
      ...(this.#isOften(0.5) ? { onTrial: this.#someExperts() } : {}),
      ...(this.#isOften(0.5) ? { biasOf: (expert) => (expert.endsWith('1') ? 0.02 : -0.01) } : {}),
      control,
    };
  }

  #target(): DispatchFacts['target'] {
    const mode = this.#pick(MODES);
    const variant = this.#variant();
    return this.#pick([
      { kind: 'any', mode },
      { kind: 'any', mode },
      { kind: 'any', mode, only: new Set<string>(this.#someExperts()) },
      { kind: 'expert', expertId: variant.expertId, mode },
      { kind: 'variant', variantId: variant.id, mode },
    ]);
  }

  /** Qualities that are often the same, of all experts but a few. */
  #score(): GateScore {
    const known = this.#names.filter(() => this.#isOften(0.9));
    const scores = known.map((name) => {
      const doubt = this.#isOften(0.3) ? { doubt: this.#upTo(0.3) } : {};
      const quality = this.#pick([0.4, 0.5, this.#upTo(1)]);
      return [expertId(name), { quality, sd: 0.05, outputTokens: this.#upTo(200), ...doubt }] as const;
    });
    return { classId: ANY, promptTokens: 10, experts: new Map(scores) };
  }

  #deviceNamed(name: string): Device {
    const hosted = this.#variants.filter(() => this.#isOften(this.#health - 0.2)).map(({ id }) => id);
    const often = <T>(usual: T, ...others: readonly T[]): T =>
      this.#isOften(this.#health) ? usual : this.#pick(others);
    const options: DeviceOptions = {
      presence: often('online', 'offline', 'never-seen'),
      epoch: 2,
      reportedEpoch: often(2, 1),
      concurrency: this.#pick([1, 1, 2, 4]),
      engine: often('ready', 'restarting', 'down'),
      abilities: this.#pick([[], ['grammar'], ['grammar', 'resume']]),
      state: often('active', 'standby', 'draining'),
      residency: often('resident', 'loading', 'fetching'),
      progress: this.#upTo(1),
      queuedJobs: this.#isOften(this.#health) ? 0 : this.#pick([1, 6]),
      lastSampleAt: this.#clock.now(),
    };
    return this.#withSlabs(aDevice(name, hosted, options));
  }

  #withSlabs(device: Device): Device {
    if (device.reported === undefined || this.#isOften(0.7)) return device;
    const slabs = { strategy: 'cache' as const, reason: 'a test', slabsPerToken: 2 };
    const variants = device.reported.variants.map((one) => ({ ...one, slabs }));
    return Object.freeze({ ...device, reported: { ...device.reported, variants } });
  }

  /** What devices have and, now and then, what they do not have or what nobody knows. */
  #plan(): DispatchFacts['policy'] {
    const usual = aPolicy(this.#devices.values(), { qualityPerJoule: this.#upTo(0.02) });
    const strays = [...usual.placements].map(([id, variants]) => {
      const stray = this.#isOften(0.2) ? [this.#pick([this.#variant().id, aVariant('unheard-of').id])] : [];
      return [id, new Set([...variants, ...stray])] as const;
    });
    const gone = this.#isOften(0.3) ? [[deviceId('gone'), new Set([this.#variant().id])] as const] : [];
    return { ...usual, placements: new Map([...strays, ...gone]) };
  }

  #madeOf(expert: string): Variant {
    const plain = aVariant(expert, 'q4_0');
    const lossAtSlabs = this.#isOften(0.5) ? { lossAtSlabs: { '2': { web: this.#upTo(1) } } } : {};
    return {
      ...plain,
      facts: { ...plain.facts, fileBytes: 500_000 },
      made: { from: aVariant(expert).id, how: 'a test', loss: { any: this.#upTo(0.5) }, ...lossAtSlabs },
    };
  }

  /** On a grid, so that some are as good as others. */
  #learn(id: DeviceId): void {
    for (const { id: variantId } of this.#variants) {
      if (!this.#isOften(this.#health)) continue;
      this.#costs.observeMeasurement(id, {
        ...{ variantId, sha256: 'a'.repeat(64), relativeSd: 0.1, energySource: 'measured', measuredAtMs: ++this.#jobs },
        ...{ prefillTokensPerS: this.#pick([100, 400]), decodeTokensPerS: this.#pick([5, 20, 60]) },
        ...{ prefillJPerToken: 0.01, decodeJPerToken: this.#pick([0.02, 0.2]), overheadMs: 2, loadMs: 1000 },
        memoryBytes: 2 ** 24,
      });
    }
  }

  #book(device: DeviceId): void {
    const job = jobId(`job-${this.#jobs++}`);
    const predicted = milliseconds(this.#upTo(5000));
    this.#loads.add(device, job, predicted, this.#clock.now());
    if (this.#isOften(0.3)) this.#loads.release(device, job, this.#clock.now());
    const cost = aCost(predicted, this.#upTo(20));
    this.#control.book(job, { classId: ANY, tenant: this.#pick(TENANTS), deviceId: device, cost });
    this.#control.taken(ANY, predicted, cost.energy);
    if (this.#isOften(0.5)) this.#control.turnedAway(ANY);
  }

  #controlFacts(): ControlFacts {
    return {
      requestPower: this.#isOften(0.7) ? watts(this.#upTo(20)) : undefined,
      ...{ plannedRate: 1, utilisationCap: 0.8, powerPrice: this.#pick([0, 0.002, 0.05]) },
      classes: new Map([
        [
          ANY,
          {
            ...{ weight: this.#pick([0.5, 1, 2]), latencyMean: milliseconds(3000), minServed: 0.9 },
            energyMean: this.#isOften(0.5) ? joules(5) : undefined,
            ...{ energyPrice: this.#pick([0, 0.01]), latencyPrice: this.#pick([0, 0.02]) },
          },
        ],
      ]),
    };
  }

  #budgets() {
    const batteries = [...this.#someDevices(0.3)].map((device) => ({
      ...{ device, capacityJ: 1e3, reserveRatio: 0.4, hours: 10 },
    }));
    const usage = [
      { id: 'guests', tenant: 'guest', per: 'hour' as const, energyJ: this.#upTo(60) },
      ...[...this.#someDevices(0.3)].map((device) => ({
        ...{ id: `of-${device}`, device, per: 'day' as const, energyJ: this.#upTo(60), calls: this.#pick([null, 2]) },
      })),
      { id: 'all', class: 'any', per: 'day' as const, busyMs: 1e6 * this.#upTo(1) },
    ];
    return { batteries, ...(this.#isOften(0.5) ? { usage } : {}) };
  }

  #board(): BoardProfile {
    const figure = (value: number) => ({ value, source: 'a test' });
    return {
      ...{ schema: 'fleetgate-board/1', id: aDevice('any', []).board, title: 'a board', kind: 'linux', arch: ['x64'] },
      ...{ detect: {}, memoryBytes: figure(8e9), reservedBytes: 1e9, slots: 8, engineThreads: 4 },
      power: { idleW: figure(2), loadW: figure(10), standbyW: figure(1) },
      ...{ decodeBandwidthBytesPerS: figure(1e8), powerModes: [], sensors: [], notes: [] },
    };
  }

  #catalogueVariants(): Map<Variant['id'], Variant> {
    return this.#catalogue.variants as Map<Variant['id'], Variant>;
  }

  #variant(): Variant {
    return this.#pick([...this.#catalogue.variants.values()]);
  }

  #deviceId(): DeviceId {
    return this.#pick([...this.#devices.keys()]);
  }

  #someDevices(share: number): ReadonlySet<DeviceId> {
    return new Set([...this.#devices.keys()].filter(() => this.#isOften(share)));
  }

  #someExperts() {
    return new Set(this.#names.filter(() => this.#isOften(0.4)).map((name) => expertId(name)));
  }

  #pick<T>(from: readonly T[]): T {
    for (const one of from.slice(Math.floor(this.#random.uniform() * from.length))) return one;
    throw new RangeError('nothing to pick from');
  }

  #upTo(most: number): number {
    return this.#random.uniform() * most;
  }

  #isOften(share: number): boolean {
    return this.#random.uniform() < share;
  }
}
