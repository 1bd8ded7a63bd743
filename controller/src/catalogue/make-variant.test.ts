import { classId, variantId } from '@fleetgate/shared/ids';
import { describe, expect, it } from 'vitest';

import { aVariant, FACTS } from './expert.fixture.js';
import { makeVariant, offloadedVariants, type VariantPlan } from './make-variant.js';
import { variantQuality } from './variant-quality.js';

const GB = 1e9;
/** 8 GB of slabs in 16 layers of 64, 4 a token, in a file of 8.5 GB. */
const MIXTURE = { ...FACTS, layers: 16, slabsPerLayer: 64, slabsPerToken: 4, slabsBytes: 8 * GB, fileBytes: 8.5 * GB };
const whole = aVariant('moe', { facts: { ...MIXTURE, memoryBytes: 9 * GB }, sizeBytes: 8.5 * GB });
const plan = (parts: Partial<VariantPlan>): VariantPlan => ({ id: variantId('new'), how: 'how', loss: {}, ...parts });

describe('makeVariant', () => {
  it('serves the same file with a budget of slabs in that much less memory', () => {
    const half = makeVariant(whole, plan({ serving: { slabBudgetBytes: 4 * GB } }));
    expect(half).toMatchObject({ sha256: whole.sha256, expertId: 'moe', serving: { slabBudgetBytes: 4 * GB } });
    expect(half.facts.memoryBytes).toBe(5 * GB);
    expect(half.made).toEqual({ from: whole.id, how: 'how', loss: {} });
    expect(makeVariant(half, plan({ serving: { slabBudgetBytes: 2 * GB } })).facts.memoryBytes).toBe(3 * GB);
  });

  it('takes another file of the same model, whose loss is known', () => {
    const file = {
      sha256: 'e'.repeat(64),
      sizeBytes: 2 * GB,
      facts: { ...MIXTURE, slabsPerLayer: 16, slabsBytes: 2 * GB, memoryBytes: 3 * GB },
    };
    const pruned = makeVariant(whole, plan({ file, loss: { math: 0.1 } }));
    expect(pruned).toMatchObject({ sha256: file.sha256, sizeBytes: 2 * GB, facts: { memoryBytes: 3 * GB } });
  });

  const other = (facts: object) => ({ sha256: 'e'.repeat(64), sizeBytes: 1, facts: { ...MIXTURE, ...facts } });
  it.each([
    ['a file whose loss nobody knows', { file: other({}) }, 'loss: it says nothing'],
    ['fewer slabs per token whose loss nobody knows', { serving: { slabsPerToken: 2 } }, 'loss: it says nothing'],
    ['a task mask whose loss nobody knows', { serving: { taskMask: { keep: 8 } } }, 'loss: it says nothing'],
    ['a fixed mask whose loss nobody knows', { serving: { slabMask: ['ff'] } }, 'loss: it says nothing'],
    ['two masks', { serving: { slabMask: ['ff'], taskMask: { keep: 8 } }, loss: { math: 0 } }, 'got both'],
    ['a fixed mask of too few slabs', { serving: { slabMask: ['8'] }, loss: { math: 0 } }, 'slabMask[0]: expected 4'],
    ['a mask of too few slabs', { serving: { taskMask: { keep: 3 } }, loss: { math: 0 } }, 'taskMask.keep: expected 4'],
    ['another architecture', { file: other({ architecture: 'gemma' }), loss: { math: 0 } }, 'the file is a gemma'],
    ['another tokenizer', { file: other({ tokenizer: 'c'.repeat(64) }), loss: { math: 0 } }, 'another tokenizer'],
    [
      'more slabs per token than the file has',
      { serving: { slabsPerToken: 5 }, loss: { math: 0 } },
      'expected 1 to 4, got 5',
    ],
    [
      'a least above the most',
      { serving: { slabsPerToken: 2, leastSlabsPerToken: 3 }, loss: { math: 0 } },
      'expected 1 to 2, got 3',
    ],
    ['a budget below one layer', { serving: { slabBudgetBytes: 1000 } }, 'expected 31250000 or more'],
  ])('refuses %s', (_, parts, message) => {
    expect(() => makeVariant(whole, plan(parts))).toThrow(
      expect.objectContaining({ code: 'request.invalid', message: expect.stringContaining(message) }),
    );
  });

  const adapter = { sha256: 'd'.repeat(64), sizeBytes: 1e6, scale: 1 };
  it('lays an adapter over the file of a dense model too, in that much more memory', () => {
    const math = aVariant('math');
    const poet = makeVariant(math, plan({ adapters: [adapter], loss: { math: 0.1 } }));
    expect(poet).toMatchObject({ sha256: math.sha256, serving: { adapters: [adapter] } });
    expect(poet.facts.memoryBytes).toBe(math.facts.memoryBytes + 1e6);
    expect(() => makeVariant(math, plan({ adapters: [adapter] }))).toThrow(/loss: it says nothing/);
  });

  it('keeps the adapters of the variant it is made of, up to eight, and none over another file', () => {
    const poet = makeVariant(whole, plan({ adapters: [adapter], loss: { math: 0.1 } }));
    const half = makeVariant(poet, plan({ serving: { slabBudgetBytes: 4 * GB } }));
    expect(half.serving).toEqual({ slabBudgetBytes: 4 * GB, adapters: [adapter] });
    expect(half.facts.memoryBytes).toBe(5 * GB + 1e6);
    const both = makeVariant(half, plan({ adapters: [{ ...adapter, scale: 2 }], loss: { math: 0 } }));
    expect(both.serving?.adapters?.map(({ scale }) => scale)).toEqual([1, 2]);
    expect(both.facts.memoryBytes).toBe(9 * GB + 2e6);
    const eight = Array.from({ length: 8 }, () => ({ ...adapter }));
    expect(() => makeVariant(poet, plan({ adapters: eight, loss: { math: 0 } }))).toThrow(/at most 8 .* got 9/);
    expect(makeVariant(poet, plan({ file: other({}), loss: { math: 0 } })).serving).toBeUndefined();
  });

  it('refuses to serve a dense model in part', () => {
    expect(() => makeVariant(aVariant('math'), plan({ serving: { slabBudgetBytes: 1e6 } }))).toThrow(/dense/);
  });
});

