import type { Random } from './random.js';
import { type Milliseconds, milliseconds } from './units/quantity.js';

/**
 * Wait before try number `attempt` (0, 1, ...): `first` doubled each time up to `most`, less up to half of it by
 * chance, so that a fleet does not come back in one instant.
 */
export function backoff(attempt: number, first: Milliseconds, most: Milliseconds, random: Random): Milliseconds {
  const full = Math.min(most, first * 2 ** Math.min(attempt, 30));
  return milliseconds(full * (1 - random.uniform() / 2));
}
