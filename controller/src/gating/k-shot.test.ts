import { classId } from '@fleetgate/shared/ids';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { isHeldBack } from './evidence.js';
import { chooseShots, type Placed, shotSubject } from './k-shot.js';

const names = ['code', 'law', 'math'].map(classId);
const pool = (
  count: number,
  embedding: (at: number) => readonly number[] | undefined = () => undefined,
): readonly Placed[] =>
  names.flatMap((name) =>
    Array.from({ length: count }, (_, at) => ({ id: `${name}-${at}`, classId: name, embedding: embedding(at) })),
  );

describe('the shots of an enrolment', () => {
  it('are shared out evenly over the classes', () => {
    const counts = names.map((name) => chooseShots(pool(100), 24).filter((one) => one.classId === name).length);
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(2);
  });

  it('hold a fifth back to judge by', () => {
    const chosen = chooseShots(pool(100), 24);
    expect(chosen).toHaveLength(24);
    expect(chosen.filter(({ id }) => isHeldBack({ subject: shotSubject(id) }))).toHaveLength(5);
  });

  it('lie far from each other: one of each group of prompts alike before a second of any', () => {
    const angle = (at: number): readonly number[] => {
      const group = (2 * Math.PI * (at % 6)) / 6 + 0.001 * at;
      return [Math.cos(group), Math.sin(group)];
    };
    const law = pool(120, angle).filter(({ classId: id }) => id === 'law');
    const chosen = chooseShots(law, 7).filter(({ id }) => !isHeldBack({ subject: shotSubject(id) }));
    const groups = chosen.map(({ id }) => Number(id.split('-')[1]) % 6);
    expect(new Set(groups).size).toBe(chosen.length);
  });

  it('are the same whatever the order of the pool, without repeats, and all there is of a small one', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([...pool(12)]), fc.integer({ min: 1, max: 40 }), (some, count) => {
        const chosen = chooseShots(some, count);
        expect(chooseShots(some.toReversed(), count)).toEqual(chosen);
        expect(new Set(chosen.map(({ id }) => id)).size).toBe(chosen.length);
        expect(chosen.length).toBeLessThanOrEqual(count);
      }),
    );
  });
});
