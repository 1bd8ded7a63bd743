import { ManualClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { joules, milliseconds } from '@fleetgate/shared/units/quantity';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { WorkloadModel } from '../telemetry/workload-model.js';
import { DISPATCH_DEFAULTS, type DispatchConfig } from './dispatch-config.js';
import {
  aCatalogue,
  aCost,
  aDevice,
  aGate,
  anExpert,
  aPolicy,
  aPrompt,
  FixtureCosts,
  FixtureFleet,
} from './dispatch-fixtures.js';
import { type DispatchedRequest, Dispatcher } from './dispatcher.js';
import { HedgeAllowance, hedgeAfter, isWorthHedging } from './hedge.js';
import { MemoryLedger } from './memory-ledger.js';
import { ScriptedExpertLink } from './scripted-expert-link.js';

const NO_WAIT = milliseconds(0);
/** First token of 200 ms, give or take 20; the whole answer 1000. */
const COST = aCost(1000, 5);

describe('hedgeAfter', () => {
  it('waits for the first token as long as it may take, where there is no time for more', () => {
    expect(hedgeAfter({ cost: COST, wait: NO_WAIT }, milliseconds(1900))).toBeCloseTo(232.9, 6);
    expect(hedgeAfter({ cost: COST, wait: milliseconds(500) }, milliseconds(2900))).toBeCloseTo(732.9, 6);
  });

  it('does not where the limit is loose, missing, or over by then', () => {
    expect(hedgeAfter({ cost: COST, wait: NO_WAIT }, milliseconds(2000))).toBeUndefined();
    expect(hedgeAfter({ cost: COST, wait: NO_WAIT }, undefined)).toBeUndefined();
    expect(hedgeAfter({ cost: undefined, wait: NO_WAIT }, milliseconds(10))).toBeUndefined();
    expect(hedgeAfter({ cost: COST, wait: NO_WAIT }, milliseconds(200))).toBeUndefined();
  });
});

describe('isWorthHedging', () => {
  it('asks a device that begins at once, for an answer about as good', () => {
    const first = { quality: 0.6, qualitySd: 0.1 };
    expect(isWorthHedging(first, { quality: 0.55, wait: NO_WAIT })).toBe(true);
    expect(isWorthHedging(first, { quality: 0.45, wait: NO_WAIT })).toBe(false);
    expect(isWorthHedging(first, { quality: 0.7, wait: milliseconds(1) })).toBe(false);
  });
});

describe('HedgeAllowance', () => {
  it('never gives more than its share of the requests and of their joules, nor more than ten at once', () => {
    const step = fc.record({ energy: fc.double({ min: 0, max: 100, noNaN: true }), asks: fc.boolean() });
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), fc.array(step, { maxLength: 200 }), (share, steps) => {
        const allowance = new HedgeAllowance(share);
        let [requests, energy, taken, spent, inRow] = [0, 0, 0, 0, 0];
        for (const one of steps) {
          if (one.asks) {
            if (!allowance.take(joules(one.energy))) continue;
            taken += 1;
            inRow += 1;
            spent += one.energy;
          } else {
            allowance.earn(joules(one.energy));
            requests += 1;
            inRow = 0;
            energy += one.energy;
          }
          expect(taken).toBeLessThanOrEqual(share * requests + 1e-9);
          expect(spent).toBeLessThanOrEqual(share * energy + 1e-6);
          expect(inRow).toBeLessThanOrEqual(10);
        }
      }),
    );
  });
});

