import { variantId } from '@fleetgate/shared/ids';
import type { Job } from '@fleetgate/shared/protocol/job';
import { describe, expect, it } from 'vitest';

import { mayStart } from './places.js';

const job = (kind: 'complete' | 'mix', variant: string): Job => ({ kind, variantId: variantId(variant) }) as Job;
const [A, B, MIXED_A, MIXED_B] = [job('complete', 'a'), job('complete', 'b'), job('mix', 'a'), job('mix', 'b')];

describe('mayStart', () => {
  it('lets jobs of one variant run side by side up to the concurrency, and others wait for them', () => {
    const batched = { concurrency: 2, ofOneVariant: true };
    expect(mayStart(A, [], batched)).toBe(true);
    expect(mayStart(A, [A], batched)).toBe(true);
    expect(mayStart(A, [A, A], batched)).toBe(false);
    expect(mayStart(B, [A], batched)).toBe(false);
    expect(mayStart(B, [A], { concurrency: 2, ofOneVariant: false })).toBe(true);
  });

  it('lets members of ensembles share a place whatever their variants', () => {
    const batched = { concurrency: 1, ofOneVariant: true };
    expect(mayStart(MIXED_B, [MIXED_A], batched)).toBe(true);
    expect(mayStart(MIXED_A, [MIXED_A], batched)).toBe(false);
    expect(mayStart(A, [MIXED_A], batched)).toBe(false);
  });
});
