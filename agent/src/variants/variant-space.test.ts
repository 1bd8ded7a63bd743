import { fileURLToPath } from 'node:url';

import { loadBoard } from '@fleetgate/firmware-configs/load-board';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';
import { beforeAll, describe, expect, it } from 'vitest';

import { allGenomes } from './genome.js';
import { givenType, legalType, quantisable, targetType } from './tensor-types.js';
import { costOf, describeSpec, genesOf, shapeOf, specOf, variantSpace } from './variant-space.js';

const EXPERTS = fileURLToPath(new URL('../../../experts/', import.meta.url));
const TYPES = ['q8_0', 'q6_k', 'q5_k', 'q4_k', 'q3_k'].map(targetType);

let moe: GgufHeader;
let dense: GgufHeader;
beforeAll(async () => {
  moe = await readGguf(`${EXPERTS}moe/moe-q8_0.gguf`);
  dense = await readGguf(`${EXPERTS}big/big-q8_0.gguf`);
});

describe('types of tensors', () => {
  it('leaves norms and routers alone, and falls back where rows are too short, never to more bits than there are', () => {
    expect(quantisable(moe).map(({ name }) => name)).not.toContain('blk.0.ffn_gate_inp.weight');
    const tensor = moe.tensors.find(({ name }) => name === 'blk.0.ffn_down_exps.weight');
    if (tensor === undefined) throw new Error('no tensor');
    expect(legalType(tensor, targetType('q4_k')).name).toBe('Q5_0');
    expect(legalType({ ...tensor, dimensions: [512, 8] }, targetType('q4_k')).name).toBe('Q4_K');
    expect(legalType({ ...tensor, dimensions: [48, 8] }, targetType('q4_k')).name).toBe('F16');
    expect(givenType(tensor, targetType('f16')).name).toBe('Q8_0');
    expect(givenType(tensor, targetType('q4_0')).name).toBe('Q4_0');
  });

  it('lists the types that there are for one that is not known', () => {
    expect(() => targetType('q9_9')).toThrow(
      expect.objectContaining({ code: 'usage.invalid', hint: expect.stringContaining('q4_0') }),
    );
  });
});

describe('variantSpace', () => {
  it('has genes for slabs kept, active slabs and each group, the original first', () => {
    const space = variantSpace(moe, 'moe', { types: TYPES, layerGroups: 2, elastic: true });
    expect(genesOf(space)).toEqual([
      { name: 'slabs kept', choices: ['16', '12', '8', '6', '4', '2'] },
      { name: 'active slabs', choices: ['2', '1'] },
      ...['embedding', 'attention', 'ffn 0-1', 'ffn 2-3'].map((name) => ({
        name,
        choices: ['q8_0', 'q5_1', 'q5_0', 'q4_0'],
      })),
    ]);
    const original = specOf(space, [0, 0, 0, 0, 0, 0]);
    expect(describeSpec(space, original)).toBe('as it is');
    expect(original).toMatchObject({ keep: undefined, slabsPerToken: undefined });
    expect(describeSpec(space, specOf(space, [2, 1, 3, 3, 3, 3]))).toBe('8 of 16 slabs, k 1, all q4_0');
    expect(describeSpec(space, specOf(space, [0, 0, 0, 1, 0, 0]))).toBe('attention q5_1');
  });

  it('has nothing to choose but types in a dense model', () => {
    const space = variantSpace(dense, 'big', { types: TYPES, layerGroups: 4, elastic: true });
    expect(shapeOf(space).slice(0, 2)).toEqual([1, 1]);
    expect(genesOf(space).map(({ name }) => name)).toEqual([
      'slabs kept',
      'active slabs',
      'embedding',
      'attention',
      'ffn 0-1',
      'ffn 2-3',
      'ffn 4-5',
      'ffn 6-7',
    ]);
  });

  it('keeps at least the active slabs and at most all', () => {
    const space = variantSpace(moe, 'moe', { types: [], layerGroups: 1, keepCounts: [1, 2, 16, 40], elastic: false });
    expect(space.keepCounts).toEqual([16, 2]);
    expect(space.slabsPerToken).toEqual([2]);
  });

  it('never costs more with a choice further on', async () => {
    const board = await loadBoard('raspberry-pi-5');
    const space = variantSpace(moe, 'moe', {
      types: TYPES.slice(0, 3),
      layerGroups: 1,
      keepCounts: [8],
      elastic: true,
    });
    for (const genome of allGenomes(shapeOf(space))) {
      const cost = costOf(space, specOf(space, genome), board);
      for (const [i, choice] of genome.entries()) {
        if (choice + 1 >= (shapeOf(space)[i] ?? 0)) continue;
        const next = costOf(space, specOf(space, genome.with(i, choice + 1)), board);
        expect(next.sizeBytes).toBeLessThanOrEqual(cost.sizeBytes);
        expect(next.decodeJPerToken).toBeLessThanOrEqual(cost.decodeJPerToken);
      }
    }
  });
});
