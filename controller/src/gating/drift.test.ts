import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { countClasses, driftOf } from './drift.js';

const prompts = (classId: string, count: number, novelty?: number) =>
  Array.from({ length: count }, () => ({ classId, novelty }));

describe('drift', () => {
  const before = new Map([
    ['math', 60],
    ['law', 40],
  ]);

  test('is none between the same shares, whatever the number of prompts', () => {
    const drift = driftOf(before, [...prompts('math', 600), ...prompts('law', 400)]);
    expect(drift.psi).toBeLessThan(0.001);
    expect(drift).toMatchObject({ prompts: 1000, verdict: 'same', novel: null, meanNovelty: null });
  });

  test('tells what has grown, a new class and prompts unlike the training data', () => {
    const drift = driftOf(before, [...prompts('law', 70, 0.1), ...prompts('other', 30, 0.9)]);
    expect(drift.verdict).toBe('different');
    expect(drift.novel).toBeCloseTo(0.3, 12);
    expect(drift.meanNovelty).toBeCloseTo(0.34, 12);
    expect(drift.classes[0]).toEqual({ classId: 'math', before: 0.6, now: 0 });
    expect(drift.classes.find(({ classId }) => classId === 'other')).toEqual({ classId: 'other', before: 0, now: 0.3 });
  });

  test('is unknown without prompts or without a reference, and judged on enough prompts only', () => {
    const few = driftOf(before, prompts('law', 5));
    expect(few.psi).toBeGreaterThan(0.25);
    expect(few.verdict).toBeNull();
    expect(driftOf(before, [])).toMatchObject({ psi: null, verdict: null });
    expect(driftOf(new Map(), prompts('math', 3))).toMatchObject({ psi: null, verdict: null });
  });

  test('is never below 0, and 0 against itself', () => {
    const some = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(some, some, (was, is) => {
        const seen = (ids: readonly string[]) => ids.map((classId) => ({ classId, novelty: undefined }));
        expect(driftOf(countClasses(seen(was)), seen(is)).psi).toBeGreaterThanOrEqual(0);
        expect(driftOf(countClasses(seen(was)), seen(was)).psi).toBe(0);
      }),
    );
  });
});
