import { copyFile, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { readGguf, readModelFacts } from './disk-gguf.js';

const BIG = fileURLToPath(new URL('../../../experts/big/big-q8_0.gguf', import.meta.url));

describe('readGguf', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'fleetgate-'));
  });
  afterAll(async () => rm(directory, { recursive: true }));

  it('reads the facts of a bundled model', async () => {
    expect(await readModelFacts(BIG)).toMatchObject({
      architecture: 'llama',
      parameters: 3_278_976,
      contextTokens: 320,
      layers: 8,
      quantisation: 'Q8_0',
      hasChatTemplate: true,
      fileBytes: 3_588_928,
    });
  });

  it('finds one tokenizer in all bundled models, and another one where a token, a merge or a special id is another', async () => {
    const names = ['big', 'code', 'dialogue', 'finance', 'generalist', 'math', 'medical', 'moe', 'story'];
    const files = names.map((name) => BIG.replaceAll('big', name));
    const tokenizers = await Promise.all(files.map(async (path) => (await readModelFacts(path)).tokenizer));
    expect(tokenizers[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(new Set(tokenizers).size).toBe(1);
    const { metadata } = await readGguf(BIG);
    const content = await readFile(BIG);
    const changed = join(directory, 'changed.gguf');
    for (const key of ['tokens', 'merges', 'eos_token_id']) {
      const { offset, byteLength } = metadata.get(`tokenizer.ggml.${key}`) ?? { offset: 0, byteLength: 0 };
      const other = Buffer.from(content);
      other[offset + byteLength - 1] = (other[offset + byteLength - 1] ?? 0) ^ 1;
      await writeFile(changed, other);
      expect((await readModelFacts(changed)).tokenizer).not.toBe(tokenizers[0]);
    }
  });

  it('finds a file cut off in its tensors, and one cut off in its header', async () => {
    const cut = join(directory, 'cut.gguf');
    await copyFile(BIG, cut);
    await truncate(cut, 3_588_000);
    await expect(readGguf(cut)).rejects.toMatchObject({
      code: 'gguf.malformed',
      message: expect.stringContaining('its tensors need 3588928 bytes, it has 3588000'),
    });
    await truncate(cut, 50_000);
    await expect(readGguf(cut)).rejects.toMatchObject({ code: 'gguf.malformed' });
    await truncate(cut, 0);
    await expect(readGguf(cut)).rejects.toMatchObject({ code: 'gguf.malformed' });
  });

  it('reads a header that is longer than its first read', async () => {
    // One metadata entry: a text of 3 MB.
    const text = Buffer.alloc(3_000_000, 'x');
    const start = Buffer.alloc(24 + 8 + 1 + 4 + 8);
    start.write('GGUF');
    start.writeUInt32LE(3, 4);
    start.writeBigUInt64LE(1n, 16);
    start.writeBigUInt64LE(1n, 24);
    start.write('k', 32);
    start.writeUInt32LE(8, 33);
    start.writeBigUInt64LE(BigInt(text.length), 37);
    const long = join(directory, 'long.gguf');
    await writeFile(long, Buffer.concat([start, text]));
    expect((await readGguf(long)).headerBytes).toBe(start.length + text.length);
  });

  it('says so when there is no file to read', async () => {
    await expect(readGguf(join(directory, 'none.gguf'))).rejects.toMatchObject({ code: 'artefact.unavailable' });
    await mkdir(join(directory, 'folder.gguf'));
    await expect(readGguf(join(directory, 'folder.gguf'))).rejects.toMatchObject({ code: 'artefact.unavailable' });
  });
});
