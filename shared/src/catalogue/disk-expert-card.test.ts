import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { readModelFacts } from '../gguf/disk-gguf.js';
import { listExpertCards, readExpertCard, sha256OfFile } from './disk-expert-card.js';

const BUNDLED = fileURLToPath(new URL('../../../experts', import.meta.url));

const CARD = `schema: fleetgate-expert/1
name: tiny
title: Tiny
description: For tests.
domains: [math]
licence: { spdx: MIT }
origin: [{ what: a file, source: here, licence: MIT }]
variants:
  - id: tiny-f16
    file: tiny.gguf
    sha256: ${'a'.repeat(64)}
    sizeBytes: 4
    quantisation: F16
`;

describe('the bundled experts', () => {
  it('have sound cards, whose files have the digests, sizes and types that they give', async () => {
    const folders = await listExpertCards(BUNDLED);
    expect(folders.map(({ card }) => card.name)).toEqual([
      'big',
      'code',
      'dialogue',
      'finance',
      'generalist',
      'math',
      'medical',
      'moe',
      'story',
    ]);
    for (const { card, paths } of folders) {
      expect(card.stop).toEqual(['\nQuestion:']);
      expect(Object.keys(card.measured?.bitsPerByte ?? {}).length).toBe(6);
      for (const variant of card.variants) {
        const path = paths.get(variant.id) ?? '';
        expect(await sha256OfFile(path)).toBe(variant.sha256);
        expect((await readModelFacts(path)).quantisation).toBe(variant.quantisation);
      }
    }
  });
});

describe('readExpertCard', () => {
  let root: string;
  let directory: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'fleetgate-'));
    directory = join(root, 'tiny');
    await mkdir(directory);
    await writeFile(join(directory, 'tiny.gguf'), 'GGUF');
  });
  afterEach(async () => rm(root, { recursive: true }));

  const write = async (card: string): Promise<void> => writeFile(join(directory, 'expert.yaml'), card);
  const fault = async (): Promise<string> =>
    readExpertCard(directory).then(
      () => 'none',
      (error: { code: string; message: string }) => `${error.code} ${error.message}`,
    );

  it('reads a card and where its files lie', async () => {
    await write(CARD);
    const { card, paths } = await readExpertCard(directory);
    expect(card).toMatchObject({ name: 'tiny', stop: [], domains: ['math'] });
    expect([...paths]).toEqual([['tiny-f16', join(directory, 'tiny.gguf')]]);
  });

  it.each([
    ['not YAML', 'a: [', /expert\.yaml: .*/],
    ['no mapping', '7', /\(top\)/],
    ['a key twice', `${CARD}name: other\n`, /unique/i],
    ['an unknown key', `${CARD}colour: red\n`, /colour/],
    ['a missing title', CARD.replace('title: Tiny\n', ''), /title: /],
    ['a bad digest', CARD.replace('a'.repeat(64), 'xyz'), /variants\.0\.sha256: a sha256 is/],
    ['a file elsewhere', CARD.replace('file: tiny.gguf', 'file: ../../etc/tiny.gguf'), /variants\.0\.file/],
    ['a missing file', CARD.replace('file: tiny.gguf', 'file: none.gguf'), /none\.gguf.*no such file/],
    ['another size', CARD.replace('sizeBytes: 4', 'sizeBytes: 5'), /is to have 5 bytes, but it has 4/],
    ['aliases that blow up', `a: &a [x,x]\nb: &b [${'*a,'.repeat(60)}]\nc: [${'*b,'.repeat(60)}]\n`, /expert\.yaml/],
    ['a novel', `# ${'x'.repeat(300_000)}\n${CARD}`, /at most 262144/],
  ])('refuses a card with %s', async (_, card, message) => {
    await write(card);
    expect(await fault()).toMatch(/^expert\.invalid-card /);
    expect(await fault()).toMatch(message);
    expect(await fault()).toContain(directory);
  });

  it('refuses a folder without a card, and lists none for it', async () => {
    expect(await fault()).toMatch(/^expert\.invalid-card .*no such file/);
    expect(await listExpertCards(root)).toEqual([]);
    await expect(listExpertCards(join(root, 'none'))).rejects.toMatchObject({ code: 'expert.invalid-card' });
  });

  it('refuses two experts of one name', async () => {
    await write(CARD);
    await mkdir(join(root, 'twin'));
    await writeFile(join(root, 'twin', 'expert.yaml'), CARD);
    await writeFile(join(root, 'twin', 'tiny.gguf'), 'GGUF');
    await expect(listExpertCards(root)).rejects.toThrow(/expert tiny is also in/);
  });
});

describe('sha256OfFile', () => {
  it('says so when the file cannot be read', async () => {
    await expect(sha256OfFile('/none/such')).rejects.toMatchObject({ code: 'artefact.unavailable' });
    expect(await readFile(join(BUNDLED, 'math/expert.yaml'), 'utf8')).toContain(
      await sha256OfFile(join(BUNDLED, 'math/math-q8_0.gguf')),
    );
  });
});
