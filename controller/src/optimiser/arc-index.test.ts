import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { tinyFeaturedProblem } from '../../../test/fixtures/instances/tiny-problem.js';
import { ArcIndex } from './arc-index.js';
import type { PlacementProblem } from './problem.js';

const shuffled = (problem: PlacementProblem, seed: readonly number[]): PlacementProblem => ({
  ...problem,
  arcs: problem.arcs
    .map((arc, i) => ({ arc, at: seed[i % seed.length] ?? 0 }))
    .sort((a, b) => a.at - b.at)
    .map(({ arc }) => arc),
});

describe('ArcIndex', () => {
  it('finds what is given, whatever the order, and nothing else', () => {
    fc.assert(
      fc.property(tinyFeaturedProblem, fc.array(fc.nat(), { minLength: 1, maxLength: 30 }), (problem, seed) => {
        const index = new ArcIndex(shuffled(problem, seed));
        for (let d = 0; d < problem.devices.length; d++) {
          if (problem.devices[d]?.like !== undefined) continue;
          const own = problem.arcs.filter((arc) => arc.d === d);
          expect(new Set(index.of(d))).toEqual(new Set(own));
          for (const arc of own) expect(index.find(d, arc.v, arc.k, arc.m)).toEqual(arc);
          for (let v = 0; v < 4; v++) expect(index.ofPair(d, v)).toEqual(index.of(d).filter((arc) => arc.v === v));
        }
        expect(index.find(99, 0, 0)).toBeUndefined();
        expect(index.find(0, 99, 0)).toBeUndefined();
        expect(index.find(0, 0, 0, 7)).toBeUndefined();
      }),
      { numRuns: 100, seed: 20260906 },
    );
  });

  it('gives a device that is like another that one’s arcs, scaled', () => {
    const fleet = smallFleet();
    const [first, last] = fleet.devices;
    if (first === undefined || last === undefined) throw new Error('no devices');
    const index = new ArcIndex({
      ...fleet,
      devices: [first, { ...last, like: { d: 0, slowness: 2, hunger: 3 } }],
      arcs: fleet.arcs.filter(({ d }) => d === 0),
    });
    const scaled = { d: 1, v: 0, k: 1, quality: 0.9, service_s: 0.4, energy_J: 6, latency_s: 1.2, p95_s: 2.4 };
    expect(index.template(1)).toBe(0);
    expect(index.find(1, 0, 1)).toEqual(scaled);
    expect(index.of(1)[1]).toEqual(scaled);
    expect(index.ofPair(1, 0)[1]).toEqual(scaled);
  });
});
