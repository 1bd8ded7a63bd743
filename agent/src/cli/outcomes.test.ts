import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';

import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { registerOutcomes } from './outcomes.js';

const EXPERTS = fileURLToPath(new URL('../../../experts', import.meta.url));
const line = (prompt: string) => `${JSON.stringify({ prompt, completion: 'The answer is 7.', domain: 'math' })}\n`;

describe('fleetgate outcomes', () => {
  let root: string;
  let printed: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'fleetgate-'));
    await mkdir(join(root, 'experts'));
    await mkdir(join(root, 'texts'));
    for (const name of ['math', 'story']) await symlink(join(EXPERTS, name), join(root, 'experts', name), 'dir');
    printed = '';
    vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      printed += String(text);
      return true;
    });
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await rm(root, { recursive: true });
  });

  const texts = async (content: string): Promise<void> =>
    writeFile(join(root, 'texts', 'math.train.jsonl.gz'), gzipSync(content));
  const run = async (...more: string[]): Promise<void> => {
    const program = new Command().exitOverride();
    registerOutcomes(program);
    const places = ['--experts', join(root, 'experts'), '--texts', join(root, 'texts'), '--out', join(root, 'out.gz')];
    await program.parseAsync(['outcomes', ...places, '--per-domain', '5', '--json', ...more], { from: 'user' });
  };

  it('measures every expert and leaves out what does not fit', async () => {
    await texts(
      line('What is 3 plus 4?') + line('word '.repeat(500)) + line('Janet has 3 apples and buys 4. How many?'),
    );
    await run();
    const lines = gunzipSync(await readFile(join(root, 'out.gz')))
      .toString()
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text) as { id: string; bpb: Record<string, number>; y: Record<string, number> });
    expect(lines.map(({ id }) => id)).toEqual(['math-0', 'math-2']);
    for (const { bpb, y } of lines) {
      expect(Object.keys(bpb)).toEqual(['math', 'story']);
      expect(bpb['math']).toBeLessThan(bpb['story'] ?? 0);
      expect(y['math']).toBeCloseTo(2 ** -(bpb['math'] ?? 0), 3);
    }
    expect(JSON.parse(printed)).toMatchObject({ prompts: 2, skipped: 1 });
  });

  it('measures the experts together, and how sure each is of its own answer', async () => {
    await texts(line('What is 3 plus 4?') + line('Janet has 3 apples and buys 4. How many?'));
    await run('--ensemble', '--answers', '12');
    const lines = gunzipSync(await readFile(join(root, 'out.gz')))
      .toString()
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text) as Record<'bpb' | 'conf' | 'out_tok', Record<string, number>>);
    expect(lines).toHaveLength(2);
    for (const { bpb, conf, out_tok } of lines) {
      expect(Object.keys(bpb)).toEqual(['math', 'story', 'ensemble']);
      expect(bpb['ensemble']).toBeLessThan(Math.min(bpb['math'] ?? 0, bpb['story'] ?? 0) + 0.1);
      expect(Object.keys(conf)).toEqual(['math', 'story']);
      for (const sureness of Object.values(conf)) expect(sureness).toBeLessThan(0);
      // An answer that was cut off counts as at least as long as the reference.
      expect(out_tok['math']).toBeGreaterThan(0);
    }
    expect(JSON.parse(printed)).toMatchObject({ meanBitsPerByte: { ensemble: expect.any(Number) as number } });
  });

  it.each([
    ['math,law', 'there is no expert law'],
    ['math', 'one expert is none'],
  ])('refuses the ensemble %s', async (names, reason) => {
    await texts(line('a'));
    await expect(run('--ensemble', names)).rejects.toThrow(`--ensemble: ${reason}`);
  });

  it('says which line is wrong, and where nothing is', async () => {
    await expect(run()).rejects.toThrow(/texts: no \*\.train\.jsonl\.gz files/);
    await texts(`${line('a')}{"prompt": 7}\n`);
    await expect(run()).rejects.toMatchObject({
      code: 'outcomes.invalid',
      message: expect.stringMatching(/math\.train\.jsonl\.gz:2: prompt/),
    });
    await writeFile(join(root, 'texts', 'math.train.jsonl.gz'), 'not gzip');
    await expect(run()).rejects.toMatchObject({ code: 'outcomes.invalid' });
  });
});
