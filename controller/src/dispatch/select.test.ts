import { classId, deviceId } from '@fleetgate/shared/ids';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { candidatesFor as candidatesOf, EXCLUSIONS, type Candidate, type DispatchFacts } from './candidates.js';
import { Weighing } from './copies/weighing.js';
import {
  aCatalogue,
  aCost,
  aDevice,
  aGate,
  anExpert,
  aPolicy,
  aVariant,
  costsBy,
  FixtureCosts,
  type DeviceOptions,
} from './dispatch-fixtures.js';
import { resolveModel } from './model-target.js';
import { ECO_FLOOR_PER_JOULE, plannedPrices, pricesFor, select } from './select.js';

const catalogue = aCatalogue([anExpert('math'), anExpert('code'), anExpert('big')]);
const NO_LIMITS = { energy: undefined, latency: undefined };

function facts(options: {
  readonly devices: readonly ReturnType<typeof aDevice>[];
  readonly model?: string;
  readonly costs?: FixtureCosts;
  readonly more?: Partial<DispatchFacts>;
}): DispatchFacts {
  const target = resolveModel({ model: options.model ?? 'auto', mode: undefined }, catalogue);
  if (target === undefined) throw new Error('unknown model in a test');
  const costs = options.costs ?? new FixtureCosts();
  return {
    target,
    limits: NO_LIMITS,
    score: aGate({ math: 0.5, code: 0.4, big: 0.45 }).score('prompt'),
    promptTokens: 10,
    maxOutputTokens: 64,
    abilities: [],
    catalogue,
    fleet: new Map(options.devices.map((device) => [device.id, device])),
    policy: aPolicy(options.devices),
    costs,
    answerFactor: 1,
    loadOf: () => ({ occupied: 0, freeIn: aCost(0, 0).latency, foreign: 0 }),
    maxQueuedPerDevice: 4,
    tried: new Set(),
    unresponsive: new Set(),
    ...options.more,
  };
}

const NO_PRICES = { qualityPerJoule: 0, qualityPerSecond: 0 };

const candidatesFor = (given: DispatchFacts) => candidatesOf(given, new Weighing(given, NO_PRICES));

const choose = (given: DispatchFacts, prices = NO_PRICES) => select(candidatesFor(given), prices).chosen?.candidate;

