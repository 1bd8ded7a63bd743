import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { silentLogger } from '@fleetgate/shared/logger';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { readLabelledPrompts } from './disk-labelled-prompts.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-labelled-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const line = (at: number, more = ''): string =>
  JSON.stringify({ prompt: `question ${at}${more}`, completion: 'answer' });

it('reads training pairs, plain and compressed, and leaves out what is none or too long', async () => {
  const lines = [line(1), 'not json', '{"prompt":"no answer"}', line(4, 'x'.repeat(3000)), '', line(6)];
  writeFileSync(join(folder, 'law.train.jsonl.gz'), gzipSync(lines.join('\n')));
  writeFileSync(join(folder, 'math.train.jsonl'), line(1));
  writeFileSync(join(folder, 'math.valid.jsonl'), line(9));
  const pairs = await readLabelledPrompts(folder, silentLogger);
  expect(pairs.map(({ id }) => id)).toEqual(['law-1', 'law-6', 'math-1']);
  expect(pairs[1]).toEqual({ id: 'law-6', prompt: 'question 6', completion: 'answer' });
});

it('spreads what it takes of a large file over all of it', async () => {
  writeFileSync(join(folder, 'law.train.jsonl'), Array.from({ length: 1000 }, (_, at) => line(at + 1)).join('\n'));
  const ids = (await readLabelledPrompts(folder, silentLogger)).map(({ id }) => Number(id.split('-')[1]));
  expect(ids).toHaveLength(120);
  expect(ids.filter((id) => id <= 500)).toHaveLength(60);
});

it.each(['damaged.train.jsonl.gz', undefined])('warns and gives none where they cannot be read (%s)', async (name) => {
  const warnings: string[] = [];
  if (name !== undefined) writeFileSync(join(folder, name), 'no gzip');
  const from = name === undefined ? join(folder, 'none') : folder;
  expect(await readLabelledPrompts(from, { ...silentLogger, warn: (event) => warnings.push(event) })).toEqual([]);
  expect(warnings).toEqual(['gate.no-labelled-prompts']);
});
