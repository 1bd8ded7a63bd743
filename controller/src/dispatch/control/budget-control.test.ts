import type { Budgets } from '@fleetgate/shared/api/operations';
import { ManualClock } from '@fleetgate/shared/clock';
import { classId, deviceId, expertId, jobId, variantId } from '@fleetgate/shared/ids';
import { type Random, SeededRandom } from '@fleetgate/shared/random';
import { joules, milliseconds, watts } from '@fleetgate/shared/units/quantity';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { Candidate } from '../candidates.js';
import { aCost } from '../dispatch-fixtures.js';
import { select, valueOf } from '../select.js';
import { BudgetControl } from './budget-control.js';
import type { ControlFacts, ControlledClass } from './control-facts.js';

const MATH = classId('math');
const CHAT = classId('chat');

const aClass = (parts: Partial<ControlledClass> = {}): ControlledClass => ({
  weight: 1,
  latencyMean: milliseconds(20_000),
  energyMean: undefined,
  minServed: 0.9,
  energyPrice: 0,
  latencyPrice: 0,
  ...parts,
});

const someFacts = (parts: Partial<ControlFacts> = {}): ControlFacts => ({
  requestPower: undefined,
  plannedRate: 1,
  utilisationCap: 0.7,
  powerPrice: 0,
  classes: new Map([
    [MATH, aClass()],
    [CHAT, aClass()],
  ]),
  ...parts,
});

interface Option {
  readonly quality: number;
  readonly energyJ: number;
  readonly latencyMs: number;
  readonly device?: string;
}

const candidate = ({ quality, energyJ, latencyMs, device = 'pi' }: Option): Candidate => ({
  expertId: expertId('e'),
  variantId: variantId(`v-${energyJ}-${latencyMs}`),
  deviceId: deviceId(device),
  quality,
  qualitySd: 0,
  cost: aCost(latencyMs, energyJ),
  wait: milliseconds(0),
  progress: undefined,
  excluded: undefined,
});

interface Totals {
  served: number;
  refused: number;
  energyJ: number;
  quality: number;
}

/** Poisson arrivals through control and `select`, with actual use that differs from the predicted one by `noise`. */
function play(options: {
  readonly facts: ControlFacts;
  readonly budgets?: Pick<Budgets, 'usage' | 'batteries'>;
  readonly rates: Readonly<Record<string, number>>;
  readonly offers: readonly Option[];
  readonly seconds: number;
  readonly noise?: (random: Random) => number;
  readonly seed?: number;
  readonly charge?: number;
}): {
  readonly byClass: Readonly<Record<string, Totals>>;
  readonly control: BudgetControl;
  readonly clock: ManualClock;
} {
  const clock = new ManualClock(0);
  const random = new SeededRandom(options.seed ?? 1);
  const control = new BudgetControl({
    clock,
    facts: () => options.facts,
    budgets: () => options.budgets ?? {},
    chargeOf: () => options.charge,
    concurrencyOf: () => 1,
  });
  const candidates = options.offers.map(candidate);
  const byClass: Record<string, Totals> = {};
  for (const name of Object.keys(options.rates)) byClass[name] = { served: 0, refused: 0, energyJ: 0, quality: 0 };
  const total = Object.values(options.rates).reduce((sum, rate) => sum + rate, 0);
  for (let at = 0, n = 0; ; n++) {
    const gap = (-Math.log(1 - random.uniform()) / total) * 1000;
    at += gap;
    if (at > options.seconds * 1000) break;
    clock.advance(gap);
    let draw = random.uniform() * total;
    const name = Object.keys(options.rates).find((each) => (draw -= options.rates[each] ?? 0) < 0) ?? 'math';
    const totals = byClass[name];
    const prices = control.forRequest(classId(name), undefined);
    if (totals === undefined || prices === undefined) throw new Error('a class without totals or prices');
    const open = candidates.filter((each) => {
      if (each.deviceId === undefined || each.cost === undefined) return false;
      const isOpen = !prices.isLow(each.deviceId) && prices.spent(each.deviceId, each.cost) === undefined;
      return isOpen && (valueOf(each, prices) ?? 0) + prices.served >= 0;
    });
    const chosen = select(open, prices).chosen?.candidate;
    if (chosen?.cost === undefined || chosen.deviceId === undefined) {
      totals.refused += 1;
      control.turnedAway(classId(name));
      continue;
    }
    const job = jobId(`req-${n}-1`);
    control.taken(classId(name), chosen.cost.latency, chosen.cost.energy);
    control.book(job, { classId: classId(name), tenant: undefined, deviceId: chosen.deviceId, cost: chosen.cost });
    const factor = options.noise?.(random) ?? 1;
    const energyJ = chosen.cost.energy * factor;
    const decodeMs = chosen.cost.latency * factor;
    control.settle(job, {
      promptTokens: 1,
      outputTokens: 1,
      energyJ,
      energySource: 'modelled',
      queueMs: 0,
      prefillMs: 0,
      decodeMs,
    });
    totals.served += 1;
    totals.energyJ += energyJ;
    totals.quality += chosen.quality;
  }
  return { byClass, control, clock };
}

