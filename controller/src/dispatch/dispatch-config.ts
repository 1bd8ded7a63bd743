import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

/** Bounds and deadlines of the dispatcher. */
export interface DispatchConfig {
  /** Requests of all clients that may be under way at once; the next one is answered 429. */
  readonly maxInFlight: number;
  /** Jobs that may wait at one device beyond those it runs at once; what was taken up and lost its device finds room anyway. */
  readonly maxQueuedPerDevice: number;
  /** Devices that one request is tried on. */
  readonly maxAttempts: number;
  /** An agent has this long to acknowledge a job; its engine is not involved, so this is a network round trip. */
  readonly acceptTimeout: Milliseconds;
  /** How long an agent that did not acknowledge is left alone, unless it is heard of before. */
  readonly unresponsiveFor: Milliseconds;
  /** From the request's arrival to its end, waiting and retries included. */
  readonly requestTimeout: Milliseconds;
  /** Longest silence of an agent in the middle of an answer. */
  readonly stallTimeout: Milliseconds;
  /** A device that goes offline in the middle of an answer has this long to go on with it: brokers restart, radios blink. */
  readonly lossGrace: Milliseconds;
  /** How long a request that has lost its device waits for another: a new plan is made and loaded in about this time. */
  readonly patience: Milliseconds;
  /** How long a missing message of a job is waited for once a later one has come. */
  readonly gapTimeout: Milliseconds;
  /** How long a cancelled job still counts as work of its device while the agent has not confirmed. */
  readonly drainTimeout: Milliseconds;
  /** Part of the requests, and of their predicted joules, that may go to second devices when a first token is late. */
  readonly hedgeShare: number;
  /** Keeps prompt texts in the decision records. */
  readonly storePrompts: boolean;
}

export const DISPATCH_DEFAULTS: DispatchConfig = Object.freeze({
  maxInFlight: 256,
  maxQueuedPerDevice: 16,
  maxAttempts: 3,
  acceptTimeout: milliseconds(5_000),
  unresponsiveFor: milliseconds(10_000),
  requestTimeout: milliseconds(300_000),
  stallTimeout: milliseconds(30_000),
  lossGrace: milliseconds(3_000),
  patience: milliseconds(30_000),
  gapTimeout: milliseconds(2_000),
  drainTimeout: milliseconds(10_000),
  hedgeShare: 0.05,
  storePrompts: false,
});
