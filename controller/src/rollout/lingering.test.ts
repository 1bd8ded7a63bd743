import { type DeviceId, deviceId, planId, type VariantId, variantId } from '@fleetgate/shared/ids';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';
import type { Desired, Residency } from '@fleetgate/shared/protocol/twin';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { aRegisteredExpert, FACTS } from '../catalogue/expert.fixture.js';
import { ExpertRegistry } from '../catalogue/expert-registry.js';
import { aDevice, aReported } from '../fleet/device.fixture.js';
import type { Device, FleetSnapshot } from '../fleet/device.js';
import { leftCopies, lingering, type Placements } from './lingering.js';

const SIZES = { code: 1e9, math: 2e9, story: 3e9 } as const;
type Name = keyof typeof SIZES;
const catalogue = new ExpertRegistry();
for (const [name, memoryBytes] of Object.entries(SIZES)) {
  catalogue.add(aRegisteredExpert(name, { facts: { ...FACTS, memoryBytes } }));
}
const id = (name: string): VariantId => variantId(`${name}-q8_0`);

interface Spec {
  readonly name: string;
  readonly told?: readonly Name[];
  readonly says?: Partial<Record<Name, Residency>>;
  readonly presence?: Device['presence'];
  readonly slots?: number;
  readonly budgetBytes?: number;
}

function device({ name, told = [], says = {}, presence = 'online', slots = 4, budgetBytes = 4e9 }: Spec): Device {
  const desired: Desired = {
    v: PROTOCOL_VERSION,
    generation: 1,
    planId: planId('plan-0'),
    state: 'active',
    telemetry: { sampleMs: 1000, batchMs: 5000 },
    variants: told.map((one) => ({
      variantId: id(one),
      purpose: 'serve',
      sha256: '0'.repeat(64),
      sizeBytes: 1,
      contextTokens: 512,
      stop: [],
    })),
  };
  const variants = Object.entries(says).map(([one, residency]) => ({ variantId: id(one), residency }));
  const reported = aReported({ slots, memory: { budgetBytes, usedBytes: 0 }, variants });
  return aDevice({ id: deviceId(name), presence, desired, reported });
}
const fleetOf = (...specs: readonly Spec[]): FleetSnapshot =>
  new Map(specs.map((spec) => [deviceId(spec.name), device(spec)]));
const planOf = (placements: Readonly<Record<string, readonly Name[]>>): Placements =>
  new Map(Object.entries(placements).map(([name, variants]) => [deviceId(name), new Set(variants.map(id))]));
const decided = (fleet: FleetSnapshot, placements: Placements): Placements =>
  lingering(leftCopies({ fleet, placements }), { fleet, placements, catalogue });
const shown = (placements: Placements): string[] =>
  [...placements].flatMap(([one, variants]) => [...variants].map((variant) => `${one} ${variant}`));

const HAS_MATH: Spec = { name: 'a', told: ['math'], says: { math: 'resident' } };

describe('a copy that the plan leaves behind', () => {
  it('lingers until a device that is to have it has it', () => {
    const plan = planOf({ b: ['math'] });
    expect(shown(decided(fleetOf(HAS_MATH, { name: 'b', says: { math: 'fetching' } }), plan))).toEqual(['a math-q8_0']);
    expect(decided(fleetOf(HAS_MATH, { name: 'b', says: { math: 'resident' } }), plan).size).toBe(0);
  });

  it('waits on for a copy on a device that is away', () => {
    const away: Spec = { name: 'b', says: { math: 'resident' }, presence: 'offline' };
    expect(decided(fleetOf(HAS_MATH, away), planOf({ b: ['math'] })).size).toBe(1);
  });

  it('goes, where it is placed nowhere, when the plan serves without it', () => {
    const plan = planOf({ a: ['code'], b: ['code'] });
    const loading: Spec = { ...HAS_MATH, says: { math: 'resident', code: 'loading' } };
    const loaded: Spec = { ...HAS_MATH, says: { math: 'resident', code: 'resident' } };
    const b = (residency: Residency): Spec => ({ name: 'b', says: { code: residency } });
    expect(decided(fleetOf(loading, b('resident')), plan).size).toBe(1);
    expect(decided(fleetOf(loaded, b('loading')), plan).size).toBe(0);
    // A device that goes to standby serves on until others do.
    expect(decided(fleetOf(HAS_MATH, b('loading')), planOf({ b: ['code'] })).size).toBe(1);
    expect(decided(fleetOf(HAS_MATH, b('resident')), planOf({ b: ['code'] })).size).toBe(0);
    expect(decided(fleetOf(HAS_MATH, b('failed')), planOf({ b: ['code'] })).size).toBe(0);
  });

  it('goes at once where it does not fit beside what is placed, by memory or by slots', () => {
    const fleet = (more: Partial<Spec>): FleetSnapshot => fleetOf({ ...HAS_MATH, ...more }, { name: 'b' });
    const plan = planOf({ a: ['story'], b: ['math'] });
    expect(decided(fleet({ budgetBytes: 5e9 }), plan).size).toBe(1);
    expect(decided(fleet({ budgetBytes: 4.9e9 }), plan).size).toBe(0);
    expect(decided(fleet({ budgetBytes: 5e9, slots: 1 }), plan).size).toBe(0);
  });

  it('makes room for one that is placed elsewhere where not both fit', () => {
    const both: Spec = { name: 'a', told: ['code', 'math'], says: { code: 'resident', math: 'resident' }, slots: 1 };
    expect(shown(decided(fleetOf(both, { name: 'b' }), planOf({ b: ['math'] })))).toEqual(['a math-q8_0']);
  });

  it('is one that was to serve and is there: neither what is measured nor what is still loading', () => {
    const plan = planOf({ b: ['math'] });
    expect(decided(fleetOf({ ...HAS_MATH, told: [] }, { name: 'b' }), plan).size).toBe(0);
    expect(decided(fleetOf({ ...HAS_MATH, says: { math: 'loading' } }, { name: 'b' }), plan).size).toBe(0);
  });
});

