import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { writeJsonLines } from '../gating/disk-outcomes.js';
import { syntheticOutcomes } from '../gating/outcomes.fixture.js';
import { runCli } from './main.js';

let folder = '';
let out = '';
let err = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-cli-gate-'));
  out = '';
  err = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((out += String(text)), true));
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((err += String(text)), true));
  await writeJsonLines(file('outcomes.jsonl.gz'), syntheticOutcomes(60));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});
const file = (name: string) => join(folder, name);
const train = () => runCli(['gate', 'train', file('outcomes.jsonl.gz'), '--out', file('gate.json'), '--json']);

describe('fleetgate gate', () => {
  test('train, predict on prompts without labels, eval', async () => {
    expect(await train()).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ trainedOn: 60, models: ['code', 'generalist', 'math', 'story'] });
    await writeFile(
      file('prompts.jsonl'),
      '{"id":"a","prompt":"python function","prompt_tok":4}\n{"id":"b","prompt":""}\n',
    );
    out = '';
    const predict = ['gate', 'predict', file('gate.json'), file('prompts.jsonl'), '--out', file('p.jsonl'), '--json'];
    expect(await runCli(predict)).toBe(0);
    const lines = (await readFile(file('p.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line): unknown => JSON.parse(line));
    const perModel = { code: expect.any(Number), generalist: expect.any(Number), math: expect.any(Number) };
    expect(lines).toMatchObject([
      { id: 'a', p: perModel, sd: perModel, out_tok: perModel },
      { id: 'b', p: perModel, sd: perModel, out_tok: perModel },
    ]);
    out = '';
    expect(await runCli(['gate', 'eval', file('gate.json'), file('outcomes.jsonl.gz'), '--json'])).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      prompts: 60,
      bestSingle: { model: 'generalist' },
      report: {
        oracle: { references: [{ name: 'generalist' }, { name: 'a model at random' }] },
        specialisation: [
          { expert: 'code', home: 'code' },
          { expert: 'generalist' },
          { home: 'math' },
          { home: 'story' },
        ],
        classes: [{ task: 'code', models: [{ model: 'code', chosen: 1 }, {}, {}, {}] }, {}, {}],
      },
    });
  });

  test('predict answers every prompt, whatever it holds', async () => {
    await train();
    const prompts = [
      '',
      ' \n\t ',
      '\u0000\u0001\u001b[31m',
      '\u{1f600}'.repeat(400),
      'a '.repeat(100_000),
      '\ud800',
      '漢字',
      '}{"\\',
    ];
    await writeJsonLines(
      file('odd.jsonl.gz'),
      prompts.map((prompt, id) => ({ id, prompt, task: 1, y: 'not looked at' })),
    );
    const predict = ['gate', 'predict', file('gate.json'), file('odd.jsonl.gz'), '--out', file('p.jsonl')];
    expect(await runCli(predict)).toBe(0);
    const lines = (await readFile(file('p.jsonl'), 'utf8')).trim().split('\n');
    expect(lines).toHaveLength(prompts.length);
    for (const line of lines) {
      const { p, sd, out_tok } = JSON.parse(line) as Record<'p' | 'sd' | 'out_tok', Record<string, number>>;
      for (const of of [p, sd, out_tok]) for (const value of Object.values(of)) expect(value).toBeGreaterThanOrEqual(0);
      for (const value of Object.values(p)) expect(value).toBeLessThanOrEqual(1);
    }
  });

  test('eval prices models whose size their names tell, and sets routing beside mixing at random', async () => {
    const outcomes = syntheticOutcomes(60).map((outcome) => ({
      ...outcome,
      out_tok: {},
      y: { 'gemma-2-2b-it': outcome.y['math'] ?? 0, 'gemma-2-9b-it': outcome.y['generalist'] ?? 0 },
    }));
    await writeJsonLines(file('outcomes.jsonl.gz'), outcomes);
    await train();
    out = '';
    expect(await runCli(['gate', 'eval', file('gate.json'), file('outcomes.jsonl.gz'), '--json'])).toBe(0);
    const { report, routing } = JSON.parse(out) as {
      report: { oracle: { references: { name: string; cost: number }[] } };
      routing: { aiq: number; zeroAiq: number };
    };
    expect(report.oracle.references.at(-1)?.name).toBe('cheapest: gemma-2-2b-it');
    expect(report.oracle.references.at(-1)?.cost).toBeCloseTo(2.61, 9);
    expect(routing.aiq).toBeGreaterThan(routing.zeroAiq);
  });

  test('trains on models that were measured on few prompts only', async () => {
    const outcomes = syntheticOutcomes(60).map((outcome, at) => ({
      ...outcome,
      y: at === 7 ? { ...outcome.y, once: 0.9 } : at % 2 === 0 ? { math: 0.4 } : outcome.y,
    }));
    await writeJsonLines(file('outcomes.jsonl.gz'), outcomes);
    expect(await train()).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ models: ['code', 'generalist', 'math', 'once', 'story'] });
    out = '';
    expect(await runCli(['gate', 'eval', file('gate.json'), file('outcomes.jsonl.gz')])).toBe(0);
    expect(out).not.toMatch(/NaN/);
  });

  test('drift compares two files as the gate sees them', async () => {
    await train();
    const only = syntheticOutcomes(120, 2).filter(({ task }) => task === 'math');
    await writeJsonLines(file('later.jsonl'), only);
    out = '';
    const drift = ['gate', 'drift', file('gate.json'), file('outcomes.jsonl.gz'), file('later.jsonl')];
    expect(await runCli([...drift, '--json'])).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      before: { prompts: 60, verdict: 'same', psi: 0 },
      after: { prompts: 40, verdict: 'different' },
      models: [{ model: 'code' }, {}, {}, {}],
    });
    expect(await runCli(drift)).toBe(0);
    expect(out).toMatch(/population stability index .*different/);
    await writeFile(file('none.jsonl'), '');
    expect(await runCli(['gate', 'drift', file('gate.json'), file('none.jsonl'), file('later.jsonl')])).toBe(2);
  });

  test('train reports held-out figures when asked to', async () => {
    const command = ['gate', 'train', file('outcomes.jsonl.gz'), '--out', file('gate.json'), '--cross-validate', '2'];
    expect(await runCli(command)).toBe(0);
    expect(out).toMatch(/On prompts held out \(2 folds\)/);
    expect(out).toMatch(/captured/);
    expect(out).toMatch(/model +home +DSI +GG +CDTR/);
    expect(err).toMatch(/fold 2 of 2/);
  });

  test('bad input exits with 2 and says where it is', async () => {
    await writeFile(file('bad.jsonl'), '{"id":"a","prompt":"x","y":{"m":2}}\n');
    expect(await runCli(['gate', 'train', file('bad.jsonl'), '--out', file('g.json')])).toBe(2);
    expect(err).toMatch(/bad\.jsonl line 1: y\.m/);
    expect(await runCli(['gate', 'train', file('none.jsonl'), '--out', file('g.json')])).toBe(2);
    await writeFile(file('g.json'), 'no gate');
    expect(await runCli(['gate', 'predict', file('g.json'), file('bad.jsonl'), '--out', file('p.jsonl')])).toBe(2);
    expect(await runCli(['gate', 'eval', file('g.json'), file('bad.jsonl')])).toBe(2);
    expect(await runCli(['gate', 'train', file('bad.jsonl')])).toBe(2);
    await train();
    await writeFile(file('prompts.jsonl'), '{"id":"a","prompt":"x"}\n');
    const nowhere = ['gate', 'predict', file('gate.json'), file('prompts.jsonl'), '--out', file('no/such/p.jsonl')];
    expect(await runCli(nowhere)).toBe(1);
    expect(err).toMatch(/p\.jsonl cannot be written/);
    expect(err).not.toMatch(/\n\s+at /);
  });
});
