import type { Projection } from '../gguf/slab-layout.js';
import type { Foresight } from '../slabs/prefetch.js';
import type { RoutedLayer } from '../slabs/routing.js';

/** Slabs that are expected to be used in so many of the tokens are worth a read ahead. */
export const WORTH_READING = 0.2;

export type ResidencyStrategy = 'none' | 'hint' | 'cache';

/** What residency did since it was opened or last asked. */
export interface ResidencyFigures {
  /** Slabs routed to, one count a layer and token (in a batch: one a layer and slab of the union). */
  readonly routed: number;
  /** Of those, how many were in memory already. */
  readonly hits: number;
  /** Bytes read from storage for slabs. Unknown (absent) where the kernel reads by itself. */
  readonly bytesRead?: number;
  /** Time that evaluation stood still for storage, ms. */
  readonly waitMs: number;
  /** Tokens of the evaluations that were begun. */
  readonly tokens?: number;
  /** Bytes of slabs in memory now, where residency knows. */
  readonly residentBytes?: number;
  /** Slabs read before a router chose them, or others; their bytes are in `bytesRead`. */
  readonly readAhead?: number;
}

/** Memory that llama.cpp computes in. */
export interface Buffers {
  readonly address: number;
  readonly bytes: number;
}

/**
 * Keeps slabs where the engine can read them. Lives in the engine's child, on the thread that evaluates.
 *
 * `ensure` is called between a layer's routing and its computation, and returns only when every slab named is readable;
 * it throws `artefact.unavailable` when storage fails, and then the evaluation must be given up: computing with a slab
 * that is not there would give wrong tokens silently. What a layer uses last can be left to be read while it computes: `ensure`
 * need not wait for the projection given as `later`, and `await` must be called before that is used.
 */
export interface SlabResidency {
  readonly strategy: ResidencyStrategy;
  /** `slabs` may name one twice. With `foresight` also reads ahead what the next layers will likely choose. */
  ensure(routed: RoutedLayer, foresight?: Foresight, later?: Projection): void;
  /** Whether something that `ensure` was asked for is still being read, or has failed since: whether `await` has to be called. */
  readonly isAwaiting?: boolean;
  /** Waits for what `ensure` has left. Throws as `ensure` does. */
  await?(): void;
  /** A new evaluation begins. */
  begin(tokens: number): void;
  /**
   * Between evaluations: what is likely to be used from now on, uses per token by slab (`layer * slabsPerLayer + slab`).
   * The hottest slabs that are missing begin to be read, `mostBytes` at most. A wrong guess costs time, never a bit.
   */
  expect?(frequencies: ArrayLike<number>, mostBytes: number): void;
  /** An evaluation has ended; its buffers hold nothing of use until the next one. */
  end?(buffers: Buffers | undefined): void;
  figures(): ResidencyFigures;
  close(): void;
}