describe('what lingers in any fleet', () => {
  const names = Object.keys(SIZES) as Name[];
  const aResidency = fc.constantFrom<Residency>('absent', 'fetching', 'loading', 'resident', 'failed');
  const aSpec = fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd'),
    told: fc.subarray(names),
    says: fc.dictionary(fc.constantFrom(...names), aResidency),
    presence: fc.constantFrom('online' as const, 'offline' as const),
    slots: fc.integer({ min: 1, max: 3 }),
    budgetBytes: fc.integer({ min: 1e9, max: 6e9 }),
  });
  const aFleet = fc
    .uniqueArray(aSpec, { selector: ({ name }) => name, minLength: 1 })
    .map((specs) => fleetOf(...(specs as readonly Spec[])));
  const aPlan = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.subarray(names)).map(planOf);
  const says = (fleet: FleetSnapshot, one: DeviceId, variant: VariantId): Residency | undefined =>
    fleet.get(one)?.reported?.variants.find((said) => said.variantId === variant)?.residency;
  const serves = (fleet: FleetSnapshot, one: DeviceId, variant: VariantId): boolean =>
    fleet.get(one)?.presence === 'online' && says(fleet, one, variant) === 'resident';

  it('was served and is there, is not placed there, and fits beside what is', () => {
    fc.assert(
      fc.property(aFleet, aPlan, (fleet, plan) => {
        for (const [one, variants] of decided(fleet, plan)) {
          const { desired, reported } = fleet.get(one) ?? {};
          const all = [...(plan.get(one) ?? []), ...variants];
          const bytes = all.reduce(
            (sum, variant) => sum + (catalogue.variants.get(variant)?.facts.memoryBytes ?? 0),
            0,
          );
          expect(bytes).toBeLessThanOrEqual(reported?.memory.budgetBytes ?? 0);
          expect(all.length).toBeLessThanOrEqual(reported?.slots ?? 0);
          expect(new Set(all).size).toBe(all.length);
          for (const variant of variants) {
            expect(says(fleet, one, variant)).toBe('resident');
            expect(desired?.variants.some(({ variantId: told }) => told === variant)).toBe(true);
          }
        }
      }),
    );
  });

  it('leaves no variant of the plan without a copy that could have stayed', () => {
    fc.assert(
      fc.property(aFleet, aPlan, (fleet, plan) => {
        const kept = decided(fleet, plan);
        const planned = new Set([...plan.values()].flatMap((variants) => [...variants]));
        for (const { deviceId: one, variantId: variant } of leftCopies({ fleet, placements: plan })) {
          const { reported } = fleet.get(one) ?? {};
          const beside = [...(plan.get(one) ?? [])];
          const others = leftCopies({ fleet, placements: plan }).filter((copy) => copy.deviceId === one);
          const bytes = [...beside, ...others.map((copy) => copy.variantId)].reduce(
            (sum, each) => sum + (catalogue.variants.get(each)?.facts.memoryBytes ?? 0),
            0,
          );
          const hasRoom =
            bytes <= (reported?.memory.budgetBytes ?? 0) && beside.length + others.length <= (reported?.slots ?? 0);
          const isTakenOver = [...plan].some(([host, there]) => there.has(variant) && serves(fleet, host, variant));
          if (planned.has(variant) && hasRoom) expect(kept.get(one)?.has(variant) === true).toBe(!isTakenOver);
        }
      }),
    );
  });

  it('is nothing once all of the plan is there', () => {
    fc.assert(
      fc.property(aFleet, aPlan, (fleet, plan) => {
        const settled: FleetSnapshot = new Map(
          [...fleet.values()].map((one) => {
            const placed = [...(plan.get(one.id) ?? [])];
            const said = (one.reported?.variants ?? []).filter((variant) => !placed.includes(variant.variantId));
            const there = placed.map((variant) => ({ variantId: variant, residency: 'resident' as const }));
            return [
              one.id,
              { ...one, presence: 'online' as const, reported: aReported({ variants: [...said, ...there] }) },
            ];
          }),
        );
        const known = new Map([...plan].filter(([one]) => settled.has(one)));
        expect(decided(settled, known).size).toBe(0);
      }),
    );
  });
});
