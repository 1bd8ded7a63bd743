import type { BatteryBudget, Budgets, BurnDownView, UsageBudget } from '@fleetgate/shared/api/operations';
import type { Clock } from '@fleetgate/shared/clock';
import type { ClassId, DeviceId, JobId } from '@fleetgate/shared/ids';
import type { JobUsage } from '@fleetgate/shared/protocol/job';
import type { Milliseconds, UnixMs } from '@fleetgate/shared/units/quantity';

import type { CostEstimate } from '../../telemetry/cost.js';
import { type BudgetsByDevice, budgetsByDevice } from './budgets-by-device.js';
import { burnDown } from './burn-down.js';
import type { ControlFacts } from './control-facts.js';
import { ClassQueues } from './class-queues.js';
import { DeviceQueues } from './device-queues.js';
import { RateQueue } from './rate-queue.js';
import { FREE, type RequestControl } from './request-control.js';
import { type AccountRecord, type Spender, UsageAccounts, type UsageRecord, windowEnd } from './usage-accounts.js';

/**
 * V of drift-plus-penalty as a time: backlog that makes an average request cost the whole quality scale, in seconds of the
 * bound. The gap to the optimum is O(1/V), the backlog O(V); docs/formulation.md has figures for 20, 200 and 2000.
 */
export const TRADE_OFF_S = 100;
/** Of the mean energy of a request, for the unit that prices are measured in: a request counts 1/e after so many. */
const ENERGY_MEMORY = 64;
/** Jobs whose predicted use is booked and not yet replaced by the actual one; beyond that the oldest keep the prediction. */
const MOST_BOOKED = 4096;

export interface BudgetControlParts {
  readonly clock: Clock;
  /** Undefined while no plan is in force. */
  readonly facts: () => ControlFacts | undefined;
  readonly budgets: () => Pick<Budgets, 'usage' | 'batteries'>;
  /** Charge of a device's battery, 0..1; undefined where none is known. */
  readonly chargeOf: (device: DeviceId) => number | undefined;
  /** Jobs that a device runs at once. */
  readonly concurrencyOf: (device: DeviceId) => number;
  /** Told of each account as it changes. */
  readonly onUse?: (account: AccountRecord) => void;
}

/** A job that is sent: who pays, and what it is expected to use. */
export interface Booking {
  readonly classId: ClassId | undefined;
  readonly tenant: string | undefined;
  readonly deviceId: DeviceId;
  readonly cost: CostEstimate;
}

/** Quality per joule; finite, so that what needs no energy stays free. */
const UNAFFORDABLE = 1e9;

/**
 * Keeps long-run budgets while requests come: drift-plus-penalty (Neely 2010; docs/formulation.md, online dispatch). Every
 * bound has a virtual queue of what was used beyond it, and its backlog is its price; what a job is expected to use is
 * booked when it is sent and replaced by the actual use at its end. A new plan's dual prices start the queues, so that
 * prices need not be learned from overspending first. The only writer of the queues and accounts.
 */
export class BudgetControl {
  readonly #parts: BudgetControlParts;
  readonly #power: RateQueue;
  readonly #devices: DeviceQueues;
  readonly #classes = new ClassQueues();
  readonly #accounts = new UsageAccounts();
  readonly #booked = new Map<JobId, Booking>();
  #meanEnergyJ: number | undefined;
  #warmedBy: ControlFacts | undefined;

  constructor(parts: BudgetControlParts) {
    this.#parts = parts;
    this.#power = new RateQueue(parts.clock.now());
    this.#devices = new DeviceQueues(parts.clock.now());
  }

  /** Goes on with the accounts of an earlier run. Jobs that it left under way keep what they were predicted to use. */
  restore(record: UsageRecord): void {
    this.#accounts.restore(record);
  }

  toRecord(): UsageRecord {
    return this.#accounts.toRecord(this.#budgets().usage);
  }

