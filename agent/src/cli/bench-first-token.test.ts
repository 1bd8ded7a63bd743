import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { runAgentCli } from './main.js';

const EXPERTS = fileURLToPath(new URL('../../../experts', import.meta.url));
const modelOf = (expert: string): string => join(EXPERTS, expert, `${expert}-q8_0.gguf`);

let printed: string;
beforeEach(() => {
  vi.restoreAllMocks();
  printed = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((printed += String(text)), true));
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
});
afterAll(() => {
  vi.restoreAllMocks();
});

describe('fleetgate bench first-token', () => {
  it('tells what a prompt reads before its first token, cold and by what memory was used for', async () => {
    const files = await readdir(join(EXPERTS, 'moe'));
    const options = ['--texts', join(EXPERTS, 'data'), '--tasks', '2', '--before', '1', '--resident', '50'];
    expect(await runAgentCli(['bench', 'first-token', modelOf('moe'), ...options, '--json'])).toBe(0);
    const { rows, answers } = JSON.parse(printed) as {
      answers: { tokens: number; bytesRead: number };
      rows: { task: string; situation: string; bytesRead: number; reusedTokens: number; loadMs?: number }[];
    };
    expect(rows.map(({ task, situation }) => `${task} ${situation}`)).toEqual(
      ['code', 'dialogue'].flatMap((task) =>
        ['cold', 'its task', 'another task', 'again'].map((one) => `${task} ${one}`),
      ),
    );
    // What it needs while it runs does not stay beside the model.
    expect(await readdir(join(EXPERTS, 'moe'))).toEqual(files);
    expect(answers.tokens).toBeGreaterThan(48);
    expect(answers.bytesRead).toBeGreaterThan(0);
    for (const { situation, bytesRead, reusedTokens, loadMs } of rows) {
      expect(loadMs !== undefined).toBe(situation === 'cold');
      if (situation === 'cold') expect(bytesRead).toBeGreaterThan(0);
      if (situation === 'again') expect(reusedTokens).toBeGreaterThan(8);
    }
  });

  it('refuses a dense model', async () => {
    expect(await runAgentCli(['bench', 'first-token', modelOf('math'), '--texts', join(EXPERTS, 'data')])).toBe(2);
  });
});
