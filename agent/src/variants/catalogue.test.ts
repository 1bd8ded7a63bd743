import { fileURLToPath } from 'node:url';

import { loadBoard } from '@fleetgate/firmware-configs/load-board';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { describe, expect, it } from 'vitest';

import { catalogueEntries, worthBuilding } from './catalogue.js';
import { targetType } from './tensor-types.js';
import { variantSpace } from './variant-space.js';

const MOE = fileURLToPath(new URL('../../../experts/moe/moe-q8_0.gguf', import.meta.url));
const SOURCE = { math: 1.6, code: 1.5 };

async function entries() {
  const types = ['q4_0'].map(targetType);
  const space = variantSpace(await readGguf(MOE), 'moe', { types, layerGroups: 1, keepCounts: [8], elastic: true });
  const tasks = ['math', 'code'];
  const variant = (scope: string, genome: readonly number[], math: number, code: number) => ({
    scope,
    tasks: scope === 'all' ? tasks : [scope],
    genome,
    bitsPerByte: { math, code },
  });
  const board = await loadBoard('raspberry-pi-5');
  const variants = [
    variant('all', [0, 0, 0, 0, 0], 1.6, 1.5),
    variant('all', [0, 0, 1, 1, 1], 1.61, 1.5),
    // Larger and worse than the one before it.
    variant('all', [0, 0, 0, 1, 1], 1.63, 1.5),
    variant('all', [1, 1, 1, 1, 1], 1.9, 1.8),
    variant('math', [1, 0, 1, 1, 1], 1.59, 3),
  ];
  return catalogueEntries(space, board, SOURCE, variants, 'moe-q8_0');
}

describe('catalogueEntries', () => {
  it('offers what nothing of its scope dominates, best first, with what it loses', async () => {
    const found = await entries();
    expect(found.map(({ name, how }) => `${name}: ${how}`)).toEqual([
      'moe-q8_0-v0: as it is',
      'moe-q8_0-v1: all q4_0',
      'moe-q8_0-v2: 8 of 16 slabs, k 1, all q4_0',
      'moe-q8_0-math-v0: 8 of 16 slabs, all q4_0 for math',
    ]);
    expect(found[1]?.loss).toEqual({ math: expect.closeTo(0.01), code: 0 });
    expect(found[2]).toMatchObject({ keep: 8, slabsPerToken: 1 });
    expect(found[0]).not.toHaveProperty('keep');
  });
});

describe('worthBuilding', () => {
  it('takes from every scope in turn, and all when asked for more than there are', async () => {
    const found = await entries();
    expect(worthBuilding(found, 2).size).toBe(2);
    expect([...worthBuilding(found, 2)].filter((name) => name.includes('math'))).toHaveLength(1);
    expect(worthBuilding(found, 99).size).toBe(4);
    expect(worthBuilding(found, 0).size).toBe(0);
  });
});
