import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { systemClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { DiskPrograms } from './disk-programs.js';
import { FIRST_STATE, type LaunchState, type Program } from './launch-state.js';
import { Launcher, type TrialTimes } from './launcher.js';
import { startProgram } from './process-program.js';

const programOf = (digit: string): Program => ({ name: 'agent', sequence: Number(digit), sha256: digit.repeat(64) });

/** Programs of a few lines in place of agents; all else is real: processes, files, messages between them. */
const OFFERS = (program: Program): string => `
  process.on('message', ({ state }) => {
    if (!state.failed.some((failed) => failed.sequence === ${program.sequence}))
      process.send({ kind: 'agent-offer', program: ${JSON.stringify(program)} });
  });`;
const IS_HEALTHY = `process.send({ kind: 'agent-healthy' }); setInterval(() => {}, 1000);`;
const ENDS = `process.exit(1);`;
const HANGS = `process.on('SIGTERM', () => process.exit()); setInterval(() => {}, 1000);`;

let folder: string;
let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'fleetgate-launcher-'));
  folder = join(root, 'data');
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function install(where: string, text: string): Promise<void> {
  const path = join(where, 'controller/bin/fleetgate.mjs');
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

/** Runs a launcher until its state is as `until` says, and stops it. */
async function launchUntil(until: (state: LaunchState) => boolean, times: TrialTimes): Promise<LaunchState> {
  const programs = new DiskPrograms(folder, root);
  const launcher = new Launcher(
    {
      read: () => programs.read(),
      keep: (state) => {
        programs.keep(state);
        if (until(state)) setImmediate(() => launcher.stop());
      },
      // Nobody unpacks here: what was put there by hand stays.
      clean: () => {},
      start: (program, onMessage) => startProgram(programs.entry(program), [], onMessage),
      clock: { ...systemClock, after: (delay, run) => systemClock.after(milliseconds(delay / 20), run) },
      log: silentLogger,
    },
    times,
  );
  expect(await launcher.run()).toBe(0);
  return programs.read();
}

const PATIENT = { deadline: milliseconds(600_000), survival: milliseconds(1000) };

describe('real programs under a launcher', () => {
  it('a good one is taken and stays', async () => {
    await install(root, OFFERS(programOf('7')));
    await install(join(folder, programOf('7').sha256), IS_HEALTHY);
    const state = await launchUntil(({ stack, onTrial }) => stack.length === 1 && !onTrial, PATIENT);
    expect(state).toMatchObject({ stack: [programOf('7')], onTrial: false, failed: [] });
  });

  it.each([
    ['ends at once', ENDS, PATIENT, /started 3 times/],
    ['hangs', HANGS, { deadline: milliseconds(4000), survival: milliseconds(1000) }, /within 4000 ms/],
  ])('one that %s is given up for the one before, and not taken again', async (_, text, times, reason) => {
    await install(root, OFFERS(programOf('7')));
    await install(join(folder, programOf('7').sha256), text);
    const state = await launchUntil(({ failed }) => failed.length === 1, times);
    expect(state).toMatchObject({ stack: [], onTrial: false, failed: [{ sequence: 7 }] });
    expect(state.failed[0]?.reason).toMatch(reason);
  });
});

describe('programs on disk', () => {
  it('keep a state, and lose what is not in it', async () => {
    const programs = new DiskPrograms(folder, root);
    await install(join(folder, programOf('1').sha256), ENDS);
    await install(join(folder, programOf('2').sha256), ENDS);
    await install(join(folder, `${programOf('3').sha256}.new`), ENDS);
    const state = { ...FIRST_STATE, stack: [programOf('2')] };
    programs.keep(state);
    programs.clean(state);
    expect(new DiskPrograms(folder, root).read()).toEqual(state);
    await expect(mkdir(join(folder, programOf('1').sha256))).resolves.toBeUndefined();
    await expect(mkdir(join(folder, `${programOf('3').sha256}.new`))).resolves.toBeUndefined();
    await expect(mkdir(join(folder, programOf('2').sha256))).rejects.toThrow();
  });

  it('start with the installed one where the state is damaged', async () => {
    const programs = new DiskPrograms(folder, root);
    await writeFile(join(folder, 'launch.json'), '{"stack": [');
    expect(programs.read()).toEqual(FIRST_STATE);
    expect(programs.entry(programs.read().stack[0])).toBe(join(root, 'controller/bin/fleetgate.mjs'));
  });
});
