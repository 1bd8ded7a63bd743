import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { quantiseFile } from './process-quantise.js';
import { rulesFor } from './quantise-rules.js';

const MOE = fileURLToPath(new URL('../../../experts/moe/moe-q8_0.gguf', import.meta.url));
const Q4_0 = 2;
const Q5_1 = 7;
const Q4_K = 12;

describe('quantiseFile', () => {
  let folder: string;
  let output: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fleetgate-'));
    output = join(folder, 'out.gguf');
  });
  afterAll(async () => rm(folder, { recursive: true }));

  const quantise = async (
    typeByTensor: ReadonlyMap<string, number>,
    signal = new AbortController().signal,
    onTensor: (tensor: number, tensors: number) => void = () => {},
  ): ReturnType<typeof quantiseFile> =>
    quantiseFile({ input: MOE, output, typeByTensor, threads: 1, expectedBytes: 6e6 }, onTensor, signal);

  it('gives each tensor the type asked for, leaves the others, and tells how far it is', async () => {
    const wanted = new Map([
      ['blk.0.ffn_up_exps.weight', Q4_0],
      ['blk.3.ffn_up_exps.weight', Q4_0],
      ['blk.1.ffn_down_exps.weight', Q5_1],
      ['token_embd.weight', Q5_1],
    ]);
    const seen: number[] = [];
    const header = await quantise(wanted, undefined, (tensor, tensors) => seen.push(tensor / tensors));
    const before = await readGguf(MOE);
    const typesBefore = new Map(before.tensors.map(({ name, type }) => [name, type.id]));
    expect(header.tensors).toHaveLength(before.tensors.length);
    for (const { name, type } of header.tensors) expect(type.id).toBe(wanted.get(name) ?? typesBefore.get(name));
    expect(seen.at(-1)).toBe(1);
    expect(await readdir(folder)).toEqual(['out.gguf']);
    await rm(output);
  });

  it('leaves nothing behind when it is stopped', async () => {
    const abort = new AbortController();
    const stopped = quantise(new Map([['blk.3.ffn_up_exps.weight', Q4_0]]), abort.signal, () => abort.abort());
    await expect(stopped).rejects.toMatchObject({ code: 'job.cancelled' });
    expect(await readdir(folder)).toEqual([]);
  });

  it('says so when llama.cpp gives a tensor another type', async () => {
    const refused = quantise(new Map([['blk.3.ffn_up_exps.weight', Q4_K]]));
    await expect(refused).rejects.toMatchObject({ code: 'gguf.unsupported', message: expect.stringContaining('Q5_0') });
    expect(await readdir(folder)).toEqual([]);
  });

  it('says so when the folder is not there or the disk cannot hold it', async () => {
    const file = { input: MOE, typeByTensor: new Map(), threads: 1 };
    const { signal } = new AbortController();
    const nowhere = quantiseFile({ ...file, output: join(folder, 'no', 'x.gguf'), expectedBytes: 1 }, () => {}, signal);
    await expect(nowhere).rejects.toMatchObject({ code: 'artefact.unavailable' });
    const tooLarge = quantiseFile({ ...file, output, expectedBytes: 1e18 }, () => {}, signal);
    await expect(tooLarge).rejects.toMatchObject({ code: 'artefact.disk-full' });
  });
});

describe('rulesFor', () => {
  it('makes one rule of a tensor of all layers, and takes names literally', () => {
    const rules = rulesFor(
      new Map([
        ['blk.0.ffn_up.weight', 2],
        ['blk.11.ffn_up.weight', 2],
        ['blk.1.ffn_up.weight', 8],
        ['output.weight', 2],
      ]),
    );
    expect(rules).toEqual([
      { pattern: '^output\\.weight$', type: 2 },
      { pattern: '^blk\\.(?:0|11)\\.ffn_up\\.weight$', type: 2 },
      { pattern: '^blk\\.(?:1)\\.ffn_up\\.weight$', type: 8 },
    ]);
  });
});
