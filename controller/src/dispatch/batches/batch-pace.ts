import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

/** Lines under way at once, of all batches. */
const MOST_AT_ONCE = 4;
/** Part of the places for requests in flight that batches leave free. */
const LEFT_FREE = 0.25;
/** Times that a line is sent whose device or engine failed: one that brings engines down must not do so all day. */
export const MOST_FAILURES = 5;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 300_000;

/**
 * Lines that may be started now. Only devices with nothing to do are given any; while clients wait for answers of their
 * own, one such device is left to them.
 */
export function roomForLines(load: {
  readonly idleDevices: number;
  /** Requests under way, those of batches included. */
  readonly inFlight: number;
  readonly maxInFlight: number;
  readonly linesUnderWay: number;
}): number {
  const { idleDevices, inFlight, maxInFlight, linesUnderWay } = load;
  const idle = inFlight > linesUnderWay ? idleDevices - 1 : idleDevices;
  const places = Math.floor(maxInFlight * (1 - LEFT_FREE)) - inFlight;
  return Math.max(0, Math.min(MOST_AT_ONCE - linesUnderWay, idle, places));
}

/** How long to wait after the `times`th refusal in a row, at least as long as was asked for. */
export function pauseAfter(times: number, asked: Milliseconds | undefined): Milliseconds {
  const doubled = FIRST_PAUSE_MS * 2 ** Math.min(20, Math.max(0, times - 1));
  return milliseconds(Math.min(LONGEST_PAUSE_MS, Math.max(asked ?? 0, doubled)));
}
