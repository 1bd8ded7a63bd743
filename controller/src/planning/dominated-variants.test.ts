import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { ProblemArc } from '../optimiser/problem.js';
import { dominatedVariants, type OfferedVariant } from './dominated-variants.js';

const variant = (memoryBytes: number, parts: Partial<OfferedVariant> = {}): OfferedVariant => ({
  expertId: 'moe',
  memoryBytes,
  isPlaced: false,
  ...parts,
});
const arc = (v: number, quality: number, energy: number, parts: Partial<ProblemArc> = {}): ProblemArc => ({
  d: 0,
  v,
  k: 0,
  quality,
  energy_J: energy,
  service_s: energy,
  latency_s: energy,
  ...parts,
});

describe('dominatedVariants', () => {
  it('finds what a sibling beats in memory, quality, speed and energy', () => {
    const arcs = [arc(0, 0.5, 1), arc(1, 0.5, 2), arc(2, 0.6, 3)];
    expect([...dominatedVariants([variant(10), variant(20), variant(30)], arcs)]).toEqual([1]);
  });

  it('keeps what is placed, what is another expert, and one of two equals', () => {
    const arcs = [arc(0, 0.5, 1), arc(1, 0.4, 2)];
    expect([...dominatedVariants([variant(10), variant(20, { isPlaced: true })], arcs)]).toEqual([]);
    expect([...dominatedVariants([variant(10), variant(20, { expertId: 'other' })], arcs)]).toEqual([]);
    expect([...dominatedVariants([variant(10), variant(10)], [arc(0, 0.5, 1), arc(1, 0.5, 1)])]).toEqual([1]);
  });

  it('keeps the only one that a device can host', () => {
    const arcs = [arc(0, 0.5, 1), arc(1, 0.4, 2, { d: 0 }), arc(1, 0.4, 2, { d: 1 })];
    expect([...dominatedVariants([variant(10), variant(20)], arcs)]).toEqual([]);
  });

  it('leaves out only what a variant that stays could do as well', () => {
    const some = fc.array(fc.record({ v: fc.nat(3), d: fc.nat(1), k: fc.nat(1), q: fc.nat(3), e: fc.nat(3) }), {
      maxLength: 30,
    });
    fc.assert(
      fc.property(fc.array(fc.nat(3), { minLength: 4, maxLength: 4 }), some, (memories, made) => {
        const unique = new Map(made.map((one) => [`${one.v} ${one.d} ${one.k}`, one]));
        const arcs = [...unique.values()].map(({ v, d, k, q, e }) => arc(v, q / 3, e, { d, k }));
        const variants = memories.map((memory) => variant(memory));
        const dominated = dominatedVariants(variants, arcs);
        for (const left of arcs.filter(({ v }) => dominated.has(v))) {
          const stays = arcs.some(
            ({ v, d, k, quality, energy_J }) =>
              !dominated.has(v) &&
              d === left.d &&
              k === left.k &&
              quality >= left.quality &&
              energy_J <= left.energy_J &&
              (memories[v] ?? 0) <= (memories[left.v] ?? 0),
          );
          expect(stays).toBe(true);
        }
      }),
    );
  });
});
