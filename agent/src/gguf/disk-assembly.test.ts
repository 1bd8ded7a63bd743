import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { readGguf, readModelFacts } from '@fleetgate/shared/gguf/disk-gguf';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type MetadataValue, takenTensor } from './assembly.js';
import { writeAssembly } from './disk-assembly.js';

const MOE = fileURLToPath(new URL('../../../experts/moe/moe-q8_0.gguf', import.meta.url));
const KEPT = [1, 2, 5, 15];

describe('writeAssembly', () => {
  let folder: string;
  let header: GgufHeader;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fleetgate-'));
    header = await readGguf(MOE);
  });
  afterAll(async () => rm(folder, { recursive: true }));

  async function assembled(kept: readonly number[] | undefined, changes: ReadonlyMap<string, MetadataValue>) {
    const output = join(folder, 'out.gguf');
    const tensors = header.tensors.map((tensor) => takenTensor(tensor, MOE, () => kept));
    const base = { path: MOE, header };
    await writeAssembly({ base, changes, tensors, alignment: 4096, output }, new AbortController().signal);
    return { output, written: await readGguf(output) };
  }

  it('copies every byte of metadata and tensors, on pages of their own', async () => {
    const { output, written } = await assembled(undefined, new Map([['fleetgate.how', 'copied']]));
    const [before, after] = await Promise.all([readFile(MOE), readFile(output)]);
    expect(written.alignment).toBe(4096);
    expect(written.tokenizer).toBe(header.tokenizer);
    expect(written.metadata.get('fleetgate.how')?.value).toBe('copied');
    for (const [i, tensor] of header.tensors.entries()) {
      const copy = written.tensors[i];
      expect(copy).toMatchObject({ name: tensor.name, dimensions: tensor.dimensions, type: tensor.type });
      const at = copy?.fileOffset ?? 0;
      expect(at % 4096).toBe(0);
      const bytes = before.subarray(tensor.fileOffset, tensor.fileOffset + tensor.byteLength);
      expect(bytes.equals(after.subarray(at, at + tensor.byteLength))).toBe(true);
    }
  });

  it('takes the slabs asked for, and the router rows that lead to them', async () => {
    const changes = new Map<string, MetadataValue>([['qwen3moe.expert_count', { uint32: KEPT.length }]]);
    const { output, written } = await assembled(KEPT, changes);
    expect(await readModelFacts(output)).toMatchObject({ slabsPerLayer: 4, slabsPerToken: 2 });
    const [before, after] = await Promise.all([readFile(MOE), readFile(output)]);
    for (const name of ['blk.2.ffn_down_exps.weight', 'blk.2.ffn_gate_inp.weight']) {
      const [from, to] = [header, written].map(({ tensors }) => tensors.find((tensor) => tensor.name === name));
      if (from === undefined || to === undefined) throw new Error(`${name} is missing`);
      expect(to.dimensions).toEqual([...from.dimensions.slice(0, -1), 4]);
      const stride = from.byteLength / 16;
      for (const [i, slab] of KEPT.entries()) {
        const at = from.fileOffset + slab * stride;
        const there = to.fileOffset + i * stride;
        expect(before.subarray(at, at + stride).equals(after.subarray(there, there + stride))).toBe(true);
      }
    }
  });

  it('leaves nothing behind when it is stopped or a source is gone', async () => {
    const before = await readdir(folder);
    const base = { path: MOE, header };
    const one = { base, changes: new Map(), alignment: 32, output: join(folder, 'x.gguf') };
    const tensors = header.tensors.map((tensor) => takenTensor(tensor, MOE, () => undefined));
    const stopped = writeAssembly({ ...one, tensors }, AbortSignal.abort());
    await expect(stopped).rejects.toMatchObject({ code: 'job.cancelled' });
    const missing = header.tensors.map((tensor) => takenTensor(tensor, join(folder, 'none'), () => undefined));
    const failed = writeAssembly({ ...one, tensors: missing }, new AbortController().signal);
    await expect(failed).rejects.toMatchObject({ code: 'artefact.unavailable' });
    expect(await readdir(folder)).toEqual(before);
  });
});