describe('a request whose first token is late', () => {
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  function world(config: Partial<DispatchConfig> = {}, limits: { latencyMs?: number; energyJ?: number } = {}) {
    const devices = [aDevice('a', ['math-q8_0']), aDevice('b', ['math-q8_0'])];
    const clock = new ManualClock();
    const link = new ScriptedExpertLink();
    const ledger = new MemoryLedger();
    const costs = new FixtureCosts({ a: aCost(1000, 5), b: aCost(1100, 5) });
    const policy = aPolicy(devices);
    const catalogue = aCatalogue([anExpert('math')]);
    const dispatcher = new Dispatcher({
      fleet: new FixtureFleet(devices),
      catalogue: () => catalogue,
      gate: () => aGate({ math: 0.5 }),
      costs,
      workloads: new WorkloadModel(),
      policy: () => policy,
      link,
      ledger,
      clock,
      random: new SeededRandom(1),
      log: silentLogger,
      onDemand: () => {},
      config: { ...DISPATCH_DEFAULTS, hedgeShare: 1, ...config },
    });
    const { latencyMs = 1900, energyJ } = limits;
    const latency = milliseconds(latencyMs);
    const prompt = aPrompt('auto', {
      limits: { latency, energy: energyJ === undefined ? undefined : joules(energyJ) },
    });
    const request = dispatcher.accept(prompt);
    return { clock, costs, dispatcher, ledger, link, request, prompt };
  }

  async function read({ events }: DispatchedRequest): Promise<string> {
    let said = '';
    for await (const event of events) {
      if (event.kind === 'chosen') said += `[${event.choice.deviceId}]`;
      if (event.kind === 'tokens') said += event.text;
      if (event.kind === 'failed') said += event.error.code;
    }
    return said;
  }

  it('is answered by the device that says something first; the other is stopped', async () => {
    const { clock, costs, dispatcher, link, request } = world();
    const said = read(request);
    link.jobs[0]?.accepted();
    clock.advance(232);
    expect(link.jobs).toHaveLength(1);
    clock.advance(1);
    expect(link.jobs.map(({ device }) => device)).toEqual(['a', 'b']);
    link.jobs[1]?.accepted();
    clock.advance(100);
    link.jobs[1]?.tokens('four');
    expect(link.cancelled).toMatchObject([{ device: 'a', reason: 'outrun' }]);
    link.jobs[0]?.tokens('five');
    link.jobs[0]?.done('cancelled', { energyJ: 2 });
    link.jobs[1]?.done('stop', { energyJ: 3 });
    expect(await said).toBe('[a][b]four');
    const { state, deviceId, attempts, actual } = request.record();
    expect([state, deviceId, actual?.energyJ]).toEqual(['succeeded', 'b', 5]);
    expect(attempts).toMatchObject([
      { deviceId: 'a', outcome: 'outrun' },
      { deviceId: 'b', outcome: 'succeeded', hedge: true },
    ]);
    expect(dispatcher.stats).toMatchObject({ hedged: 1, hedgesWon: 1, retried: 0, succeeded: 1 });
    expect(costs.observed).toEqual([{ device: 'b', variant: 'math-q8_0' }]);
    expect([dispatcher.inFlight, dispatcher.jobsInFlight]).toEqual([0, 0]);
  });

  it('stays with its first device where that comes first after all', async () => {
    const { clock, dispatcher, link, request } = world();
    const said = read(request);
    clock.advance(300);
    link.jobs[0]?.tokens('four');
    expect(link.cancelled).toMatchObject([{ device: 'b', reason: 'outrun' }]);
    link.jobs[0]?.done();
    link.jobs[1]?.done('cancelled');
    expect(await said).toBe('[a]four');
    expect(request.record()).toMatchObject({
      deviceId: 'a',
      attempts: [{ outcome: 'succeeded' }, { outcome: 'outrun', hedge: true }],
    });
    expect(dispatcher.stats).toMatchObject({ hedged: 1, hedgesWon: 0 });
    expect(dispatcher.jobsInFlight).toBe(0);
  });

  it('goes on with either device when the other fails, and fails when both have', async () => {
    const { clock, dispatcher, link, request } = world();
    const said = read(request);
    clock.advance(300);
    link.jobs[0]?.failed('engine.crashed');
    link.jobs[1]?.tokens('four');
    link.jobs[1]?.done();
    expect(await said).toBe('[a][b]four');
    expect(request.record().attempts.map(({ outcome }) => outcome)).toEqual(['engine.crashed', 'succeeded']);

    const second = dispatcher.accept(aPrompt('auto', { limits: { latency: milliseconds(1900), energy: undefined } }));
    const failed = read(second);
    clock.advance(300);
    link.jobs[3]?.failed('engine.crashed');
    link.jobs[2]?.failed('job.rejected');
    expect(await failed).toMatch(/^\[a\](?:job\.rejected|dispatch\.no-capacity)$/);
    expect(dispatcher.jobsInFlight).toBe(0);
  });

  it('ends on both devices when its client goes away', async () => {
    const { clock, dispatcher, link, prompt } = world({}, { latencyMs: 10_000 });
    const abort = new AbortController();
    const limits = { latency: milliseconds(1900), energy: undefined };
    link.jobs[0]?.tokens('x');
    link.jobs[0]?.done();
    const request = dispatcher.accept({ ...prompt, limits }, abort.signal);
    const said = read(request);
    clock.advance(300);
    abort.abort();
    expect(await said).toBe('[a]job.cancelled');
    expect(link.cancelled.map(({ device }) => device)).toEqual(['a', 'b']);
    expect(request.record().attempts.map(({ outcome }) => outcome)).toEqual(['job.cancelled', 'job.cancelled']);
  });

  it.each<[string, Partial<DispatchConfig>, { latencyMs?: number; energyJ?: number }]>([
    ['there is time', {}, { latencyMs: 3000 }],
    ['a second job would need more joules than it may', {}, { energyJ: 9 }],
    ['no other device can be in time', {}, { latencyMs: 1250 }],
    ['the fleet has no allowance left', { hedgeShare: 0.05 }, {}],
    ['it is switched off', { hedgeShare: 0 }, {}],
  ])('is not asked of a second device where %s', async (_why, config, limits) => {
    const { clock, dispatcher, link } = world(config, limits);
    link.jobs[0]?.accepted();
    clock.advance(1000);
    await settle();
    expect(link.jobs).toHaveLength(1);
    expect(dispatcher.stats.hedged).toBe(0);
  });
});
