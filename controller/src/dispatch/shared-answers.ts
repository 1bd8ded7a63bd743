import type { UnixMs } from '@fleetgate/shared/units/quantity';

/** `ours`: nobody had it, and now this controller answers; `under-way`: another does; `answered`: what was kept. */
export type Claim =
  | { readonly kind: 'ours' }
  | { readonly kind: 'under-way' }
  | { readonly kind: 'reused' }
  | { readonly kind: 'answered'; readonly answer: string };

/** Which requests with a key are answered by which of several controllers, and what they were answered. */
export interface SharedAnswers {
  /** Of two that claim a key at once, one has it. Answers that are too old at `now` are none. Rejects with `store.unavailable`. */
  claim(key: string, digest: string, now: UnixMs): Promise<Claim>;
  /** Keeps the answer to what was claimed here. One that was given to another meanwhile stays as it is. */
  keep(key: string, answer: string, until: UnixMs): Promise<void>;
  /** What was claimed here has no answer: the key is new again. */
  release(key: string): Promise<void>;
}
