import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { crowdingDistances, dominates, frontsOf, hypervolume, paretoFront } from './pareto.js';

const objectives = fc.array(fc.integer({ min: 0, max: 8 }), { minLength: 3, maxLength: 3 });
const point = fc.record({ objectives, violation: fc.constantFrom(0, 0, 0, 1, 2) });
const points = fc.array(point, { minLength: 1, maxLength: 20 });

describe('domination', () => {
  it('puts every point into one front, and nothing above a point that dominates it', () => {
    fc.assert(
      fc.property(points, (all) => {
        const fronts = frontsOf(all);
        expect(fronts.flat()).toHaveLength(all.length);
        for (const [i, front] of fronts.entries()) {
          const later = fronts.slice(i).flat();
          for (const one of front) expect(later.some((other) => dominates(other, one))).toBe(false);
          for (const one of fronts[i + 1] ?? []) expect(front.some((other) => dominates(other, one))).toBe(true);
        }
      }),
    );
  });

  it('prefers what breaks no constraint, then what breaks them less', () => {
    expect(dominates({ objectives: [9], violation: 0 }, { objectives: [1], violation: 0.1 })).toBe(true);
    expect(dominates({ objectives: [9], violation: 0.1 }, { objectives: [1], violation: 0.2 })).toBe(true);
    expect(dominates({ objectives: [1], violation: 0 }, { objectives: [1], violation: 0 })).toBe(false);
  });

  it('offers neither infeasible points nor one twice', () => {
    const same = { objectives: [1, 1], violation: 0 };
    expect(paretoFront([same, { ...same }, { objectives: [0, 0], violation: 1 }])).toEqual([same]);
    expect(paretoFront([same, { ...same }])[0]).toBe(same);
  });

  it('gives the ends of a front an infinite distance and equal neighbours none', () => {
    const front = [0, 1, 1, 1, 4].map((x) => ({ objectives: [x, 4 - x], violation: 0 }));
    expect(crowdingDistances(front)).toEqual([Infinity, 1, 0, 1, Infinity]);
  });
});

describe('hypervolume', () => {
  it('counts the cells of a grid that are dominated', () => {
    fc.assert(
      fc.property(fc.array(objectives, { maxLength: 8 }), (front) => {
        let cells = 0;
        for (let x = 0; x < 8; x++)
          for (let y = 0; y < 8; y++)
            for (let z = 0; z < 8; z++) {
              if (front.some(([a = 9, b = 9, c = 9]) => a <= x && b <= y && c <= z)) cells++;
            }
        expect(hypervolume(front, [8, 8, 8])).toBe(cells);
      }),
    );
  });
});
