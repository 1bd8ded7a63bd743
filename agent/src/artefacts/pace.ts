import type { Clock } from '@fleetgate/shared/clock';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { fullBucket, takeBytes } from './token-bucket.js';

/** Waits until so many bytes may pass; shared by all transfers of one direction. Rejects when aborted. */
export type Pace = (bytes: number, signal: AbortSignal) => Promise<void>;

export const UNLIMITED: Pace = () => Promise.resolve();

/** At most `bytesPerS` on the average, one second's worth at once. */
export function limitedPace(bytesPerS: number, clock: Clock): Pace {
  let bucket = fullBucket(bytesPerS, clock.now());
  return async (bytes, signal) => {
    const taken = takeBytes(bucket, bytes, bytesPerS, clock.now());
    bucket = taken.bucket;
    if (taken.waitMs > 0) await wait(taken.waitMs, clock, signal);
  };
}

function wait(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const onAbort = (): void => (cancel(), reject(signal.reason as Error));
    const cancel = clock.after(milliseconds(ms), () => (signal.removeEventListener('abort', onAbort), resolve()));
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
