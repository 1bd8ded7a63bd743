import { readFileSync } from 'node:fs';

import fc from 'fast-check';
import { z } from 'zod';

import { CONSTRAINT_GROUPS } from './plan.js';
import { type PlacementProblem, placementProblemSchema } from './problem.js';

const expectedSchema = z.object({
  expected: z.object({
    status: z.string(),
    objective: z.number().nullable(),
    relTolerance: z.number().default(1e-5),
    conflict: z.array(z.enum(CONSTRAINT_GROUPS)).optional(),
    repairBySingleGroup: z.array(z.enum(CONSTRAINT_GROUPS)).optional(),
    subset: z.array(z.number()).optional(),
  }),
});

/** A reference instance with its proven answer. */
export function referenceDocument(name: string) {
  const text = readFileSync(new URL(`../../../test/fixtures/instances/${name}.json`, import.meta.url), 'utf8');
  const document = JSON.parse(text) as unknown;
  return { document, expected: expectedSchema.parse(document).expected };
}

export function referenceProblem(name: string) {
  const { document, expected } = referenceDocument(name);
  return { problem: placementProblemSchema.parse(document), expected };
}

const between = (min: number, max: number) =>
  fc.integer({ min: Math.round(min * 1000), max: Math.round(max * 1000) }).map((n) => n / 1000);

/** Tiny random fleets: up to 3 devices, 3 variants, 3 classes, every kind of bound sometimes tight, sometimes not. */
export const tinyProblem: fc.Arbitrary<PlacementProblem> = fc
  .record({
    devices: fc.array(
      fc.record({
        memGiB: between(1, 4),
        slots: fc.integer({ min: 1, max: 2 }),
        idleW: between(0.5, 6),
        powerCapW: fc.option(between(3, 15), { nil: null, freq: 2 }),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    variants: fc.array(between(0.3, 3), { minLength: 1, maxLength: 3 }),
    classes: fc.array(
      fc.record({
        rate: fc.oneof(fc.constant(0), between(0.01, 1.2)),
        weight: between(0.2, 2),
        sloMean_s: between(0.5, 6),
        minServed: fc.constantFrom(0, 0, 0.5, 0.9),
        minReplicas: fc.constantFrom(0, 1, 1, 2),
        maxEnergy_J: fc.option(between(2, 15), { nil: null }),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    cells: fc.array(
      fc.record({ quality: between(0.1, 1), service: between(0.1, 3), watts: between(1, 8), isThere: fc.boolean() }),
      {
        minLength: 27,
        maxLength: 27,
      },
    ),
    powerW: between(2, 30),
    maxVariants: fc.option(fc.integer({ min: 1, max: 3 }), { nil: null }),
    moveGiB: fc.option(between(0, 6), { nil: null }),
    current: fc.array(fc.tuple(fc.nat(2), fc.nat(2)), { maxLength: 3 }),
    movePenaltyPerGiB: fc.constantFrom(0, 0, 3),
  })
  .map((seed) => ({
    schema: 'fleet-opt/1' as const,
    kind: 'fleet' as const,
    name: 'tiny',
    classes: seed.classes.map((each, k) => ({ id: `c${k}`, ...each })),
    variants: seed.variants.map((memGiB, v) => ({ id: `v${v}`, memGiB })),
    devices: seed.devices.map((device, d) => ({ id: `d${d}`, maxUtil: 0.7, ...device })),
    arcs: seed.cells.flatMap(({ quality, service, watts, isThere }, i) => {
      const [d, v, k] = [Math.floor(i / 9), Math.floor(i / 3) % 3, i % 3];
      if (!isThere || d >= seed.devices.length || v >= seed.variants.length || k >= seed.classes.length) return [];
      return [{ d, v, k, quality, service_s: service, energy_J: watts * service, latency_s: service * 2.75 + 0.05 }];
    }),
    budgets: { powerW: seed.powerW, maxVariants: seed.maxVariants, moveGiB: seed.moveGiB },
    current: uniquePairs(seed.current.filter(([d, v]) => d < seed.devices.length && v < seed.variants.length)),
    movePenaltyPerGiB: seed.movePenaltyPerGiB,
  }));

function uniquePairs(pairs: readonly (readonly [number, number])[]): [number, number][] {
  return [...new Map(pairs.map(([d, v]) => [`${d},${v}`, [d, v] as [number, number]])).values()];
}
