import { copyFile, mkdtemp, open, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { modelFacts } from '@fleetgate/shared/gguf/facts';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { type MetadataValue, takenTensor } from '../gguf/assembly.js';
import { writeAssembly } from '../gguf/disk-assembly.js';
import { splitPaths } from '../gguf/split.js';
import { runAgentCli } from './main.js';
import { SlabSession } from './slab-session.js';

const MOE = fileURLToPath(new URL('../../../experts/moe/moe-q8_0.gguf', import.meta.url));
const PARTS = 3;

let root: string;
let header: GgufHeader;
let paths: readonly string[];
let printed = '';
let told = '';

/** As `gguf-split` does: all metadata in the first part, tensors over all of them. */
async function split(to: readonly string[], changed: Readonly<Record<string, MetadataValue>> = {}): Promise<void> {
  for (const [no, output] of to.entries()) {
    const without: readonly (readonly [string, undefined])[] =
      no === 0 ? [] : [...header.metadata.keys()].map((key) => [key, undefined] as const);
    const changes = new Map<string, MetadataValue | undefined>([
      ...without,
      ['split.no', { uint32: no }],
      ['split.count', { uint32: to.length }],
      ['split.tensors.count', { uint32: header.tensors.length }],
      ...(no === 1 ? Object.entries(changed) : []),
    ]);
    const tensors = header.tensors
      .filter((_, i) => Math.floor((i * to.length) / header.tensors.length) === no)
      .map((tensor) => takenTensor(tensor, MOE, () => undefined));
    const assembly = { base: { path: MOE, header }, changes, tensors, alignment: 32, output };
    await writeAssembly(assembly, new AbortController().signal);
  }
}

const merge = async (part: string, out: string): Promise<number> => {
  [printed, told] = ['', ''];
  return runAgentCli(['gguf', 'merge', part, '--out', out, '--json']);
};

async function bytesOf(path: string, { fileOffset, byteLength }: { fileOffset: number; byteLength: number }) {
  const file = await open(path);
  const { buffer } = await file.read(Buffer.alloc(byteLength), 0, byteLength, fileOffset);
  await file.close();
  return buffer;
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'fleetgate-'));
  header = await readGguf(MOE);
});
afterAll(async () => {
  vi.restoreAllMocks();
  await rm(root, { recursive: true });
});
beforeEach(async () => {
  vi.restoreAllMocks();
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((printed += String(text)), true));
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((told += String(text)), true));
  paths = splitPaths(join(root, `model-00001-of-0000${PARTS}.gguf`));
  await split(paths);
});

describe('fleetgate gguf merge', () => {
  it('writes one file that is, weight by weight, the model before it was split', async () => {
    const out = join(root, 'whole.gguf');
    expect(await merge(paths[1] ?? '', out)).toBe(0);
    expect(JSON.parse(printed)).toMatchObject({ parts: PARTS, tensors: header.tensors.length, file: out });
    const whole = await readGguf(out);
    expect(modelFacts(whole, out)).toEqual({ ...modelFacts(header, MOE), fileBytes: expect.any(Number) });
    expect([...whole.metadata.keys()].filter((key) => key.startsWith('split.'))).toEqual([]);
    expect(whole.tensors.map(({ name }) => name)).toEqual(header.tensors.map(({ name }) => name));
    for (const [i, tensor] of header.tensors.entries()) {
      expect((await bytesOf(out, whole.tensors[i] ?? tensor)).equals(await bytesOf(MOE, tensor))).toBe(true);
    }
    const bits = async (path: string): Promise<number> => {
      const session = await SlabSession.open(path, { threads: 1, maxTokens: 64 });
      const [document = []] = session.documents([{ prompt: 'What is 2 + 2?', completion: 'It is four.' }]);
      const { bits: counted } = session.evaluate(document);
      session.close();
      return counted;
    };
    expect(await bits(out)).toBe(await bits(MOE));
  });

  it('says which part is missing, there twice, or of another model, and writes nothing', async () => {
    const [first = '', second = '', third = ''] = paths;
    const fails = async (part: string, message: RegExp): Promise<void> => {
      expect(await merge(part, join(root, 'bad.gguf'))).not.toBe(0);
      expect(printed + told).toMatch(message);
      expect((await readdir(root)).filter((name) => name.startsWith('bad.gguf'))).toEqual([]);
    };
    await copyFile(second, third);
    await fails(first, /00003-of-00003\.gguf: split\.no is 1, expected 2/);
    await rm(third);
    await fails(second, /1 of 3 parts are missing: .*00003-of-00003/);
    await split(paths, { 'general.architecture': 'llama' });
    await fails(first, /00002-of-00003\.gguf: it is of another architecture/);
    await split(paths, { 'split.tensors.count': { uint32: 7 } });
    await fails(first, /00002-of-00003\.gguf: split\.tensors\.count is 7, expected/);
    const [alone = ''] = splitPaths(join(root, 'alone-00001-of-00001.gguf'));
    await rename(second, alone);
    await fails(alone, /split\.count is 3, expected 1/);
    await fails(MOE, /the name is of no part/);
    expect(await merge(first, first)).toBe(2);
  });

  it('is what other commands tell to use of a part', async () => {
    [printed, told] = ['', ''];
    expect(await runAgentCli(['gguf', 'inspect', paths[0] ?? ''])).toBe(2);
    expect(told).toMatch(/split over 3 files[^]*fleetgate gguf merge/);
  });
});
