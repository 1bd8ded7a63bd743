import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { readGguf, readModelFacts } from '@fleetgate/shared/gguf/disk-gguf';
import { ggmlType } from '@fleetgate/shared/gguf/ggml-type';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { takenTensor } from '../gguf/assembly.js';
import { writeAssembly } from '../gguf/disk-assembly.js';
import { VariantBuilder, withAlignment } from './disk-variant-builder.js';
import { quantiseFile } from './process-quantise.js';
import { quantisable, targetType } from './tensor-types.js';
import { costOf, specOf, variantSpace } from './variant-space.js';
import { loadBoard } from '@fleetgate/firmware-configs/load-board';

const MOE = fileURLToPath(new URL('../../../experts/moe/moe-q8_0.gguf', import.meta.url));
const KEPT = [0, 3, 8, 9];
const SOURCE = '0'.repeat(64);
const { signal } = new AbortController();

describe('VariantBuilder', () => {
  let folder: string;
  let header: GgufHeader;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fleetgate-'));
    header = await readGguf(MOE);
  });
  afterAll(async () => rm(folder, { recursive: true }));

  it('builds, byte for byte, what quantising the pruned model gives, and says what it is', async () => {
    const types = ['q5_1', 'q4_0'].map(targetType);
    const builder = new VariantBuilder({
      path: MOE,
      header,
      sha256: SOURCE,
      folder: join(folder, 'types'),
      threads: 1,
    });
    await builder.prepare(types, () => {}, signal);
    const space = variantSpace(header, MOE, { types, layerGroups: 2, keepCounts: [4], elastic: true });
    // 4 slabs; embedding as it is, attention q5_1, the feed-forward of either half in another type.
    const spec = specOf(space, [1, 0, 0, 1, 2, 1]);
    const output = join(folder, 'built.gguf');
    const kept = { sets: [KEPT, KEPT, KEPT, KEPT], score: 'tcess', task: 'all' };
    const order = { spec, kept, how: 'a test', output };
    await builder.build(order, signal);

    const pruned = join(folder, 'pruned.gguf');
    const tensors = header.tensors.map((tensor) => takenTensor(tensor, MOE, () => KEPT));
    const changes = new Map([['qwen3moe.expert_count', { uint32: 4 }]]);
    await writeAssembly({ base: { path: MOE, header }, changes, tensors, alignment: 32, output: pruned }, signal);
    const typeByTensor = new Map([...spec.types].map(([name, { id }]) => [name, id]));
    const request = { input: pruned, output: join(folder, 'anew.gguf'), typeByTensor, threads: 1, expectedBytes: 0 };
    const anew = await quantiseFile(request, () => {}, signal);

    const built = await readGguf(output);
    const [left, right] = await Promise.all([readFile(output), readFile(request.output)]);
    for (const tensor of anew.tensors) {
      const same = built.tensors.find(({ name }) => name === tensor.name);
      expect(same).toMatchObject({ dimensions: tensor.dimensions, type: tensor.type });
      const bytes = right.subarray(tensor.fileOffset, tensor.fileOffset + tensor.byteLength);
      const at = same?.fileOffset ?? 0;
      expect(left.subarray(at, at + tensor.byteLength).equals(bytes), tensor.name).toBe(true);
    }
    expect(built.alignment).toBe(4096);
    expect(built.metadata.get('fleetgate.variant.source')?.value).toBe(SOURCE);
    expect(built.metadata.get('fleetgate.prune.kept.2')?.value).toMatchObject({ elements: KEPT });
    expect(await readModelFacts(output)).toMatchObject({ slabsPerLayer: 4, slabsPerToken: 2 });
    const { sizeBytes } = costOf(space, spec, await loadBoard('raspberry-pi-5'));
    expect(Math.abs(built.fileBytes - sizeBytes)).toBeLessThanOrEqual(4096);
  });

  it('quantises a file whose tensors lie on pages, which llama.cpp alone would break', async () => {
    const paged = join(folder, 'paged.gguf');
    const tensors = header.tensors.map((tensor) => takenTensor(tensor, MOE, () => undefined));
    const base = { path: MOE, header };
    await writeAssembly({ base, changes: new Map(), tensors, alignment: 4096, output: paged }, signal);
    const typeByTensor = new Map(quantisable(header).map(({ name }) => [name, 2]));
    const output = join(folder, 'q4.gguf');
    const request = { output, typeByTensor, threads: 1, expectedBytes: 0 };
    await expect(quantiseFile({ ...request, input: paged }, () => {}, signal)).rejects.toMatchObject({
      code: 'gguf.unsupported',
      message: expect.stringContaining('aligned to 4096'),
    });
    const quantised = await withAlignment(paged, await readGguf(paged), output, signal, async (input) =>
      quantiseFile({ ...request, input }, () => {}, signal),
    );
    expect(quantised.alignment).toBe(32);
    const straight = await quantiseFile({ ...request, input: MOE, output: join(folder, 's.gguf') }, () => {}, signal);
    const [left, right] = await Promise.all([readFile(output), readFile(join(folder, 's.gguf'))]);
    const last = straight.tensors.at(-1);
    const same = quantised.tensors.find(({ name }) => name === last?.name);
    expect(last?.type).toEqual(ggmlType(2));
    if (last === undefined || same === undefined) throw new Error('no tensors');
    const bytes = right.subarray(last.fileOffset, last.fileOffset + last.byteLength);
    expect(left.subarray(same.fileOffset, same.fileOffset + same.byteLength).equals(bytes)).toBe(true);
  });
});
