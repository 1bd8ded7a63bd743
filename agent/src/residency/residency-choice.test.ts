import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  batchTokensWithin,
  chooseResidency,
  FEW_TOKENS,
  kernelVersion,
  type ResidencyFacts,
} from './residency-choice.js';

const DEVICE: ResidencyFacts = {
  platform: 'linux',
  isTermux: false,
  kernel: [6, 6],
  memoryBytes: 1300e6,
  isLimited: true,
  slabsBytes: 2560e6,
  otherBytes: 60e6,
  contextBytes: 19e6,
  evaluationBytes: (tokens) => 60e3 * tokens,
  mostBudgetBytes: Infinity,
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
    ['a model that fits', { memoryBytes: 4e9 }, 'none', 'the model fits: 2730 of 4000 MB'],
    ['half of a model', {}, 'cache', '45 % of the slabs fit in a cache of 1147 MB, read directly'],
    ['what fits, and is not to', { memoryBytes: 4e9, mostBudgetBytes: 1e9 }, 'cache', '39 % of the slabs fit'],
    ['a phone', { platform: 'android', isTermux: true }, 'cache', 'nothing else limits what it takes'],
    ['storage without direct reads', { hasDirectReads: false }, 'cache', 'through the kernel’s cache'],
    ['a file system without holes', { hasSparseFiles: false }, 'cache', 'loading reads the whole file'],
    ['less than a layer', { memoryBytes: 300e6 }, 'cache', '15 tokens at once'],
    ['a file of small slabs', { managedShare: 0.5 }, 'hint', 'only 50 % of their bytes'],
    ['very many slabs', { pieces: 90_000 }, 'hint', '90000 pieces'],
    ['another system', { platform: 'darwin' }, 'none', 'only Linux'],
    ['too little memory', { memoryBytes: 140e6 }, 'refused', 'weights that are no slabs 60, context 20, process 60'],
  ])('has a rule for %s', (_, facts, strategy, reason) => {
    const choice = chooseResidency({ ...DEVICE, ...facts }, 512);
    expect(choice.strategy).toBe(strategy);
    expect(choice.reason).toContain(reason);
  });

  it('evaluates fewer at once where the buffers of many would leave no layer and a half', () => {
    const tokensOf = (tokenBytes: number): number => {
      const choice = chooseResidency({ ...DEVICE, evaluationBytes: (tokens) => tokenBytes * tokens }, 1024);
      return choice.strategy === 'refused' ? 0 : choice.batchTokens;
    };
    expect([60e3, 800e3, 1e6, 2e6, 60e6].map(tokensOf)).toEqual([1024, 1024, 512, 256, 16]);
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
        expect(union * DEVICE.slabBytes).toBeLessThanOrEqual(choice.budgetOf(choice.batchTokens));
        expect(choice.batchTokens).toBeLessThanOrEqual(batchTokensWithin(choice.budgetBytes, DEVICE, wish));
        const buffers = DEVICE.evaluationBytes(choice.batchTokens) - DEVICE.evaluationBytes(FEW_TOKENS);
        expect(choice.budgetOf(choice.batchTokens) + Math.max(0, buffers)).toBe(choice.budgetBytes);
        expect(choice.budgetOf(1)).toBe(choice.budgetBytes);
      }),
    );
  });
});