  /** What a request of a class has to pay now; undefined while no plan is in force. */
  forRequest(classId: ClassId | undefined, tenant: string | undefined): RequestControl | undefined {
    const facts = this.#warmed();
    if (facts === undefined) return undefined;
    const now = this.#parts.clock.now();
    const ofClass = this.#classes.pricesOf(facts, classId);
    const { weight } = ofClass;
    const asker = { class: classId, tenant };
    const { batteryOf, common, usage, usageOf } = this.#budgets();
    const paid = common.filter((budget) => appliesTo(budget, asker));
    const shared = this.#usagePrices(facts, paid, now) + this.#powerPrice(facts, now);
    const roomLeft = this.#accounts.roomLeft(usage, asker, now);
    return {
      qualityPerJoule: shared / weight + ofClass.perJoule,
      qualityPerSecond: ofClass.perSecond,
      served: ofClass.served,
      surchargeOf: (device) => {
        const own = usageOf.get(device);
        const ofUsage = own === undefined ? 0 : this.#usagePrices(facts, own, now);
        const perJoule = ofUsage + this.#batteryPrice(facts, batteryOf.get(device), now);
        const perBusySecond = this.#busyPrice(facts, device, now);
        const isFree = perJoule === 0 && perBusySecond === 0;
        return isFree ? FREE : { perJoule: perJoule / weight, perBusySecond: perBusySecond / weight };
      },
      reliefPerS: shared > 0 ? 1 / TRADE_OFF_S / this.#unitJ(facts) / weight : 0,
      isLow: (device) => {
        const reserve = batteryOf.get(device)?.reserveRatio;
        return reserve !== undefined && (this.#parts.chargeOf(device) ?? 1) <= reserve;
      },
      isMetered: usage.length > 0,
      spent: (device, { energy, latency }) => {
        const budget = roomLeft.spentBy(device, { energyJ: energy, busyMs: latency, calls: 1 });
        return budget && { id: budget.id, until: windowEnd(budget, now) };
      },
    };
  }

  /** Counts what a job is expected to use. */
  book(job: JobId, booking: Booking): void {
    const oldest = this.#booked.keys().next().value;
    if (this.#booked.size >= MOST_BOOKED && oldest !== undefined) this.#booked.delete(oldest);
    this.#booked.set(job, booking);
    const { energy, latency } = booking.cost;
    this.#meanEnergyJ =
      this.#meanEnergyJ === undefined ? energy : this.#meanEnergyJ + (energy - this.#meanEnergyJ) / ENERGY_MEMORY;
    this.#count(booking, { energyJ: energy, busyMs: latency, calls: 1 });
  }

  /** Replaces what was booked by what the job has used. Once per job; unknown jobs change nothing. */
  settle(job: JobId, usage: JobUsage): void {
    const booking = this.#booked.get(job);
    if (booking === undefined) return;
    this.#booked.delete(job);
    const busyMs = usage.prefillMs + usage.decodeMs;
    const { energy, latency } = booking.cost;
    this.#count(booking, { energyJ: usage.energyJ - energy, busyMs: busyMs - latency, calls: 0 });
    const facts = this.#parts.facts();
    if (facts !== undefined) this.#classes.correctEnergy(facts, booking.classId, energy, usage.energyJ);
  }

  /** A job was not sent after all. */
  withdraw(job: JobId): void {
    const booking = this.#booked.get(job);
    if (booking === undefined) return;
    this.#booked.delete(job);
    const { energy, latency } = booking.cost;
    this.#count(booking, { energyJ: 0 - energy, busyMs: 0 - latency, calls: -1 });
  }

  /** A request was taken up, with an expected latency, waiting included. */
  taken(classId: ClassId | undefined, latency: Milliseconds, energyJ: number): void {
    const facts = this.#warmed();
    if (facts !== undefined) this.#classes.taken(facts, classId, latency, energyJ);
  }

  /** It ended with an answer after `actual`. */
  answered(classId: ClassId | undefined, predicted: Milliseconds, actual: Milliseconds): void {
    const facts = this.#parts.facts();
    if (facts !== undefined) this.#classes.correctLatency(facts, classId, predicted, actual);
  }

  /** A request was not taken up for what it would cost. */
  turnedAway(classId: ClassId | undefined): void {
    const facts = this.#warmed();
    if (facts !== undefined) this.#classes.turnedAway(facts, classId);
  }

  forget(device: DeviceId): void {
    this.#devices.forget(device);
  }

  burnDown(): BurnDownView {
    const facts = this.#warmed();
    const now = this.#parts.clock.now();
    return burnDown({
      facts,
      usage: this.#budgets().usage.map((budget) =>
        this.#accounts.view(budget, facts === undefined ? 0 : this.#usagePrice(facts, budget, now), now),
      ),
      power: {
        backlogJ: this.#power.backlog(facts?.requestPower ?? 0, now),
        price: facts === undefined ? 0 : this.#powerPrice(facts, now),
      },
      classes: this.#classes,
      devices: this.#devices,
      batteries: this.#parts.budgets().batteries ?? [],
      paceOf: paceW,
      capacityOf: (device) => this.#capacity(facts, device),
      batteryPriceOf: (device) =>
        facts === undefined ? 0 : this.#batteryPrice(facts, this.#budgets().batteryOf.get(device), now),
      busyPriceOf: (device) => (facts === undefined ? 0 : this.#busyPrice(facts, device, now)),
      now,
    });
  }

  #budgets(): BudgetsByDevice {
    return budgetsByDevice(this.#parts.budgets());
  }

  #count({ classId, tenant, deviceId }: Booking, use: Parameters<UsageAccounts['use']>[2]): void {
    const now = this.#parts.clock.now();
    const facts = this.#parts.facts();
    if (facts?.requestPower !== undefined) this.#power.use(use.energyJ, facts.requestPower, now);
    this.#devices.useBusy(deviceId, use.busyMs / 1000, use.calls > 0, this.#capacity(facts, deviceId), now);
    const battery = this.#budgets().batteryOf.get(deviceId);
    if (battery !== undefined) this.#devices.useCharge(deviceId, use.energyJ, paceW(battery), now);
    const { usage } = this.#budgets();
    if (usage.length === 0) return;
    const changed = this.#accounts.use(usage, { device: deviceId, class: classId, tenant }, use, now);
    for (const account of changed) this.#parts.onUse?.(account);
  }

  /** The plan's duals start the queues, once per plan. */
  #warmed(): ControlFacts | undefined {
    const facts = this.#parts.facts();
    if (facts === undefined || facts === this.#warmedBy) return facts;
    this.#warmedBy = facts;
    const { requestPower, powerPrice } = facts;
    if (requestPower !== undefined && powerPrice > 0) {
      const backlog = powerPrice * this.#unitJ(facts) * TRADE_OFF_S * requestPower;
      this.#power.raise(backlog, requestPower, this.#parts.clock.now());
    }
    this.#classes.warm(facts);
    return facts;
  }

  /** Energy that prices are measured by: that of an average request, or what the plan leaves for one if that is less. */
  #unitJ({ requestPower, plannedRate }: ControlFacts): number {
    const planned = requestPower === undefined ? Infinity : requestPower / Math.max(plannedRate, 1e-3);
    const unit = Math.min(planned, this.#meanEnergyJ ?? Infinity);
    return Number.isFinite(unit) && unit > 0 ? unit : 1;
  }

  #powerPrice(facts: ControlFacts, now: UnixMs): number {
    const { requestPower } = facts;
    if (requestPower === undefined) return 0;
    // What idling alone takes more than the budget leaves nothing to requests.
    if (requestPower <= 0) return UNAFFORDABLE;
    return this.#power.backlog(requestPower, now) / requestPower / TRADE_OFF_S / this.#unitJ(facts);
  }