describe('candidates', () => {
  it('leave out devices whose engine cannot do what is asked, or does not say that it can', () => {
    const devices = [
      aDevice('new', ['math-q8_0'], { abilities: ['grammar', 'log-probs'] }),
      aDevice('some', ['math-q8_0'], { abilities: ['log-probs'] }),
      aDevice('old', ['math-q8_0']),
    ];
    const cannot = (abilities: DispatchFacts['abilities']) =>
      candidatesFor(facts({ devices, more: { abilities } }))
        .filter(({ excluded }) => excluded === 'engine-cannot')
        .map(({ deviceId }) => deviceId);
    expect(cannot([])).toEqual([]);
    expect(cannot(['log-probs'])).toEqual(['old']);
    expect(cannot(['grammar', 'log-probs'])).toEqual(['some', 'old']);
  });

  it('wait for what runs: as many jobs run at once as the device says, however many experts are resident', () => {
    const load = { occupied: 2, freeIn: aCost(600, 0).latency, foreign: 1 };
    const waitWith = (concurrency: number) =>
      candidatesFor(
        facts({ devices: [aDevice('pi', ['math-q8_0', 'code-q8_0'], { concurrency })], more: { loadOf: () => load } }),
      ).map(({ wait }) => wait);
    // One job of somebody else's, as long as ours.
    expect(waitWith(1).slice(0, 2)).toEqual([1600, 1600]);
    expect(waitWith(2).slice(0, 2)).toEqual([1100, 1100]);
    expect(waitWith(3).slice(0, 2)).toEqual([0, 0]);
  });

  it('are costed for what such answers turn out to be, within what the client allows', () => {
    const devices = [aDevice('pi', ['math-q8_0'])];
    const asked = (more: Partial<DispatchFacts>) => {
      const seen: number[] = [];
      const given = facts({ devices, more });
      candidatesFor({
        ...given,
        costs: costsBy((_device, _variant, { outputTokens }) => {
          seen.push(outputTokens);
          return aCost(1, 1);
        }),
      });
      return seen.at(-1);
    };
    const expected = asked({ maxOutputTokens: 1000 }) ?? 0;
    expect(asked({ maxOutputTokens: 1000, answerFactor: 0.5 })).toBeCloseTo(expected / 2, 9);
    expect(asked({ maxOutputTokens: 4, answerFactor: 0.5 })).toBe(2);
    expect(asked({ maxOutputTokens: 4, answerFactor: 3 })).toBe(4);
  });

  it.each<[string, DeviceOptions, string]>([
    ['offline', { presence: 'offline' }, 'device-offline'],
    ['back and has not said again what it has', { epoch: 2, reportedEpoch: 1 }, 'device-offline'],
    ['in standby', { state: 'standby' }, 'device-standby'],
    ['without its engine', { engine: 'restarting' }, 'engine-down'],
    ['still fetching', { residency: 'fetching', progress: 0.4 }, 'not-resident'],
  ])('leaves out a device that is %s and says so', (_what, options, reason) => {
    const given = facts({ devices: [aDevice('jetson', ['math-q8_0'], options), aDevice('pi', ['code-q8_0'])] });
    const math = candidatesFor(given).find(({ expertId }) => expertId === 'math');
    expect(math?.excluded).toBe(reason);
    expect(choose(given)?.expertId).toBe('code');
  });

  it('says of a prompt that is too long that it is, also of a device that is still loading', () => {
    const given = facts({ devices: [aDevice('jetson', ['math-q8_0'], { residency: 'loading' })] });
    const [math] = candidatesFor({ ...given, promptTokens: 1e6 });
    expect(math?.excluded).toBe('context-too-small');
  });

  it('lists an expert that the plan places nowhere', () => {
    const given = facts({ devices: [aDevice('pi', ['code-q8_0'])] });
    const big = candidatesFor(given).find(({ expertId }) => expertId === 'big');
    expect(big).toMatchObject({ deviceId: undefined, excluded: 'not-placed' });
  });

  it('asks a named expert only, wherever it is placed', () => {
    const devices = [aDevice('jetson', ['math-q8_0', 'code-q8_0']), aDevice('pi', ['code-q8_0'])];
    const given = facts({ devices, model: 'code' });
    expect(choose(given)?.expertId).toBe('code');
    expect(candidatesFor(given).filter(({ excluded }) => excluded === undefined)).toHaveLength(2);
  });

  it('keeps what a request may cost, and what it may wait', () => {
    const devices = [aDevice('jetson', ['math-q8_0']), aDevice('pi', ['code-q8_0'])];
    const costs = new FixtureCosts({ jetson: aCost(500, 20), pi: aCost(2000, 2) });
    const cheap = facts({ devices, costs, more: { limits: { ...NO_LIMITS, energy: aCost(0, 5).energy } } });
    expect(choose(cheap)?.deviceId).toBe('pi');
    const soon = facts({ devices, costs, more: { limits: { ...NO_LIMITS, latency: aCost(1000, 0).latency } } });
    expect(choose(soon)?.deviceId).toBe('jetson');
    const freeIn = aCost(5000, 0).latency;
    const busy = facts({
      devices,
      costs,
      more: {
        limits: { ...NO_LIMITS, latency: aCost(1000, 0).latency },
        loadOf: () => ({ occupied: 1, freeIn, foreign: 0 }),
      },
    });
    expect(candidatesFor(busy).map(({ excluded }) => excluded)).toContain('wait-too-long');
  });

  it('falls back on the cards while there is no gate', () => {
    const known = aCatalogue([anExpert('math', [aVariant('math')], { math: 1 }), anExpert('code')]);
    const devices = [aDevice('jetson', ['math-q8_0', 'code-q8_0'])];
    const candidates = candidatesFor({ ...facts({ devices }), catalogue: known, score: undefined });
    expect(candidates.map(({ quality, excluded }) => [quality, excluded])).toEqual([
      [0.5, undefined],
      [0, 'quality-unknown'],
    ]);
  });
});

