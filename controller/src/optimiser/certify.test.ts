import { describe, expect, it } from 'vitest';

import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { certify } from './certify.js';
import { buildExactModel } from './exact-model.js';
import type { SearchNode } from './search-tree.js';

const { program, arcs, shares } = buildExactModel(smallFleet());
const rowOf = (name: string) => program.rowNames.indexOf(name);
const alone = (name: string, value: number) => program.rowNames.map((_, i) => (i === rowOf(name) ? value : 0));

/** Class 0 is not served at all. */
const ranges = new Map(
  arcs.flatMap(({ k }, i) => {
    const column = shares[i] ?? -1;
    return k === 0 ? [[column, { column, lower: 0, upper: 0 }] as const] : [];
  }),
);

/** A part that is empty by the ray of its demand floor, split from one that the power budget's price bounds. */
function certified(sum: number, duals: 'known' | 'unknown' = 'known') {
  const ray = Float64Array.from(alone('floor:0', -1));
  const proof = { ray, duals: duals === 'known' ? Float64Array.from(alone('power', 3)) : undefined };
  const root: SearchNode = { ranges, bound: -Infinity, proof, split: undefined, graft: undefined };
  return certify({ root, program }, { pools: [0, 1], capacityOf: () => 0.7, emptySum: () => sum })?.tree;
}

describe('the certificate of an empty part', () => {
  it('is as deep for the checker, which knows fewer bounds, as for the program', () => {
    const floor = (sum: number) => {
      const node = certified(sum);
      return node !== undefined && 'empty' in node ? (node.empty['floor:0'] ?? 0) : NaN;
    };
    const asDeep = floor(-1);
    expect(asDeep).toBeGreaterThan(0);
    expect(floor(-0.25)).toBeCloseTo(4 * asDeep, 9);
    expect(floor(-7)).toBe(asDeep);
    expect(floor(-Infinity)).toBe(asDeep);
  });

  it('is that of the part above it where the checker sees nothing that is beyond rounding', () => {
    for (const sum of [0, 1, -1e-6]) expect(certified(sum)).toEqual({ prices: { power: 3 } });
  });

  it('is left to the checker to refuse where there is no part above it', () => {
    expect(certified(0, 'unknown')).toHaveProperty('empty');
  });
});
