import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { readOutcomes, readPromptLines, writeJsonLines } from './disk-outcomes.js';
import { syntheticOutcomes } from './outcomes.fixture.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-outcomes-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const read: T[] = [];
  for await (const item of items) read.push(item);
  return read;
}
const invalid = (message: RegExp) =>
  expect.objectContaining({ code: 'outcomes.invalid', message: expect.stringMatching(message) as string });
const good = '{"id":1,"prompt":"hello","y":{"a":0.5}}';

describe('outcome files', () => {
  test.each(['jsonl', 'jsonl.gz'])('.%s: what was written is read back', async (ending) => {
    const path = join(folder, `outcomes.${ending}`);
    const outcomes = syntheticOutcomes(50).map((outcome, at) => ({
      ...outcome,
      prompt: `${outcome.prompt} ü漢🦊 ${at}`,
    }));
    expect(await writeJsonLines(path, outcomes)).toBe(50);
    expect(await all(readOutcomes(path))).toEqual(outcomes);
    expect(await readdir(folder)).toEqual([`outcomes.${ending}`]);
  });

  test('other columns are ignored; numbers become ids; empty lines are passed over', async () => {
    const path = join(folder, 'o.jsonl');
    await writeFile(path, `\n${good.replace('}}', '},"usd":{"a":1},"out_tok":{"a":null}}')}\r\n\n`);
    expect(await all(readOutcomes(path))).toEqual([{ id: '1', prompt: 'hello', y: { a: 0.5 }, out_tok: { a: null } }]);
  });

  test('prompts are read without looking at labels', async () => {
    const path = join(folder, 'p.jsonl');
    await writeFile(path, '{"id":"x","prompt":"p","prompt_tok":3,"task":7,"y":"?"}\n{"id":"x","prompt":"p"}\n');
    expect(await all(readPromptLines(path))).toEqual([
      { id: 'x', prompt: 'p', prompt_tok: 3 },
      { id: 'x', prompt: 'p' },
    ]);
  });

  test.each([
    ['not JSON', 'hello', /line 2.*expected one JSON object/],
    ['NaN', '{"id":2,"prompt":"x","y":{"a":NaN}}', /line 2.*expected one JSON object.*NaN and Infinity are not JSON/],
    ['NaN as a text', '{"id":2,"prompt":"x","y":{"a":"NaN"}}', /line 2: y\.a/],
    ['no figure', '{"id":2,"prompt":"x","y":{"a":null}}', /line 2: y\.a/],
    ['infinite', '{"id":2,"prompt":"x","y":{"a":1e999}}', /line 2: y\.a/],
    [
      'other columns',
      '{"id":2,"question":"x","score":{"a":1}}',
      /line 2.*prompt.*; y.*its columns: id, question, score/,
    ],
    ['a table', 'id,prompt,y', /line 2.*got "id,prompt,y"/],
    ['one figure for all models', '{"id":2,"prompt":"x","y":1}', /line 2: y: /],
    ['a model without a name', '{"id":2,"prompt":"x","y":{"":1}}', /line 2: y/],
    ['negative tokens', '{"id":2,"prompt":"x","y":{"a":1},"out_tok":{"a":-3}}', /line 2: out_tok\.a/],
    ['an id that has been', good, /line 2: id "1" is that of line 1 too/],
    ['an id that is no text', '{"id":null,"prompt":"x","y":{"a":1}}', /line 2: id/],
    ['no prompt', '{"id":1,"y":{"a":1}}', /line 2.*prompt/],
    ['a quality above 1', '{"id":1,"prompt":"x","y":{"a":3}}', /line 2.*y\.a/],
    ['no model', '{"id":1,"prompt":"x","y":{}}', /line 2.*at least one model/],
    ['an array', '[]', /line 2/],
  ])('%s is refused with file and line', async (_, line, message) => {
    const path = join(folder, 'bad.jsonl');
    await writeFile(path, `${good}\n${line}\n`);
    await expect(all(readOutcomes(path))).rejects.toThrow(invalid(message));
    await expect(all(readOutcomes(path))).rejects.toThrow(invalid(/bad\.jsonl/));
  });

  test('a missing file, one that is not gzip and one that is cut short are refused', async () => {
    await expect(all(readOutcomes(join(folder, 'none.jsonl')))).rejects.toThrow(invalid(/none\.jsonl/));
    await writeFile(join(folder, 'text.jsonl.gz'), `${good}\n`);
    await expect(all(readOutcomes(join(folder, 'text.jsonl.gz')))).rejects.toThrow(invalid(/text\.jsonl\.gz/));
    const zipped = gzipSync(`${good}\n`.repeat(2000));
    await writeFile(join(folder, 'cut.jsonl.gz'), zipped.subarray(0, zipped.length - 20));
    await expect(all(readOutcomes(join(folder, 'cut.jsonl.gz')))).rejects.toThrow(invalid(/cut\.jsonl\.gz/));
  });

  test('stopping early closes the file; a failed write leaves nothing behind', async () => {
    const path = join(folder, 'many.jsonl');
    const lines = Array.from({ length: 20_000 }, (_, at) => good.replace('1', String(at)));
    await writeFile(path, lines.join('\n'));
    for await (const outcome of readOutcomes(path)) {
      expect(outcome.id).toBe('0');
      break;
    }
    function* failing() {
      yield {};
      throw new Error('enough');
    }
    await expect(writeJsonLines(join(folder, 'out.jsonl'), failing())).rejects.toThrow('enough');
    expect(await readdir(folder)).toEqual(['many.jsonl']);
  });
});
