import { SeededRandom } from '@fleetgate/shared/random';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { matrix, rowOf } from './linear-algebra.js';
import { atypicality, typicalityOf } from './task-posterior.js';

/** Scores of two tasks: each prompt's own is between `least` and 1. */
function scores(rows: number, least: number) {
  const random = new SeededRandom(5);
  const all = matrix(rows, 2);
  for (let row = 0; row < rows; row++) {
    rowOf(all, row)[row % 2] = least + (1 - least) * random.uniform();
    rowOf(all, row)[1 - (row % 2)] = 0.1 * random.uniform();
  }
  return all;
}

describe('how typical a prompt is of its likeliest task', () => {
  it('calls about one of the task’s own prompts in twenty less than typical', () => {
    const heldOut = scores(400, 0.5);
    const [first] = typicalityOf(heldOut);
    const own = [...Array(200).keys()].map((at) => rowOf(heldOut, 2 * at)[0] ?? 0);
    const unlike = own.filter((score) => atypicality(score, first ?? { atypical: 0, typical: 0 }) > 0);
    expect(unlike.length / own.length).toBeCloseTo(0.05, 2);
  });

  it('grows from 0 to 1 as the score falls, and bears very uniform training prompts', () => {
    const [uniform] = typicalityOf(scores(400, 0.99));
    expect(uniform).toBeDefined();
    if (uniform === undefined) return;
    expect(atypicality(1, uniform)).toBe(0);
    expect(atypicality(0.95, uniform)).toBeLessThan(0.5);
    expect(atypicality(0.6, uniform)).toBe(1);
    const score = fc.double({ min: -2, max: 2, noNaN: true });
    fc.assert(
      fc.property(score, score, (a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        expect(atypicality(low, uniform)).toBeGreaterThanOrEqual(atypicality(high, uniform));
      }),
    );
  });

  it('goes by all tasks together where a task has few prompts', () => {
    const few = scores(60, 0.5);
    const [first, second] = typicalityOf(few);
    expect(first).toEqual(second);
  });
});
