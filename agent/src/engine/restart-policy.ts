import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

/** A child that lived at least this long was sound: earlier crashes no longer count. */
export const SOUND_AFTER: Milliseconds = milliseconds(30_000);
/** Crashes in a row, each before SOUND_AFTER, after which the engine is down. */
export const CRASHES_TO_DOWN = 5;
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 5_000;
const DOWN_RETRY: Milliseconds = milliseconds(30_000);

export interface RestartDecision {
  readonly state: 'restarting' | 'down';
  /** Wait before the next start. */
  readonly delay: Milliseconds;
  /** Crashes in a row, this one included. */
  readonly crashes: number;
}

/** When to start the engine again after a crash of a child that lived for `lifetime`. */
export function decideRestart(crashesBefore: number, lifetime: Milliseconds): RestartDecision {
  const crashes = lifetime >= SOUND_AFTER ? 1 : crashesBefore + 1;
  if (crashes >= CRASHES_TO_DOWN) return { state: 'down', delay: DOWN_RETRY, crashes };
  const delay = milliseconds(Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (crashes - 1)));
  return { state: 'restarting', delay, crashes };
}
