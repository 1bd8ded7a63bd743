import { SeededRandom } from '@fleetgate/shared/random';
import { expect, it } from 'vitest';

import { PLACE_DIMENSIONS, projectedPlace } from './place-projection.js';

const random = new SeededRandom(4);
const unit = (dimensions: number): readonly number[] => {
  const raw = Array.from({ length: dimensions }, () => random.uniform() - 0.5);
  const norm = Math.hypot(...raw);
  return raw.map((x) => x / norm);
};
const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((sum, x, at) => sum + x * (b[at] ?? 0), 0);

it('keeps angles between places about as they were, in few dimensions', () => {
  let error = 0;
  for (let pair = 0; pair < 200; pair++) {
    const [a, b] = [unit(64), unit(64)];
    const [p, q] = [projectedPlace(a) ?? [], projectedPlace(b) ?? []];
    expect(p).toHaveLength(PLACE_DIMENSIONS);
    error += (dot(p, q) - dot(a, b)) ** 2 / 200;
  }
  expect(Math.sqrt(error)).toBeLessThan(1.2 / Math.sqrt(PLACE_DIMENSIONS));
});

it('leaves places of few dimensions, and none, as they are', () => {
  const few = unit(8);
  expect(projectedPlace(few)).toBe(few);
  expect(projectedPlace(undefined)).toBeUndefined();
});
