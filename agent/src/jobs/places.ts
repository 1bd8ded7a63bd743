import type { VariantId } from '@fleetgate/shared/ids';
import type { Job } from '@fleetgate/shared/protocol/job';

/** Mixed answers that may share their place: each holds a KV cache, and every one more makes a step longer. */
export const MOST_MIXED = 8;

export interface Places {
  /** Jobs at once. */
  readonly concurrency: number;
  /**
   * Whether those are of one variant: its answers are evaluated as one batch, while two models that share cores are slower
   * than one after the other (ggml's threads spin at barriers).
   */
  readonly ofOneVariant: boolean;
}

/**
 * Whether `next`, which has come before all others that wait, may start beside what runs.
 *
 * Mixed answers mostly wait for their tokens, so all that run on a device take one place together and use the engine by
 * turns: members of one ensemble may be on one device, and one that waited for the other to end would wait for ever. Of
 * one variant as many may run as it has sequences, which is `concurrency`.
 */
export function mayStart(next: Job, running: Iterable<Job>, { concurrency, ofOneVariant }: Places): boolean {
  let [others, mixed, ofVariant] = [0, 0, 0];
  let isAnother = false;
  const variantId: VariantId = next.variantId;
  for (const job of running) {
    if (job.variantId !== variantId) isAnother = true;
    if (job.kind !== 'mix') {
      others++;
      continue;
    }
    mixed++;
    if (job.variantId === variantId) ofVariant++;
  }
  if (next.kind === 'mix' && mixed > 0) return mixed < MOST_MIXED && ofVariant < concurrency;
  if (ofOneVariant && isAnother) return false;
  return others + Math.min(1, mixed) < concurrency;
}
