import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type LayerTrace, previousTokenReuse, segmentCache, segmentRouting } from './consistency.js';
import { importanceOf, tasksNamed } from './importance.js';
import { keepPlan } from './keep-plan.js';
import { disagreement } from './mask-agreement.js';
import { npmi, reasoningNpmi } from './npmi.js';
import { ProfileCount, type SlabProfile, type TaskProfile } from './profile.js';
import { nearestPattern } from './task-patterns.js';

/** One layer of four slabs. */
const task = (frequency: readonly number[], tcess = frequency, reasoning = [0, 0, 0, 0]): TaskProfile => ({
  documents: 1,
  tokens: 100,
  reasoningTokens: 10,
  layers: [{ frequency: [...frequency], tcess: [...tcess], reasoning }],
});
const profile = (tasks: SlabProfile['tasks']): SlabProfile => ({
  schema: 'fleetgate-profile/1',
  model: { architecture: 'qwen3moe', router: 'a'.repeat(64), layers: 1, slabsPerLayer: 4, slabsPerToken: 2 },
  tasks,
});
const rules = { keep: 2, slabsPerToken: 2, groups: 1 };

describe('ProfileCount', () => {
  it('counts choices, their probability, and those of reasoning tokens', () => {
    const count = new ProfileCount(1, 4);
    const isReasoning = [false, true];
    count.routed(
      {
        layer: 0,
        tokens: 2,
        slabsPerToken: 2,
        slabs: Int32Array.of(0, 2, 2, 3),
        probabilities: Float32Array.of(0.5, 0.125, 0.25, 0.125, 0, 0.25, 0.5, 0.25),
      },
      isReasoning,
      0,
    );
    count.document(isReasoning);
    expect(count.result).toEqual({
      documents: 1,
      tokens: 2,
      reasoningTokens: 1,
      layers: [{ frequency: [1, 0, 2, 1], tcess: [0.5, 0, 0.75, 0.25], reasoning: [0, 0, 1, 1] }],
    });
  });
});

describe('importanceOf', () => {
  const two = profile({ math: task([6, 2, 2, 0], [1, 7, 1, 1]), code: task([0, 0, 5, 5], [0, 0, 1, 1]) });

  it('is the share of the choices, or of the probability where chosen', () => {
    expect(importanceOf(two, ['math'], 'frequency')).toEqual([[0.6, 0.2, 0.2, 0]]);
    expect(importanceOf(two, ['math'], 'tcess')).toEqual([[0.1, 0.7, 0.1, 0.1]]);
  });

  it('counts several tasks alike', () => {
    expect(importanceOf(two, ['math', 'code'], 'frequency')).toEqual([[0.3, 0.1, 0.35, 0.25]]);
  });

  it('mixes what the task needs with what all need', () => {
    const [mixed = []] = importanceOf(two, ['math'], 'mixed');
    expect(mixed[1]).toBeCloseTo(0.7 * 0.7 + 0.3 * 0.35);
    expect(mixed.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1);
  });

  it('draws the same at random for the same seed, and takes names apart', () => {
    expect(importanceOf(two, ['math'], 'random', 7)).toEqual(importanceOf(two, ['code'], 'random', 7));
    expect(importanceOf(two, ['math'], 'random', 7)).not.toEqual(importanceOf(two, ['math'], 'random', 8));
    expect([tasksNamed(two, 'all'), tasksNamed(two, 'code+math')]).toEqual([
      ['math', 'code'],
      ['code', 'math'],
    ]);
    expect(() => tasksNamed(two, 'math+law')).toThrow(/no task "law"/);
    expect(() => tasksNamed(two, 'toString')).toThrow(/no task/);
  });
});

describe('keepPlan', () => {
  it('keeps the most important, ties to the lower number, protected ones before all', () => {
    expect(keepPlan([[0.1, 0.4, 0.4, 0.1]], rules)).toEqual([[1, 2]]);
    expect(keepPlan([[0.25, 0.25, 0.25, 0.25]], rules)).toEqual([[0, 1]]);
    expect(keepPlan([[0.4, 0.4, 0.2, 0]], { ...rules, isProtected: (_, slab) => slab === 3 })).toEqual([[0, 3]]);
  });

  it('keeps equally many of each group', () => {
    expect(keepPlan([[0.5, 0.4, 0.1, 0]], { ...rules, groups: 2 })).toEqual([[0, 2]]);
    expect(() => keepPlan([[1, 1, 1, 1]], { ...rules, keep: 3, groups: 2 })).toThrow(
      /multiple of the model's 2 groups/,
    );
  });

  it('refuses fewer than a token uses and more than there are', () => {
    for (const keep of [1, 5, 2.5])
      expect(() => keepPlan([[1, 1, 1, 1]], { ...rules, keep })).toThrow(/expected 2 to 4/);
  });

  it('keeps as many as asked for, none less important than one left out', () => {
    const anImportance = fc.array(
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 8, maxLength: 8 }),
      {
        minLength: 1,
        maxLength: 4,
      },
    );
    fc.assert(
      fc.property(anImportance, fc.integer({ min: 2, max: 8 }), (importance, keep) => {
        for (const [l, kept] of keepPlan(importance, { ...rules, keep }).entries()) {
          const layer = importance[l] ?? [];
          expect(new Set(kept).size).toBe(keep);
          const least = Math.min(...kept.map((slab) => layer[slab] ?? NaN));
          for (const [slab, value] of layer.entries())
            if (!kept.includes(slab)) expect(value).toBeLessThanOrEqual(least);
        }
      }),
    );
  });
});

