import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { batchTokensWithin, chooseResidency, kernelVersion, type ResidencyFacts } from './residency-choice.js';

const DEVICE: ResidencyFacts = {
  platform: 'linux',
  isTermux: false,
  kernel: [6, 6],
  memoryBytes: 1300e6,
  isLimited: true,
  slabsBytes: 2560e6,
  otherBytes: 60e6,
  contextBytes: 20e6,
  slabBytes: 2.5e6,
  slabsPerLayer: 64,
  slabsPerToken: 4,
  managedShare: 1,
  pieces: 3072,
  hasDirectReads: true,
  hasSparseFiles: true,
};

describe('chooseResidency', () => {
  it.each<[string, Partial<ResidencyFacts>, string, string]>([
    ['a model that fits', { memoryBytes: 4e9 }, 'none', 'the model fits: 2715 of 4000 MB'],
    ['half of a model', {}, 'cache', '44 % of the slabs fit in a cache of 1132 MB, read directly'],
    ['a phone', { platform: 'android', isTermux: true }, 'cache', 'nothing else limits what it takes'],
    ['storage without direct reads', { hasDirectReads: false }, 'cache', 'through the kernel’s cache'],
    ['a file system without holes', { hasSparseFiles: false }, 'cache', 'loading reads the whole file'],
    ['less than a layer', { memoryBytes: 300e6 }, 'cache', '14 tokens at once'],
    ['a file of small slabs', { managedShare: 0.5 }, 'hint', 'only 50 % of their bytes'],
    ['very many slabs', { pieces: 90_000 }, 'hint', '90000 pieces'],
    ['another system', { platform: 'darwin' }, 'none', 'only Linux'],
    ['too little memory', { memoryBytes: 150e6 }, 'refused', 'weights that are no slabs 60, context 20, process 75'],
  ])('has a rule for %s', (_, facts, strategy, reason) => {
    const choice = chooseResidency({ ...DEVICE, ...facts }, 512);
    expect(choice.strategy).toBe(strategy);
    expect(choice.reason).toContain(reason);
  });

  it('waits for pages only where the kernel can', () => {
    const populates = (kernel: readonly [number, number]): boolean | undefined => {
      const choice = chooseResidency({ ...DEVICE, kernel, managedShare: 0 }, 1);
      return choice.strategy === 'refused' ? undefined : choice.populate;
    };
    expect([populates([5, 10]), populates([5, 14]), populates([6, 1])]).toEqual([false, true, true]);
    expect(kernelVersion('5.10.120-tegra')).toEqual([5, 10]);
    expect(kernelVersion('odd')).toEqual([0, 0]);
  });

  it('never plans more than the memory, nor a batch whose slabs might not fit', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4e9 }), fc.integer({ min: 1, max: 2048 }), (memoryBytes, wish) => {
        const choice = chooseResidency({ ...DEVICE, memoryBytes }, wish);
        if (choice.strategy !== 'cache') return;
        expect(choice.budgetBytes + DEVICE.otherBytes + DEVICE.contextBytes).toBeLessThan(memoryBytes);
        const union = Math.min(DEVICE.slabsPerLayer, choice.batchTokens * DEVICE.slabsPerToken);
        expect(union * DEVICE.slabBytes).toBeLessThanOrEqual(choice.budgetBytes);
        expect(choice.batchTokens).toBe(batchTokensWithin(choice.budgetBytes, DEVICE, wish));
      }),
    );
  });
});
