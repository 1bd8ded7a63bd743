import { slabHeatOf } from '@fleetgate/shared/catalogue/slab-heat';
import { slabsKept } from '@fleetgate/shared/catalogue/slab-mask';
import { boardId, deviceId } from '@fleetgate/shared/ids';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { aVariant, FACTS } from '../catalogue/expert.fixture.js';
import { aDevice, aReported } from '../fleet/device.fixture.js';
import { lossOf, NO_TRIAL, verdictOf, withScore } from './mask-trial.js';
import { proposeResidency, stillFits } from './propose-residency.js';
import { type SlabDemand, slabDemands } from './slab-demand.js';

const SLABS = 8;
const BYTES = 8000;
const mixture = aVariant('moe', {
  facts: { ...FACTS, slabsPerLayer: SLABS, slabsPerToken: 2, slabsBytes: BYTES },
  serving: { slabBudgetBytes: 6000 },
});
const demandOf = (...shares: readonly (readonly number[])[]): SlabDemand => ({
  variantId: mixture.id,
  board: boardId('raspberry-pi-5'),
  devices: [deviceId('pi')],
  tokens: 10_000,
  shares,
});
const skewed = demandOf([0.5, 0.4, 0.06, 0.04, 0, 0, 0, 0], [0, 0, 0, 0, 0.05, 0.05, 0.4, 0.5]);

describe('what the demand for slabs proposes', () => {
  it('adds up devices of one class by their tokens', () => {
    const device = (name: string, counts: readonly number[], tokens: number, board = 'raspberry-pi-5') =>
      aDevice({
        id: deviceId(name),
        board: boardId(board),
        reported: aReported({
          variants: [
            {
              variantId: mixture.id,
              residency: 'resident',
              slabs: { strategy: 'cache', reason: '', heat: slabHeatOf(tokens, [Float64Array.from(counts)]) },
            },
          ],
        }),
      });
    const demands = slabDemands([
      device('b', [10, 0], 300),
      device('a', [0, 10], 100),
      device('c', [1, 1], 50, 'jetson-orin-nano'),
      aDevice({ id: deviceId('quiet') }),
    ]);
    expect(demands).toMatchObject([
      { board: 'jetson-orin-nano', tokens: 50, shares: [[0.5, 0.5]] },
      { board: 'raspberry-pi-5', tokens: 400, devices: ['b', 'a'], shares: [[0.75, 0.25]] },
    ]);
  });

  it('is masks of the slabs that were chosen, smallest first, and another budget', () => {
    const proposals = proposeResidency(mixture, skewed);
    expect(proposals.map(({ kind, slabs }) => [kind, slabs])).toEqual([
      ['prune', 2],
      ['prune', 4],
      ['offload', 3],
    ]);
    const [smallest] = proposals;
    expect(smallest?.covered).toBeCloseTo(0.9);
    expect(smallest?.serving.slabBudgetBytes).toBe(2000);
    expect(smallest?.savedBytes).toBe(4000);
    expect(slabsKept(smallest?.serving.slabMask ?? [])).toEqual([
      [0, 1],
      [6, 7],
    ]);
  });

  it.each<readonly [string, Parameters<typeof proposeResidency>]>([
    ['of few tokens', [mixture, { ...skewed, tokens: 100 }]],
    ['of another model', [mixture, demandOf([0.5, 0.5])]],
    ['of a mixture that is whole in memory', [{ ...mixture, serving: {} }, skewed]],
    [
      'that is even',
      [{ ...mixture, serving: { slabBudgetBytes: BYTES } }, demandOf(Array<number>(SLABS).fill(1 / SLABS))],
    ],
  ])('is nothing %s', (_, [variant, demand]) => {
    expect(proposeResidency(variant, demand)).toEqual([]);
  });

  it('keeps enough slabs for a token in every layer, and covers what it says', () => {
    const layer = fc
      .array(fc.integer({ min: 0, max: 255 }), { minLength: SLABS, maxLength: SLABS })
      .filter((counts) => counts.some((count) => count > 0))
      .map((counts) => counts.map((count) => count / counts.reduce((sum, one) => sum + one, 0)));
    fc.assert(
      fc.property(fc.array(layer, { minLength: 1, maxLength: 4 }), (shares) => {
        const demand = demandOf(...shares);
        for (const proposal of proposeResidency(mixture, demand)) {
          expect(proposal.slabs).toBeGreaterThanOrEqual(2);
          expect(stillFits(proposal, demand)).toBe(true);
          for (const [l, kept] of slabsKept(proposal.serving.slabMask ?? []).entries()) {
            expect(kept).toHaveLength(proposal.slabs);
            const covered = kept.reduce((sum, slab) => sum + (shares[l]?.[slab] ?? 0), 0);
            expect(covered).toBeGreaterThanOrEqual(proposal.covered - 1e-9);
          }
        }
      }),
    );
  });

  it('fits no more once other slabs are asked for', () => {
    const [smallest] = proposeResidency(mixture, skewed);
    if (smallest === undefined) throw new Error('expected a proposal');
    expect(stillFits(smallest, demandOf(...skewed.shares.map((layer) => layer.toReversed())))).toBe(false);
  });
});

describe('the trial of a mask', () => {
  const trial = (loss: number) =>
    Array.from({ length: 60 }, (_, i) => ({
      prompt: `math-${i}`,
      domain: i % 2 === 0 ? 'math' : 'code',
      whole: 1 + 0.01 * Math.sin(i),
      masked: 1 + loss + 0.01 * Math.cos(i),
    })).reduce(withScore, NO_TRIAL);

  it('finds out what is lost, domain by domain', () => {
    expect(verdictOf(NO_TRIAL)).toBe('undecided');
    expect(verdictOf(trial(0))).toBe('tolerated');
    expect(verdictOf(trial(0.3))).toBe('too-much');
    expect(lossOf(trial(0.3))).toEqual({ math: expect.closeTo(0.3, 2), code: expect.closeTo(0.3, 2) });
    expect(lossOf(trial(-0.3))).toEqual({ math: 0, code: 0 });
  });
});
