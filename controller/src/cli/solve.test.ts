import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { runCli } from './main.js';

const instance = (name: string) => new URL(`../../../test/fixtures/instances/${name}.json`, import.meta.url).pathname;
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-solve-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function solve(...argv: readonly string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => out.push(String(text)) > 0),
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => err.push(String(text)) > 0),
  ];
  try {
    const status = await runCli(['solve', ...argv]);
    return { status, out: out.join(''), err: err.join('') };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

describe('fleetgate solve', () => {
  it('prints one plan, and infeasible is an answer', async () => {
    const good = await solve(instance('fleet-01-plain'), '--json');
    expect(good.status).toBe(0);
    expect(JSON.parse(good.out)).toMatchObject({ schema: 'fleet-plan/1', status: 'optimal', conflict: null });
    const bad = await solve(instance('fleet-17-inf-memory'));
    expect(bad.status).toBe(0);
    expect(JSON.parse(bad.out)).toMatchObject({ status: 'infeasible', objective: null, placement: [] });
    const gate = await solve(instance('gate-01-n8'), '--time-limit', '5', '--gap', '0', '--method', 'auto');
    expect(JSON.parse(gate.out)).toMatchObject({ status: 'optimal', subset: [3, 4, 5], gap: 0 });
  });

  it.each([
    ['no file', undefined, /cannot be read/],
    ['no JSON', '{"schema":', /expected JSON/],
    ['no instance', '[1,2]', /kind: expected fleet, gate or softgate/],
    ['an unknown kind', '{"schema":"fleet-opt/1","kind":"knapsack"}', /got "knapsack"/],
    [
      'a broken instance',
      '{"schema":"fleet-opt/1","kind":"fleet","name":"x","classes":[{"rate":-1}]}',
      /classes\.0\.rate/,
    ],
    ['a broken gate', '{"schema":"fleet-opt/1","kind":"gate","experts":0}', /experts/],
  ])('refuses %s with exit 2 and a reason', async (_, text, reason) => {
    const file = join(folder, 'instance.json');
    if (text === undefined) await rm(file, { force: true });
    else await writeFile(file, text);
    const answer = await solve(file);
    expect(answer.status).toBe(2);
    expect(answer.err).toMatch(reason);
    expect(answer.err).toContain(file);
    expect(answer.out).toBe('');
  });

  it.each([
    ['--time-limit', '0'],
    ['--time-limit', 'soon'],
    ['--gap', '2'],
    ['--method', 'magic'],
  ])('refuses %s %s', async (...option) => {
    expect((await solve(instance('fleet-01-plain'), ...option)).status).toBe(2);
  });
});
