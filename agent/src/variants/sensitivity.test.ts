import { fileURLToPath } from 'node:url';

import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';
import { beforeAll, describe, expect, it } from 'vitest';

import { groupOptions, meanBits, plannedTypes, type Sensitivity, typeNotes } from './sensitivity.js';
import { targetType } from './tensor-types.js';

const MOE = fileURLToPath(new URL('../../../experts/moe/moe-q8_0.gguf', import.meta.url));
const TYPES = ['q8_0', 'q5_0', 'q4_0'].map(targetType);
let header: GgufHeader;
beforeAll(async () => {
  header = await readGguf(MOE);
});

/** The embedding suffers, everything else loses next to nothing. */
function sensitivity(loss: (group: string, type: string) => number): Sensitivity {
  return {
    schema: 'fleetgate-sensitivity/1',
    source: '0'.repeat(64),
    bitsPerByte: 1.5,
    texts: 10,
    groups: groupOptions(header, TYPES).map(([first, ...narrower]) => ({
      name: first?.group.name ?? '',
      options: narrower.map(({ name, sizeBytes }) => ({
        type: name,
        sizeBytes,
        bitsPerByte: 1.5 + loss(first?.group.name ?? '', name),
      })),
    })),
  };
}

describe('plannedTypes', () => {
  it('takes bits from where they are missed least', () => {
    const options = groupOptions(header, TYPES);
    const measured = sensitivity((group, type) => (group === 'token_embd' ? 1 : 0.001) * (type === 'q4_0' ? 3 : 1));
    const all = options.reduce((sum, [first]) => sum + (first?.sizeBytes ?? 0), 0);
    const plan = plannedTypes(options, measured, 0.66 * all);
    expect(plan?.typeByGroup['token_embd']).toBe('q8_0');
    expect(plan?.choice.sizeBytes).toBeLessThanOrEqual(0.66 * all);
    expect(plan?.choice.bound).toBe(plan?.choice.loss);
    expect(meanBits(header, plan?.types ?? new Map())).toBeLessThan(0.66 * 8.5);
  });

  it('takes no narrower type where noise made it look better than a wider one', () => {
    const options = groupOptions(header, TYPES);
    const noisy = sensitivity((_, type) => (type === 'q5_0' ? 0.002 : -0.001));
    const all = options.reduce((sum, [first]) => sum + (first?.sizeBytes ?? 0), 0);
    expect(new Set(Object.values(plannedTypes(options, noisy, all)?.typeByGroup ?? {}))).toEqual(new Set(['q8_0']));
  });

  it('has no answer where the narrowest types do not fit, and wants a figure for every choice', () => {
    const options = groupOptions(header, TYPES);
    const measured = sensitivity(() => 0.1);
    expect(plannedTypes(options, measured, 1000)).toBeUndefined();
    const lacking = { ...measured, groups: measured.groups.slice(1) };
    expect(() => plannedTypes(options, lacking, 1e9)).toThrow(expect.objectContaining({ code: 'gguf.unsupported' }));
  });
});

describe('typeNotes', () => {
  it('says which types rows are too short for, and that a quantised file is quantised again', () => {
    const notes = typeNotes(header, [targetType('q4_k'), targetType('q4_0')]);
    expect(notes).toHaveLength(2);
    expect(notes[0]).toMatch(/^q4_k needs rows of a multiple of 256 weights: q5_0 instead for 29 tensors/);
    expect(notes[1]).toMatch(/quantised already \(q8_0\)/);
  });
});
