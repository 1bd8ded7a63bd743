import { deviceId, planId, variantId } from '@fleetgate/shared/ids';
import type { Measurement } from '@fleetgate/shared/protocol/twin';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { aRegisteredExpert, aVariant, FACTS } from '../catalogue/expert.fixture.js';
import { ExpertRegistry } from '../catalogue/expert-registry.js';
import { aDevice, aReported } from '../fleet/device.fixture.js';
import type { Device } from '../fleet/device.js';
import { measuring, nextDesired, type PlannedResidency } from './desired.js';

const settings = { telemetry: { sampleMs: 1000, batchMs: 5000 } };
const catalogue = new ExpertRegistry();
for (const name of ['code', 'math', 'story']) catalogue.add(aRegisteredExpert(name));
catalogue.add(aRegisteredExpert('huge', { sizeBytes: 5e9 }));
catalogue.add(aRegisteredExpert('hungry', { facts: { ...FACTS, memoryBytes: 1e12 } }));

const measurement = (name: string): Measurement => ({
  variantId: variantId(`${name}-q8_0`),
  sha256: aVariant(name).sha256,
  prefillTokensPerS: 1000,
  decodeTokensPerS: 100,
  relativeSd: 0.1,
  prefillJPerToken: 0.01,
  decodeJPerToken: 0.1,
  energySource: 'modelled',
  overheadMs: 1,
  loadMs: 10,
  memoryBytes: 1e6,
  measuredAtMs: 1,
});
const device = (name: string, measured: readonly string[] = [], parts: Partial<Device> = {}): Device =>
  aDevice({ id: deviceId(name), reported: aReported({ measurements: measured.map(measurement) }), ...parts });
const plan = (placements: Readonly<Record<string, readonly string[]>>): PlannedResidency => ({
  planId: planId('plan-1'),
  placements: new Map(
    Object.entries(placements).map(([id, names]) => [
      deviceId(id),
      new Set(names.map((name) => variantId(`${name}-q8_0`))),
    ]),
  ),
  poweredOn: new Set(Object.keys(placements).map(deviceId)),
});
const names = (asked: ReadonlyMap<string, readonly { readonly id: string }[]>, id: string): readonly string[] =>
  (asked.get(deviceId(id)) ?? []).map((variant) => variant.id.replace('-q8_0', ''));
/** The device with the next document, as if it had been published. */
const told = (of: Device, active: PlannedResidency | undefined, fleet: readonly Device[] = [of]): Device => {
  const desired = nextDesired(of, active, measuring(fleet, catalogue).get(of.id) ?? [], catalogue, settings);
  return desired === undefined ? of : { ...of, desired };
};
const failing = (of: Device, name: string): Device => ({
  ...of,
  reported: aReported({
    ...of.reported,
    variants: [{ variantId: variantId(`${name}-q8_0`), residency: 'failed' }],
  }),
});

describe('measuring', () => {
  it('asks for what was not measured yet, fits, and is small enough to be fetched for that alone', () => {
    expect(names(measuring([device('pi', ['math'])], catalogue), 'pi')).toEqual(['code', 'story']);
  });

  it('measures again when the file is another', () => {
    const changed = new ExpertRegistry();
    changed.add(aRegisteredExpert('math', { sha256: 'f'.repeat(64) }));
    expect(names(measuring([device('pi', ['math'])], changed), 'pi')).toEqual(['math']);
  });

  it('lets one device of a machine measure at a time: who has begun, else the first by name', () => {
    expect([...measuring([device('b'), device('a')], catalogue).keys()]).toEqual(['a']);
    expect([...measuring([told(device('b'), undefined), device('a')], catalogue).keys()]).toEqual(['b']);
    const elsewhere = aReported({ host: { ...aReported().host, id: 'host-2' } });
    expect([...measuring([device('a'), device('b', [], { reported: elsewhere })], catalogue).keys()]).toEqual([
      'a',
      'b',
    ]);
  });

  it('keeps the list whole until all of it is done', () => {
    const begun = told(device('pi'), undefined);
    const half = { ...begun, reported: aReported({ measurements: [measurement('code')] }) };
    expect(names(measuring([half], catalogue), 'pi')).toEqual(['code', 'math', 'story']);
    const done = { ...begun, reported: aReported({ measurements: ['code', 'math', 'story'].map(measurement) }) };
    expect(measuring([done], catalogue).size).toBe(0);
  });

  it('goes on to the next device when one cannot measure some, and does not stop asking it', () => {
    const begun = failing(told(device('a', ['code', 'math']), undefined), 'story');
    const asked = measuring([begun, device('b')], catalogue);
    expect([names(asked, 'a'), names(asked, 'b')]).toEqual([['story'], ['code', 'math', 'story']]);
  });

  it('gives the turn of a device that is away to the next, and leaves its list as it is', () => {
    const away = { ...told(device('a'), undefined), presence: 'offline' as const };
    const asked = measuring([away, device('b')], catalogue);
    expect([names(asked, 'a').length, names(asked, 'b').length]).toEqual([3, 3]);
  });
});