describe('select', () => {
  it('takes the best quality when nothing has a price', () => {
    const devices = [aDevice('jetson', ['code-q8_0', 'big-q8_0']), aDevice('pi', ['math-q8_0'])];
    expect(choose(facts({ devices }))?.expertId).toBe('math');
  });

  it('pays for joules and seconds', () => {
    const devices = [aDevice('jetson', ['math-q8_0']), aDevice('pi', ['code-q8_0'])];
    const costs = new FixtureCosts({ jetson: aCost(500, 20), pi: aCost(2000, 2) });
    const given = facts({ devices, costs });
    expect(choose(given, { qualityPerJoule: 0.01, qualityPerSecond: 0 })?.expertId).toBe('code');
    expect(choose(given, { qualityPerJoule: 0, qualityPerSecond: 0.1 })?.expertId).toBe('math');
  });

  it('sends equal experts where they answer sooner', () => {
    const devices = [aDevice('a', ['math-q8_0']), aDevice('b', ['math-q8_0'])];
    const given = facts({ devices, costs: new FixtureCosts({ a: aCost(900, 1), b: aCost(300, 1) }) });
    expect(choose(given)?.deviceId).toBe('b');
  });

  it('prices the modes apart', () => {
    const any = classId('any');
    const free = aPolicy([]);
    expect(pricesFor('auto', plannedPrices(free, any))).toEqual({ qualityPerJoule: 0, qualityPerSecond: 0 });
    expect(pricesFor('eco', plannedPrices(free, any)).qualityPerJoule).toBe(ECO_FLOOR_PER_JOULE);
    const own = aPolicy([], { qualityPerJoule: 0.5, qualityPerJouleByClass: new Map([[any, 0.02]]) });
    expect(pricesFor('auto', plannedPrices(own, any)).qualityPerJoule).toBe(0.02);
    expect(pricesFor('auto', plannedPrices(own, undefined)).qualityPerJoule).toBe(0.5);
    const tight = aPolicy([], { qualityPerJoule: 0.01, qualityPerSecond: new Map([[any, 0.03]]) });
    expect(pricesFor('eco', plannedPrices(tight, any))).toEqual({ qualityPerJoule: 0.04, qualityPerSecond: 0.03 });
    expect(pricesFor('fast', plannedPrices(tight, any))).toEqual({ qualityPerJoule: 0.01, qualityPerSecond: 0.12 });
    expect(pricesFor('best', plannedPrices(tight, any))).toEqual({ qualityPerJoule: 0, qualityPerSecond: 0 });
  });
});

describe('select, for any candidates', () => {
  const candidate: fc.Arbitrary<Candidate> = fc.record({
    expertId: fc.constantFrom(...catalogue.experts.keys()),
    variantId: fc.constantFrom(...catalogue.variants.keys()),
    deviceId: fc.constantFrom(deviceId('a'), deviceId('b'), deviceId('c')),
    quality: fc.double({ min: 0, max: 1, noNaN: true }),
    qualitySd: fc.constant(0.1),
    cost: fc
      .tuple(fc.double({ min: 1, max: 1e5, noNaN: true }), fc.double({ min: 0, max: 1e3, noNaN: true }))
      .map(([latencyMs, energyJ]) => aCost(latencyMs, energyJ)),
    wait: fc.integer({ min: 0, max: 10_000 }).map((ms) => aCost(ms, 0).latency),
    progress: fc.constant(undefined),
    excluded: fc.option(fc.constantFrom(...EXCLUSIONS), { nil: undefined }),
  });
  const candidates = fc.uniqueArray(candidate, {
    maxLength: 12,
    selector: (one) => `${one.variantId} ${one.deviceId}`,
  });
  const prices = fc.record({
    qualityPerJoule: fc.double({ min: 0, max: 1, noNaN: true }),
    qualityPerSecond: fc.double({ min: 0, max: 1, noNaN: true }),
  });

  it('never takes an excluded one, and takes one whenever it may', () => {
    fc.assert(
      fc.property(candidates, prices, (all, at) => {
        const { chosen } = select(all, at);
        expect(chosen?.candidate.excluded).toBeUndefined();
        expect(chosen !== undefined).toBe(all.some(({ excluded }) => excluded === undefined));
      }),
    );
  });

  it('does not depend on input order', () => {
    fc.assert(
      fc.property(candidates, prices, fc.nat(), (all, at, turn) => {
        const cut = all.length === 0 ? 0 : turn % all.length;
        const turned = [...all.slice(cut), ...all.slice(0, cut)].toReversed();
        expect(select(turned, at).chosen).toEqual(select(all, at).chosen);
      }),
    );
  });

  it('keeps its choice when others are masked', () => {
    fc.assert(
      fc.property(candidates, prices, fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }), (all, at, masks) => {
        const chosen = select(all, at).chosen?.candidate;
        const masked = all.map((one, index) =>
          one !== chosen && (masks[index] ?? false) ? { ...one, excluded: 'device-offline' as const } : one,
        );
        expect(select(masked, at).chosen?.candidate).toEqual(chosen);
      }),
    );
  });
});