describe('npmi', () => {
  it('is 1 for events that come only together, 0 for independent ones, -1 for never together', () => {
    expect(npmi(0.1, 0.1, 0.1)).toBeCloseTo(1);
    expect(npmi(0.02, 0.1, 0.2)).toBeCloseTo(0);
    expect(npmi(0, 0.1, 0.2)).toBe(-1);
    expect(npmi(0, 0, 0.2)).toBe(0);
  });

  it('finds the slab that goes with reasoning', () => {
    const [layer = []] = reasoningNpmi([task([50, 50, 50, 10], undefined, [5, 5, 0, 10])]);
    expect(layer[3]).toBeCloseTo(1);
    expect(layer[0]).toBeCloseTo(0);
    expect(layer[2]).toBe(-1);
  });
});

describe('disagreement', () => {
  const pairs = (n: number, off: (i: number) => number) =>
    Array.from({ length: n }, (_, i) => ({ masked: 100, written: 100 * (1 + off(i)) }));

  it('lets rounding pass, and a document or two whose token went to another slab', () => {
    expect(disagreement(pairs(40, (i) => (i % 2 === 0 ? 0.0003 : -0.0003)))).toBeUndefined();
    expect(disagreement(pairs(40, (i) => (i < 2 ? 0.0023 : 0)))).toBeUndefined();
    expect(disagreement(pairs(1, () => 0.0023))).toBeUndefined();
    expect(disagreement([])).toBeUndefined();
  });

  it('tells of a document that is far off, of many that are a little, and of what is no number', () => {
    expect(disagreement(pairs(40, (i) => (i === 7 ? 0.02 : 0)))).toMatch(
      /document 7 most: 102.0000 bits, expected 100/,
    );
    expect(disagreement(pairs(40, (i) => (i % 2 === 0 ? 0.002 : -0.002)))).toMatch(/^40 documents differ by 0.20 %/);
    expect(disagreement(pairs(3, (i) => (i === 1 ? NaN : 0)))).toMatch(/document 1 most: NaN/);
  });
});

describe('nearestPattern', () => {
  it('is the one whose scores point the same way', () => {
    const patterns = [
      { task: 'math', importance: [[1, 0, 0, 0]] },
      { task: 'code', importance: [[0, 0.5, 0.5, 0]] },
    ];
    expect(nearestPattern([[0.1, 0.9, 0.8, 0]], patterns)?.pattern.task).toBe('code');
    expect(nearestPattern([[2, 0, 0, 0]], patterns)).toMatchObject({ similarity: 1 });
    expect(nearestPattern([[1, 0, 0, 0]], [])).toBeUndefined();
  });
});

describe('consistency', () => {
  const same: LayerTrace = Array.from({ length: 8 }, () => [3, 5]);
  const never: LayerTrace = [
    [0, 1],
    [2, 3],
    [4, 5],
    [6, 7],
  ];

  it('is perfect for tokens that all choose the same, and poor for tokens that share nothing', () => {
    expect(segmentRouting([same], 4)).toEqual({ srp: 1, groupSize: 2 });
    expect(segmentCache([same], 4, 2)).toBe(1);
    expect(previousTokenReuse([same])).toBe(1);
    // Any group of g slabs covers g of 8 choices: F1 = 2 g / (4 g + 8), best with all eight.
    expect(segmentRouting([never], 4).srp).toBeCloseTo(16 / 40);
    expect(segmentCache([never], 4, 2)).toBe(0.25);
    expect(previousTokenReuse([never])).toBe(0);
  });

  it('has one threshold for all segments, not the best group of each', () => {
    const half: LayerTrace = [
      [0, 1],
      [2, 3],
    ];
    // Twice: 2 slabs; once: 4. From one choice on 8 of 8 are covered by 6 slabs: 16 / (12 + 8); from two on 4 by 2: 8 / (4 + 8).
    expect(segmentRouting([same.slice(0, 2), half], 2)).toEqual({ srp: 0.8, groupSize: 3 });
  });

  it('knows no segment across documents', () => {
    expect(segmentRouting([never.slice(0, 2), never.slice(2)], 4)).toEqual({ srp: 0, groupSize: 0 });
  });

  const aTrace = fc.array(fc.uniqueArray(fc.nat(7), { minLength: 2, maxLength: 2 }), { minLength: 4, maxLength: 30 });
  it('hits more with a larger cache, and everything with one that holds all', () => {
    fc.assert(
      fc.property(aTrace, fc.integer({ min: 1, max: 4 }), (trace, length) => {
        const hits = [1, 2, 4, 8].map((slabs) => segmentCache([trace], length, slabs));
        expect(hits).toEqual(hits.toSorted((a, b) => a - b));
        expect(hits.at(-1)).toBe(1);
        const { srp } = segmentRouting([trace], length);
        expect(srp).toBeGreaterThan(0);
        expect(srp).toBeLessThanOrEqual(1);
        // A group of all that a segment chose is one of those that the best is taken of.
        const all = new Set(trace.flat()).size;
        expect(srp).toBeGreaterThanOrEqual(
          (2 * 2 * length) / (length * Math.min(all, 2 * length) + 2 * length) - 1e-12,
        );
      }),
    );
  });
});