  #usagePrice(facts: ControlFacts, budget: UsageBudget, now: UnixMs): number {
    return this.#accounts.aheadS(budget, now) / TRADE_OFF_S / this.#unitJ(facts);
  }

  #usagePrices(facts: ControlFacts, budgets: readonly UsageBudget[], now: UnixMs): number {
    return budgets.reduce((sum, budget) => sum + this.#usagePrice(facts, budget, now), 0);
  }

  #batteryPrice(facts: ControlFacts, battery: BatteryBudget | undefined, now: UnixMs): number {
    if (battery === undefined) return 0;
    const pace = paceW(battery);
    return this.#devices.charge(battery.device as DeviceId, pace, now) / pace / TRADE_OFF_S / this.#unitJ(facts);
  }

  #busyPrice(facts: ControlFacts, device: DeviceId, now: UnixMs): number {
    const job = this.#devices.meanBusyS(device);
    if (job === undefined || job <= 0) return 0;
    const capacity = this.#capacity(facts, device);
    return this.#devices.busy(device, capacity, now) / capacity / TRADE_OFF_S / job;
  }

  /** Device-seconds per second that a device may work. */
  #capacity(facts: ControlFacts | undefined, device: DeviceId): number {
    return Math.max(1e-3, (facts?.utilisationCap ?? 1) * this.#parts.concurrencyOf(device));
  }
}

function appliesTo(budget: UsageBudget, asker: Pick<Spender, 'class' | 'tenant'>): boolean {
  return (
    (budget.class === undefined || budget.class === asker.class) &&
    (budget.tenant === undefined || budget.tenant === asker.tenant)
  );
}

/** Mean power that a charge can give down to its reserve in the time that it has to last. */
function paceW({ capacityJ, reserveRatio, hours }: BatteryBudget): number {
  return (capacityJ * (1 - reserveRatio)) / (hours * 3600);
}