describe('nextDesired', () => {
  it('serves what is placed and measures the rest, sorted, with stops and digests', () => {
    const desired = told(device('pi'), plan({ pi: ['story'] })).desired;
    expect(desired?.variants.map(({ variantId: id, purpose }) => [id, purpose])).toEqual([
      ['code-q8_0', 'measure'],
      ['math-q8_0', 'measure'],
      ['story-q8_0', 'serve'],
    ]);
    expect(desired).toMatchObject({ generation: 1, planId: 'plan-1', state: 'active' });
    expect(desired?.variants[0]).toMatchObject({ stop: ['\nQuestion:'], contextTokens: 512 });
  });

  it('has what is placed come first, then what lingers, then what the plan can do without', () => {
    const measured = device('pi', ['code', 'math', 'story']);
    const copies = (name: string) => new Map([[deviceId('pi'), new Set([variantId(`${name}-q8_0`)])]]);
    const active = { ...plan({ pi: ['code', 'math', 'story'] }), spare: copies('code'), lingering: copies('math') };
    expect(told(measured, active).desired?.variants.map(({ variantId: id }) => id)).toEqual([
      'story-q8_0',
      'math-q8_0',
      'code-q8_0',
    ]);
  });

  it('sends to standby what a plan does not need, but not before it has measured', () => {
    expect(told(device('pi'), plan({ other: ['math'] })).desired?.state).toBe('active');
    const measured = device('pi', ['code', 'math', 'story']);
    expect(told(measured, plan({ other: ['math'] })).desired).toMatchObject({ state: 'standby', variants: [] });
    expect(told(measured, undefined).desired?.state).toBe('active');
  });

  it('speaks past what a device has seen of an earlier database', () => {
    const seen = device('pi', [], { reported: aReported({ observedGeneration: 41 }) });
    expect(told(seen, undefined).desired?.generation).toBe(42);
  });

  it('says nothing of a variant that is no longer in the catalogue', () => {
    const measured = device('pi', ['code', 'math', 'story']);
    expect(told(measured, plan({ pi: ['gone', 'math'] })).desired?.variants).toHaveLength(1);
  });
});

describe('the desired documents of any fleet', () => {
  const experts = ['code', 'math', 'story'];
  const aFleet = fc.uniqueArray(
    fc.record({
      id: fc.constantFrom('a', 'b', 'c', 'd'),
      host: fc.constantFrom('h1', 'h2'),
      measured: fc.subarray(experts),
      failed: fc.option(fc.constantFrom(...experts), { nil: undefined }),
      presence: fc.constantFrom('online' as const, 'offline' as const, 'never-seen' as const),
      engine: fc.constantFrom('ready' as const, 'restarting' as const, 'down' as const),
      silent: fc.boolean(),
    }),
    { selector: ({ id }) => id, minLength: 1 },
  );
  const aPlan = fc.option(fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.subarray(experts)), { nil: undefined });
  const fleetOf = (specs: typeof aFleet extends fc.Arbitrary<infer Specs> ? Specs : never): Device[] =>
    specs.map(({ id, host, measured, failed, presence, engine, silent }) => {
      const reported = aReported({
        measurements: measured.map(measurement),
        host: { ...aReported().host, id: host },
        engine: { kind: 'llama', version: '1', state: engine },
      });
      const one = device(id, [], { presence, reported: silent ? undefined : reported });
      return failed === undefined || silent ? one : failing(one, failed);
    });
  const round = (fleet: readonly Device[], active: PlannedResidency | undefined): Device[] => {
    const asked = measuring(fleet, catalogue);
    return fleet.map((one) => {
      const desired = nextDesired(one, active, asked.get(one.id) ?? [], catalogue, settings);
      return desired === undefined ? one : { ...one, desired };
    });
  };

  it('come to rest: when devices say nothing new, nothing is published any more', () => {
    fc.assert(
      fc.property(aFleet, aPlan, (specs, placements) => {
        const active = placements === undefined ? undefined : plan(placements);
        let fleet = fleetOf(specs);
        for (let turn = 0; turn < 3 * fleet.length; turn += 1) fleet = round(fleet, active);
        expect(round(fleet, active)).toEqual(fleet);
      }),
    );
  });

  it('grow their generation by one per change, and never let two devices of a machine measure at once', () => {
    fc.assert(
      fc.property(aFleet, fc.array(aPlan, { maxLength: 4 }), (specs, plans) => {
        let fleet = fleetOf(specs);
        for (const placements of plans) {
          const next = round(fleet, placements === undefined ? undefined : plan(placements));
          for (const [at, one] of next.entries()) {
            const before = fleet[at]?.desired;
            if (one.desired !== before) expect(one.desired?.generation).toBe((before?.generation ?? 0) + 1);
          }
          fleet = next;
          const open = fleet.filter(
            ({ presence, reported, desired }) =>
              presence === 'online' &&
              reported?.engine.state !== 'down' &&
              desired?.variants.some(
                ({ purpose, sha256, variantId: id }) =>
                  purpose === 'measure' &&
                  !reported?.measurements.some((done) => done.sha256 === sha256) &&
                  !reported?.variants.some((said) => said.variantId === id && said.residency === 'failed'),
              ),
          );
          const hosts = open.map(({ reported }) => reported?.host.id);
          expect(new Set(hosts).size).toBe(hosts.length);
        }
      }),
    );
  });
});
