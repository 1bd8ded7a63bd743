import { describe, expect, it } from 'vitest';
import fc from 'fast-check';

import { arcFaults } from './arc-faults.js';
import { problemArcSchema } from './problem.js';

const arc = { d: 0, v: 1, k: 2, quality: 0.5, service_s: 0.1, energy_J: 0, latency_s: 0 };

describe('arcFaults', () => {
  it.each([
    [{ ...arc, service_s: -3 }, 'arcs.1.service_s: expected a number from 1e-12 to 1e12, got -3'],
    [{ ...arc, service_s: 0 }, 'arcs.1.service_s: expected a number from 1e-12 to 1e12, got 0'],
    [{ ...arc, d: 1.5 }, 'arcs.1.d: expected a whole number from 0, got 1.5'],
    [{ ...arc, k: undefined }, 'arcs.1.k: expected a whole number from 0, got nothing'],
    [{ ...arc, quality: null }, 'arcs.1.quality: expected a number from -1000 to 1000, got null'],
    [{ ...arc, latency_s: '2' }, 'arcs.1.latency_s: expected a number from 0 to 1e12, got "2"'],
    [{ ...arc, energy_J: Infinity }, 'arcs.1.energy_J: expected a number from 0 to 1e12, got Infinity'],
    [{ ...arc, p95_s: -1 }, 'arcs.1.p95_s: expected a number from 0 to 1e12, got -1'],
    [{ ...arc, energy_J: 1e308 }, 'arcs.1.energy_J: expected a number from 0 to 1e12, got 1e308'],
    [{ ...arc, quality: 84_670 }, 'arcs.1.quality: expected a number from -1000 to 1000, got 84670'],
    [null, 'arcs.1: expected an object, got null'],
    [[0, 1, 2], 'arcs.1: expected an object, got a list of 3'],
  ])('names the field of %j', (broken, text) => {
    expect(arcFaults([arc, broken, { ...arc, m: 0, p95_s: 3 }])).toEqual({ texts: [text], count: 1 });
  });

  it('lists eight faults and counts the rest', () => {
    const { texts, count } = arcFaults(Array.from({ length: 20 }, () => ({ ...arc, v: -1 })));
    expect([texts.length, count]).toEqual([8, 20]);
    expect(arcFaults({}).texts).toEqual(['arcs: expected a list, got an object']);
    expect(arcFaults(undefined).texts).toEqual(['arcs: expected a list, got nothing']);
  });

  it('shows what is nested a hundred thousand deep as an object', () => {
    const deep: unknown = JSON.parse(`${'{"a":'.repeat(1e5)}1${'}'.repeat(1e5)}`);
    expect(arcFaults(deep).texts).toEqual(['arcs: expected a list, got an object']);
  });

  it('accepts what the schema accepts, and nothing else', () => {
    const value = fc.oneof(
      { weight: 3, arbitrary: fc.nat(3) },
      fc.double(),
      fc.constantFrom(undefined, null, '1', true, -1, 1e300, 1e-300, 1e12, 1000, 2 ** 53),
    );
    const record = fc.record(
      {
        d: value,
        v: value,
        k: value,
        m: value,
        quality: value,
        service_s: value,
        energy_J: value,
        latency_s: value,
        p95_s: value,
        other: value,
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(
        fc.oneof(
          record.map((changes) => ({ ...arc, ...changes })),
          record,
          value,
        ),
        (one) => {
          expect(arcFaults([one]).count === 0).toBe(problemArcSchema.safeParse(one).success);
        },
      ),
    );
  });
});
