import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { SignedRelease } from '@fleetgate/shared/catalogue/release';
import { sha256OfFile } from '@fleetgate/shared/catalogue/disk-expert-card';
import { ManualClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { silentLogger } from '@fleetgate/shared/logger';

import { DiskPrograms } from '../launcher/disk-programs.js';
import { FIRST_STATE, giveUp, type LaunchState, onOffer, onProven } from '../launcher/launch-state.js';
import type { ToLauncher } from '../launcher/launch-messages.js';
import { AgentUpdate } from './agent-update.js';
import { packAgent } from './process-pack.js';
import { unpackProgram } from './process-unpack.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

const releaseOf = (sequence: number): SignedRelease => ({
  manifest: {
    kind: 'agent',
    name: 'agent',
    sequence,
    version: `1.${sequence}`,
    sha256: `${sequence}`.repeat(64),
    sizeBytes: 10,
    createdAtMs: 0,
  },
  keyId: '',
  signature: '',
});
const programOf = (sequence: number) => {
  const { name, sha256 } = releaseOf(sequence).manifest;
  return { name, sequence, sha256 };
};
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function play(faults: { refusal?: FleetError; unpack?: () => Promise<void>; launched?: boolean } = {}) {
  const said: ToLauncher[] = [];
  const story: string[] = [];
  const clock = new ManualClock();
  let tell: (state: LaunchState) => void = () => {};
  const update = new AgentUpdate({
    launcher: { onState: (listener) => (tell = listener), say: (message) => said.push(message) },
    check: () => (story.push('check'), faults.refusal),
    accept: ({ sequence }) => story.push(`accept ${sequence}`),
    unpack: async ({ sequence }) => {
      await faults.unpack?.();
      story.push(`unpack ${sequence}`);
    },
    clock,
    log: silentLogger,
  });
  update.start({ onChange: () => {}, drain: async () => void story.push('drain') });
  if (faults.launched !== false) tell(FIRST_STATE);
  return { update, said, story, clock, tell: (state: LaunchState) => tell(state) };
}

describe('a released agent', () => {
  it('is checked, unpacked and offered once no job runs; then it is on trial, then active', async () => {
    const { update, said, story, tell } = play();
    update.takeUp(releaseOf(4));
    await settle();
    expect(story).toEqual(['check', 'unpack 4', 'drain', 'accept 4']);
    expect(said).toEqual([{ kind: 'agent-offer', program: programOf(4) }]);
    expect(update.releases()).toMatchObject([{ kind: 'agent', sequence: 4, state: 'stored' }]);
    const trial = onOffer(FIRST_STATE, programOf(4));
    tell(trial);
    expect(update.releases()).toMatchObject([{ sequence: 4, state: 'trial' }]);
    tell(onProven(trial));
    expect(update.releases()).toMatchObject([{ sequence: 4, state: 'active' }]);
  });

  it('that was given up is reported as failed, and not tried again', async () => {
    const { update, said, tell } = play();
    tell(giveUp(onOffer(onProven(onOffer(FIRST_STATE, programOf(3))), programOf(4)), 'it hangs'));
    update.takeUp(releaseOf(4));
    await settle();
    expect(said).toEqual([]);
    expect(update.releases()).toMatchObject([
      { sequence: 3, state: 'active' },
      { sequence: 4, state: 'failed', error: { code: 'release.failed', retryable: false } },
    ]);
  });

  it.each([
    ['is not what was signed', { refusal: new FleetError('release.tampered', 'x') }, 'release.tampered'],
    ['has no launcher', { launched: false }, 'setup.missing'],
    [
      'cannot be unpacked',
      { unpack: () => Promise.reject(new FleetError('artefact.corrupt', 'x')) },
      'artefact.corrupt',
    ],
  ])('that %s is not offered', async (_, faults, code) => {
    const { update, said, story } = play(faults);
    update.takeUp(releaseOf(4));
    await settle();
    expect(said).toEqual([]);
    expect(story.filter((what) => what.startsWith('accept'))).toEqual([]);
    expect(update.releases()).toMatchObject([{ sequence: 4, state: 'failed', error: { code } }]);
  });

  it('is fetched again after a failure that may pass', async () => {
    let tries = 0;
    const unpack = async (): Promise<void> => {
      if (tries++ === 0) throw new FleetError('artefact.unavailable', 'x', { retryable: true });
    };
    const { update, said, clock } = play({ unpack });
    update.takeUp(releaseOf(4));
    await settle();
    expect(said).toEqual([]);
    clock.advance(30_000);
    await settle();
    expect(said).toHaveLength(1);
    await update.stop();
  });
});

describe('the archive of an agent', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fleetgate-pack-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('is a program that runs where it was unpacked, with the libraries of the installation', async () => {
    const archive = join(folder, 'agent.tgz');
    await packAgent(ROOT, archive);
    const sha256 = await sha256OfFile(archive);
    const programs = new DiskPrograms(join(folder, 'program'), ROOT);
    await unpackProgram(archive, join(folder, 'program'), sha256);
    const entry = programs.entry({ name: 'agent', sequence: 1, sha256 });
    const { stdout } = await promisify(execFile)(process.execPath, [entry, 'agent', '--help']);
    expect(stdout).toContain('run the agent of one device');
  });

  it('that is none leaves nothing behind', async () => {
    await writeFile(join(folder, 'archive'), 'this is no archive');
    const unpacking = unpackProgram(join(folder, 'archive'), join(folder, 'program'), 'a'.repeat(64));
    await expect(unpacking).rejects.toMatchObject({ code: 'artefact.corrupt' });
    expect(await readdir(join(folder, 'program'))).toEqual([]);
  });
});
