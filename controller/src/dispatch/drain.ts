import type { Clock } from '@fleetgate/shared/clock';
import { after, type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

const LOOK = milliseconds(20);

/** Resolves when nothing is in flight any more, or after `deadline`; with what is left then. */
export async function drained(inFlight: () => number, deadline: Milliseconds, clock: Clock): Promise<number> {
  const until = after(clock.now(), deadline);
  while (inFlight() > 0 && clock.now() < until) {
    await new Promise<void>((resolve) => clock.after(LOOK, resolve));
  }
  return inFlight();
}