describe('offloadedVariants', () => {
  it('offers a large mixture in part, and nothing else', () => {
    const offered = offloadedVariants(whole).map((one) => makeVariant(whole, one));
    expect(offered.map(({ id, facts }) => [id, facts.memoryBytes])).toEqual([
      ['moe-q8_0-r50', 5 * GB],
      ['moe-q8_0-r35', 3.8 * GB],
      ['moe-q8_0-r20', 2.6 * GB],
    ]);
    expect(offloadedVariants(aVariant('math'))).toEqual([]);
    expect(offloadedVariants(aVariant('small', { facts: { ...MIXTURE, slabsBytes: 1e6 } }))).toEqual([]);
  });
});

describe('variantQuality', () => {
  it('is lowered by the bits per byte that a variant costs on prompts of a class', () => {
    const pruned = makeVariant(whole, plan({ serving: { slabsPerToken: 2 }, loss: { math: 1, code: -0.5 } }));
    expect(variantQuality(0.4, pruned, classId('math'))).toBe(0.2);
    expect(variantQuality(0.4, pruned, classId('code'))).toBeCloseTo(0.4 * Math.SQRT2);
    expect(variantQuality(0.9, pruned, classId('code'))).toBe(1);
  });

  it('counts the largest loss on prompts that it was not measured on, and none where it is the same model', () => {
    const pruned = makeVariant(whole, plan({ serving: { slabsPerToken: 2 }, loss: { math: 1, code: 0 } }));
    expect(variantQuality(0.4, pruned, classId('story'))).toBe(0.2);
    expect(variantQuality(0.4, pruned, undefined)).toBe(0.2);
    expect(variantQuality(0.4, whole, classId('math'))).toBe(0.4);
    expect(variantQuality(0.4, makeVariant(whole, plan({ serving: { slabBudgetBytes: GB } })), undefined)).toBe(0.4);
  });
});