function of(byClass: Readonly<Record<string, Totals>>, name: string): Totals {
  const totals = byClass[name];
  if (totals === undefined) throw new Error(`no totals of ${name}`);
  return totals;
}

const sum = (byClass: Readonly<Record<string, Totals>>, figure: (totals: Totals) => number): number =>
  Object.values(byClass).reduce((total, each) => total + figure(each), 0);

describe('BudgetControl', () => {
  const offers: readonly Option[] = [
    { quality: 0.8, energyJ: 20, latencyMs: 100, device: 'jetson' },
    { quality: 0.5, energyJ: 4, latencyMs: 100 },
  ];

  it('takes the best while nothing binds, and mixes so that the mean power keeps to its bound where it does', () => {
    const free = play({ facts: someFacts(), rates: { math: 1 }, offers, seconds: 3600 });
    expect(sum(free.byClass, ({ quality, served }) => quality / served)).toBeCloseTo(0.8, 6);
    const bound = play({
      facts: someFacts({ requestPower: watts(10) }),
      rates: { math: 1 },
      offers,
      seconds: 6 * 3600,
      noise: (random) => 0.5 + random.uniform(),
    });
    const meanW = sum(bound.byClass, ({ energyJ }) => energyJ) / (6 * 3600);
    expect(meanW).toBeLessThanOrEqual(10 * 1.01);
    expect(meanW).toBeGreaterThan(10 * 0.95);
    // The optimum mixes 3/8 and 5/8: quality 0.6125.
    const { quality, refused, served } = of(bound.byClass, 'math');
    expect(quality / served).toBeGreaterThan(0.6);
    expect(refused).toBe(0);
  });

  it('begins at the prices of the plan, and leaves them where less is asked', () => {
    const facts = someFacts({ requestPower: watts(10), powerPrice: 0.03 });
    const { control, clock } = play({ facts, rates: { math: 1 }, offers, seconds: 0 });
    expect(control.forRequest(MATH, undefined)?.qualityPerJoule).toBeCloseTo(0.03, 9);
    clock.advance(3_600_000);
    expect(control.forRequest(MATH, undefined)?.qualityPerJoule).toBe(0);
  });

  it('turns the lighter class away first where not all can be served, and keeps the budget', () => {
    const facts = someFacts({
      requestPower: watts(4),
      classes: new Map([
        [MATH, aClass({ weight: 2 })],
        [CHAT, aClass({ weight: 0.5 })],
      ]),
    });
    const { byClass } = play({ facts, rates: { math: 0.8, chat: 2 }, offers, seconds: 4 * 3600 });
    const share = ({ served, refused }: Totals): number => served / (served + refused);
    expect(sum(byClass, ({ energyJ }) => energyJ) / (4 * 3600)).toBeLessThanOrEqual(4 * 1.01);
    // Its floor of nine tenths is met before the other one's.
    expect(share(of(byClass, 'math'))).toBeGreaterThan(0.88);
    expect(share(of(byClass, 'chat'))).toBeLessThan(0.3);
  });

  it('keeps a usage budget through its window, and its tenant alone pays for it', () => {
    const usage = [{ id: 'evening', per: 'hour', energyJ: 3600 * 6 }] as const;
    const { byClass, control, clock } = play({
      facts: someFacts(),
      budgets: { usage },
      rates: { math: 1 },
      offers,
      seconds: 3599,
    });
    const used = sum(byClass, ({ energyJ }) => energyJ);
    expect(used).toBeLessThanOrEqual(3600 * 6);
    expect(used).toBeGreaterThan(3600 * 6 * 0.98);
    // Spread over the hour, not used up at its beginning.
    expect(of(byClass, 'math').refused).toBeLessThan(20);
    expect(control.burnDown().usage[0]).toMatchObject({ id: 'evening', state: expect.stringMatching(/ahead|spent/) });
    clock.advance(2000);
    expect(control.burnDown().usage[0]?.used).toEqual({ energyJ: 0, busyMs: 0, calls: 0 });
  });

  it('counts calls of one tenant and of nobody else', () => {
    const clock = new ManualClock(0);
    const control = new BudgetControl({
      clock,
      facts: () => someFacts(),
      budgets: () => ({ usage: [{ id: 'guest', tenant: 'guest', per: 'day', calls: 2 }] }),
      chargeOf: () => undefined,
      concurrencyOf: () => 1,
    });
    const pi = deviceId('pi');
    const cost = aCost(10, 1);
    const spent = (tenant: string | undefined) => control.forRequest(MATH, tenant)?.spent(pi, cost)?.id;
    for (const n of [1, 2]) control.book(jobId(`req-${n}-1`), { classId: MATH, tenant: 'guest', deviceId: pi, cost });
    expect([spent('guest'), spent('owner'), spent(undefined)]).toEqual(['guest', undefined, undefined]);
    const again = new BudgetControl({
      clock,
      facts: () => someFacts(),
      budgets: () => ({ usage: [{ id: 'guest', tenant: 'guest', per: 'day', calls: 2 }] }),
      chargeOf: () => undefined,
      concurrencyOf: () => 1,
    });
    again.restore(control.toRecord());
    expect(again.forRequest(MATH, 'guest')?.spent(pi, cost)?.id).toBe('guest');
    clock.advance(86_400_000);
    expect(again.forRequest(MATH, 'guest')?.spent(pi, cost)).toBeUndefined();
  });

  it('leaves a device alone whose battery is down to its reserve, and paces it before', () => {
    const batteries = [{ device: 'jetson', capacityJ: 36_000, reserveRatio: 0.2, hours: 4 }];
    const low = play({
      facts: someFacts(),
      budgets: { batteries },
      rates: { math: 1 },
      offers,
      seconds: 60,
      charge: 0.2,
    });
    expect(sum(low.byClass, ({ quality, served }) => quality / served)).toBeCloseTo(0.5, 6);
    const paced = play({
      facts: someFacts(),
      budgets: { batteries },
      rates: { math: 1 },
      offers,
      seconds: 4 * 3600,
      charge: 0.9,
    });
    const { quality, served } = of(paced.byClass, 'math');
    const onBattery = ((quality / served - 0.5) / 0.3) * served * 20;
    expect(onBattery).toBeLessThanOrEqual(36_000 * 0.8 * 1.03);
    expect(onBattery).toBeGreaterThan(36_000 * 0.8 * 0.9);
  });

  it('keeps the mean energy and latency of a class', () => {
    const classes = new Map([[MATH, aClass({ energyMean: joules(8), latencyMean: milliseconds(1000) })]]);
    const { byClass } = play({ facts: someFacts({ classes }), rates: { math: 0.05 }, offers, seconds: 24 * 3600 });
    const { energyJ, served, quality } = of(byClass, 'math');
    expect(energyJ / served).toBeLessThanOrEqual(8 * 1.02);
    expect(quality / served).toBeGreaterThan(0.56);
  });

  it('keeps the mean power within one per cent whatever comes', () => {
    const offer = fc.record({
      quality: fc.double({ min: 0.05, max: 1, noNaN: true }),
      energyJ: fc.double({ min: 0.5, max: 50, noNaN: true }),
      latencyMs: fc.integer({ min: 10, max: 2000 }),
      device: fc.constantFrom('pi', 'jetson', 'phone'),
    });
    fc.assert(
      fc.property(
        fc.array(offer, { minLength: 1, maxLength: 6 }),
        fc.double({ min: 0.2, max: 20, noNaN: true }),
        fc.double({ min: 0.1, max: 3, noNaN: true }),
        fc.integer(),
        (some, power, rate, seed) => {
          const seconds = 20_000;
          const facts = someFacts({ requestPower: watts(power), plannedRate: rate });
          const { byClass } = play({ facts, rates: { math: rate, chat: rate / 2 }, offers: some, seconds, seed });
          const meanW = sum(byClass, ({ energyJ }) => energyJ) / seconds;
          const oneJob = Math.max(...some.map(({ energyJ }) => energyJ)) / seconds;
          return meanW <= power * 1.02 + oneJob;
        },
      ),
      { numRuns: 25 },
    );
  });
});
