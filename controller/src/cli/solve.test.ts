import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { fleetProblem } from '../bench/fleet-instances.js';
import { processUse } from '../bench/linux-process-use.js';
import type { PlanExplanation } from '../optimiser/explain-plan.js';
import type { PlacementPlan } from '../optimiser/plan.js';
import type { Curve } from '../optimiser/trade-off.js';
import { runCli } from './main.js';
import { lineEachSecond } from './solve-placement.js';

const instance = (name: string) => new URL(`../../../test/fixtures/instances/${name}.json`, import.meta.url).pathname;
const PROGRAM = new URL('../../bin/fleetgate.mjs', import.meta.url).pathname;
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

  it('reads gzip as it reads JSON', async () => {
    const file = join(folder, 'instance.json.gz');
    await writeFile(file, gzipSync(await readFile(instance('fleet-01-plain'))));
    const [packed, plain] = [await solve(file), await solve(instance('fleet-01-plain'))];
    const { objective, placement } = JSON.parse(plain.out) as { objective: number; placement: unknown };
    expect(JSON.parse(packed.out)).toMatchObject({ status: 'optimal', objective, placement });
  });

  it('reads what a Windows editor writes, and says of UTF-16 what it wants', async () => {
    const file = join(folder, 'windows.json');
    const text = await readFile(instance('fleet-01-plain'), 'utf8');
    await writeFile(file, `\uFEFF${text}`);
    expect(JSON.parse((await solve(file)).out)).toMatchObject({ status: 'optimal' });
    await writeFile(file, Buffer.from(`\uFEFF\u001B[2J${text}`, 'utf16le'));
    const { status, err } = await solve(file);
    expect(status).toBe(2);
    expect(err).toContain('expected JSON in UTF-8: ');
    expect(err).not.toContain('\u001B[2J');
  });

  it('warns of fields that it does not know', async () => {
    const file = join(folder, 'misspelt.json');
    const problem = JSON.parse(await readFile(instance('fleet-01-plain'), 'utf8')) as { budgets: object };
    await writeFile(file, JSON.stringify({ ...problem, budgets: { ...problem.budgets, maxVariant: 1 } }));
    const { err, out } = await solve(file);
    expect(err).toBe('warning: budgets.maxVariant is no field of fleet-opt/1 and was ignored.\n');
    expect(JSON.parse(out)).toMatchObject({ explanation: expect.arrayContaining([err.slice(9).trim()]) });
  });

  it('refuses a certificate where none can be written before it solves, and never replaces the instance', async () => {
    const file = join(folder, 'kept.json');
    const text = await readFile(instance('fleet-01-plain'), 'utf8');
    await writeFile(file, text);
    const hard = ['--time-limit', '1e9'];
    for (const place of [folder, join(folder, 'nowhere', 'proof.json'), file]) {
      const { status, err, out } = await solve(file, '--certificate', place, ...hard);
      expect([status, out]).toEqual([2, '']);
      expect(err).toContain(`${place}: the certificate cannot be written: `);
    }
    expect(await readFile(file, 'utf8')).toBe(text);
    const proof = join(folder, 'proof.json.gz');
    expect((await solve(file, '--certificate', proof)).status).toBe(0);
    expect(JSON.parse(gunzipSync(await readFile(proof)).toString())).toHaveProperty('tree');
  });

  it.runIf(existsSync('/dev/full'))('prints the plan though its certificate was lost', async () => {
    try {
      const { status, err, out } = await solve(instance('fleet-01-plain'), '--certificate', '/dev/full');
      expect(status).toBe(1);
      expect(err).toMatch(/^error: \/dev\/full: the certificate cannot be written: ENOSPC/);
      expect(JSON.parse(out)).toMatchObject({ status: 'optimal' });
    } finally {
      process.exitCode = undefined;
    }
  });

  it.runIf(existsSync('/dev/full'))('says when the output cannot be written', async () => {
    const out = openSync('/dev/full', 'w');
    const child = spawn(process.execPath, [PROGRAM, 'solve', instance('fleet-01-plain')], {
      stdio: ['ignore', out, 'pipe'],
    });
    let err = '';
    child.stderr?.on('data', (chunk: Buffer) => (err += chunk.toString()));
    const status = await new Promise((resolve) => child.once('close', resolve));
    closeSync(out);
    expect(status).toBe(1);
    expect(err).toBe('error: the output cannot be written: ENOSPC: no space left on device, write\n');
  });

  it('says which options are not for gates', async () => {
    const { status, err } = await solve(instance('gate-01-n8'), '--explain', '--curve', 'power');
    expect(status).toBe(0);
    expect(err).toBe('note: --explain, --curve: only for instances of kind fleet, ignored\n');
  });

  it('lists the faults of arcs with their place', async () => {
    const problem = JSON.parse(await readFile(instance('fleet-01-plain'), 'utf8')) as { arcs: object[] };
    const arcs = problem.arcs.map((arc, i) => (i < 10 ? { ...arc, service_s: -3 } : arc));
    const file = join(folder, 'arcs.json');
    await writeFile(file, JSON.stringify({ ...problem, arcs }));
    const { status, err } = await solve(file);
    expect(status).toBe(2);
    expect(err).toContain(`${file}: arcs.0.service_s: expected a number from 1e-12 to 1e12, got -3; arcs.1.service_s`);
    expect(err).toContain('arcs.7.service_s: expected a number from 1e-12 to 1e12, got -3; and 2 more');
  });

  it('adds what budgets are worth and a curve where it is asked', async () => {
    const file = instance('fleet-09-slo-tight');
    const plain = JSON.parse((await solve(file)).out) as object;
    expect(plain).not.toHaveProperty('explain');
    expect(plain).not.toHaveProperty('curve');
    const { out } = await solve(file, '--explain', '--curve', 'latency');
    const { explain, curve } = JSON.parse(out) as { explain: PlanExplanation; curve: Curve };
    expect(explain.prices?.map(({ text }) => text)).toContainEqual(
      expect.stringMatching(/^mean latency of c3 2\.831 s: \+0\.1 s buys 2\.912 points, up to 3\.\d+ s; /),
    );
    expect(explain.off?.map(({ text }) => text)).toContain('pi5-0 is off: no variant may run there.');
    for (const { regret } of explain.swaps ?? []) expect(regret).toBeGreaterThan(-1e-2);
    expect(curve).toMatchObject({ of: 'latency', now: 1, missing: 0 });
    expect(curve.points.length).toBeGreaterThan(8);
    expect((await solve(file, '--curve', 'colour')).status).toBe(2);
  });

  it('explains what is infeasible by joint repairs too', async () => {
    const { out } = await solve(instance('fleet-15-inf-power'), '--explain');
    const { explain, repairs } = JSON.parse(out) as { explain: PlanExplanation } & Pick<PlacementPlan, 'repairs'>;
    expect(explain).not.toHaveProperty('prices');
    expect(repairs?.length).toBeGreaterThan(1);
  });

  it('warns of figures that look given in another unit, and solves all the same', async () => {
    const problem = JSON.parse(await readFile(instance('fleet-01-plain'), 'utf8')) as {
      variants: { memGiB: number }[];
    };
    const variants = problem.variants.map((variant) => ({ ...variant, memGiB: variant.memGiB * 2 ** 30 }));
    const file = join(folder, 'bytes.json');
    await writeFile(file, JSON.stringify({ ...problem, variants }));
    const { status, err, out } = await solve(file);
    expect(status).toBe(0);
    expect(err).toMatch(/^warning: variants\.0\.memGiB is [\de.+]+ GiB.*probably bytes, not GiB\.$/m);
    const { explanation } = JSON.parse(out) as { explanation: string[] };
    expect(err).toContain(explanation[0]);
  });

  it('refuses files that are too large, before and after decompression, and broken gzip', async () => {
    const file = join(folder, 'large.json');
    await writeFile(file, '');
    await truncate(file, 500 * 2 ** 20);
    expect(await solve(file)).toMatchObject({
      status: 2,
      err: expect.stringMatching(/524288000 bytes, expected at most/),
    });
    // Gzip members one after the other are one file: 420 MiB of nothing in 420 kB.
    await writeFile(file, Buffer.concat(Array.from({ length: 21 }, () => gzipSync(Buffer.alloc(20 * 2 ** 20)))));
    expect(await solve(file)).toMatchObject({
      status: 2,
      err: expect.stringMatching(/more when inflated, expected at/),
    });
    await writeFile(file, gzipSync('{"schema": "fleet-opt/1"}').subarray(0, 20));
    expect(await solve(file)).toMatchObject({ status: 2, err: expect.stringMatching(/expected gzip: /) });
  });

  it.runIf(existsSync('/dev/zero'))('stops reading what has no end', async () => {
    expect(await solve('/dev/zero')).toMatchObject({
      status: 2,
      err: expect.stringMatching(/^error: \/dev\/zero: more than can be read, expected at most \d+ bytes/),
    });
  });

  it('reads what comes through a pipe', async () => {
    const child = spawn(process.execPath, [PROGRAM, 'solve', '-'], { stdio: ['pipe', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stdin.end(await readFile(instance('fleet-01-plain')));
    await new Promise((resolve) => child.once('close', resolve));
    expect(JSON.parse(out)).toMatchObject({ status: 'optimal' });
  });

  it('says nothing on stderr unless it is asked for progress', async () => {
    expect((await solve(instance('fleet-01-plain'))).err).toBe('');
    const lines: string[] = [];
    const onProgress = lineEachSecond((line) => lines.push(line));
    for (const seconds of [0.2, 0.9, 1.1, 1.5, 2.05, 2.2]) {
      onProgress({ seconds, objective: 907.1234, bound: 907.5, gap: 4.15e-4, nodes: 41, stage: 'branching' });
    }
    onProgress({ seconds: 9, objective: null, bound: null, gap: null, nodes: 0, stage: 'reading' });
    expect(lines).toEqual([
      '1.1 s  objective 907.123  bound 907.500  gap 0.0415 %  41 nodes  branching',
      '2.2 s  objective 907.123  bound 907.500  gap 0.0415 %  41 nodes  branching',
      '9.0 s  objective -  bound -  gap -  0 nodes  reading',
    ]);
  });

  it('ends at once on Ctrl-C in the middle of a solve, with nothing on stdout', async ({ skip }) => {
    const shape = { devices: 1000, variants: 40, classes: 32, kappa: 8, seed: 1, modes: false, sites: 0 };
    const file = join(folder, 'hard.json');
    await writeFile(file, JSON.stringify(fleetProblem({ ...shape, jitter: 'none' })));
    const child = spawn(process.execPath, [PROGRAM, 'solve', file, '--gap', '0', '--time-limit', '60']);
    try {
      let out = '';
      child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
      const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
      const cpuS = () => processUse(child.pid ?? -1)?.cpuS;
      if (cpuS() === undefined) return skip('no /proc');
      // Starting and reading take half a second.
      await vi.waitFor(() => expect(cpuS()).toBeGreaterThan(1.5), { timeout: 20_000 });
      child.kill('SIGINT');
      expect(await ended).toBe('SIGINT');
      expect(out).toBe('');
    } finally {
      child.kill('SIGKILL');
    }
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
