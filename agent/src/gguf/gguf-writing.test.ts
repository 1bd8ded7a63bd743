import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { ggmlType } from '@fleetgate/shared/gguf/ggml-type';
import { type GgufHeader, parseGgufHeader } from '@fleetgate/shared/gguf/header';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { encodeHeader, type MetadataValue } from './assembly.js';
import { writeSynth } from './disk-synth.js';
import { pruning } from './prune.js';
import type { SlabLayout } from './slab-layout.js';
import { synthModel } from './synth.js';
import { SYNTH_TOPICS, topicOf, topicText } from './synth-topics.js';

const F16 = ggmlType(1);

describe('encodeHeader', () => {
  const aValue: fc.Arbitrary<MetadataValue> = fc.oneof(
    fc.string(),
    fc.boolean(),
    fc.record({ uint32: fc.oneof(fc.nat(), fc.array(fc.nat(), { maxLength: 5 })) }),
    fc.record({ int32: fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 5 }) }),
    fc.record({ float32: fc.oneof(fc.float({ noNaN: true }), fc.array(fc.float({ noNaN: true }), { maxLength: 5 })) }),
    fc.record({ texts: fc.array(fc.string(), { maxLength: 5 }) }),
  );
  const aKey = fc.string({ minLength: 1, maxLength: 20 }).filter((key) => key !== 'general.alignment');

  it('is read back as it was written, at any alignment', () => {
    fc.assert(
      fc.property(
        fc.dictionary(aKey, aValue, { maxKeys: 8 }),
        fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), { maxLength: 6 }),
        fc.constantFrom(32, 64, 4096),
        (values, names, alignment) => {
          const tensors = names.map((name, i) => ({
            name,
            dimensions: [8, i + 1],
            type: F16 ?? never(),
            pieces: [{ path: '', offset: 0, byteLength: 16 * (i + 1) }],
          }));
          const bytes = encodeHeader([], new Map(Object.entries(values)), tensors, alignment);
          const read = parseGgufHeader(bytes, 1e9, 'x') as GgufHeader;
          expect(read.alignment).toBe(alignment);
          expect(read.dataOffset).toBe(bytes.length);
          expect(read.tensors.map(({ name, dimensions }) => [name, dimensions])).toEqual(
            tensors.map(({ name, dimensions }) => [name, dimensions]),
          );
          for (const [key, value] of Object.entries(values)) {
            const found = read.metadata.get(key)?.value;
            expect(typeof found === 'object' ? found.elements : found).toEqual(plainOf(value));
          }
        },
      ),
    );
  });
});

function plainOf(value: MetadataValue): unknown {
  return typeof value === 'object' ? Object.values(value)[0] : value;
}

describe('topicText', () => {
  it('stays with a topic, comes back to it, and is the same for the same seed', () => {
    const text = (seed: number): readonly number[] => topicText(seed, 2000);
    expect(text(5)).toEqual(text(5));
    expect(text(5)).not.toEqual(text(6));
    const topics = text(5).map(topicOf);
    expect(topics.every((topic) => topic >= -1 && topic < SYNTH_TOPICS)).toBe(true);
    const [own, others] = [topics.filter((topic) => topic >= 0), topics.filter((topic) => topic < 0)];
    expect(others.length / topics.length).toBeCloseTo(0.35, 1);
    const stays = own.filter((topic, i) => topic === own[i - 1]).length / own.length;
    expect(stays).toBeGreaterThan(0.9);
  });
});

describe('synthModel', () => {
  const size = {
    architecture: 'qwen3moe',
    layers: 2,
    slabsPerLayer: 8,
    slabsPerToken: 2,
    embedding: 64,
    slabWidth: 32,
    heads: 4,
    type: 'q8_0',
    seed: 1,
  } as const;

  it.each([
    ['an unknown architecture', { architecture: 'toString' }],
    ['more slabs a token than there are', { slabsPerToken: 9 }],
    ['widths that no block divides', { embedding: 60 }],
    ['heads that do not divide the width', { heads: 3 }],
    ['layers without end', { layers: 1e9 }],
  ])('refuses %s', (_, more) => {
    expect(() => synthModel({ ...size, ...more })).toThrow(expect.objectContaining({ code: 'usage.invalid' }));
  });

  describe('on disk', () => {
    let folder: string;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'fleetgate-'));
    });
    afterAll(async () => rm(folder, { recursive: true }));

    it.each(['q8_0', 'f16', 'f32'] as const)('is whole with weights of %s', async (type) => {
      const path = join(folder, 'm.gguf');
      const bytes = await writeSynth(synthModel({ ...size, type }), 1, path, new AbortController().signal);
      const header = await readGguf(path);
      expect(header.fileBytes).toBe(bytes);
      expect(header.tensors.every(({ fileOffset }) => fileOffset % 4096 === 0)).toBe(true);
    });

    it('leaves nothing behind when it is cancelled', async () => {
      await rm(join(folder, 'm.gguf'), { force: true });
      const write = writeSynth(synthModel(size), 1, join(folder, 'no.gguf'), AbortSignal.abort());
      await expect(write).rejects.toMatchObject({ code: 'job.cancelled' });
      expect(await readdir(folder)).toEqual([]);
    });
  });
});

describe('pruning', () => {
  const layout: SlabLayout = {
    architecture: 'x',
    slabsPerLayer: 8,
    slabsPerToken: 2,
    groups: 2,
    layers: [
      { layer: 0, tensors: [] },
      { layer: 3, tensors: [] },
    ],
    slabBytes: 1,
    slabsBytes: 16,
    otherBytes: 0,
  };
  const header = { tensors: [], metadata: new Map() } as unknown as GgufHeader;
  const audit = { source: 's', score: 'tcess', task: 'math' };

  it('says which slabs stay, by the number of the layer', () => {
    const { changes } = pruning(
      'f',
      header,
      layout,
      [
        [0, 5],
        [1, 7],
      ],
      audit,
    );
    expect(changes.get('x.expert_count')).toEqual({ uint32: 2 });
    expect(changes.get('fleetgate.prune.kept.3')).toEqual({ uint32: [1, 7] });
  });

  it.each([
    ['layers that are missing', [[0, 5]], 'of 1 layers'],
    ['unequal counts', [[0, 5], [1]], 'equally many'],
    ['fewer than a token uses', [[0], [4]], 'expected 2 or more'],
    [
      'numbers that do not rise',
      [
        [5, 0],
        [1, 7],
      ],
      'rising numbers',
    ],
    [
      'numbers that there are not',
      [
        [0, 8],
        [1, 7],
      ],
      'rising numbers below 8',
    ],
    [
      'unequal groups',
      [
        [0, 1],
        [1, 7],
      ],
      'groups keep 2 0 slabs',
    ],
  ])('refuses %s', (_, keep, message) => {
    expect(() => pruning('f', header, layout, keep, audit)).toThrow(message);
  });
});

function never(): never {
  throw new Error('not there');
}
