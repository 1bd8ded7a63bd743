import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type ReleaseManifest, signRelease } from '@fleetgate/shared/catalogue/release';
import { boardId, deviceId } from '@fleetgate/shared/ids';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { openDatabase } from '../platform/sqlite-database.js';
import { DiskReleaseShelf } from './disk-release-shelf.js';
import { ReleaseBook } from './release-book.js';
import { rolloutOf, wave } from './rollout.fixture.js';
import type { RolloutRecord } from './rollout-record.js';
import { releaseSchema, SqliteReleaseStore } from './sqlite-release-store.js';
import { wantedReleases } from './wanted-releases.js';

const { privateKey } = generateKeyPairSync('ed25519');
const CONTENT = 'powerMode: 15W\n';
const BOARD = 'jetson-orin-nano';
const signed = (sequence: number, more: Partial<ReleaseManifest> = {}) =>
  signRelease(
    {
      ...{ kind: 'board-config', name: BOARD, sequence, version: '-', createdAtMs: 0 },
      sha256: createHash('sha256').update(CONTENT).digest('hex'),
      sizeBytes: CONTENT.length,
      ...more,
    },
    privateKey,
  );

let folder: string;
let file: string;
const offered = new Map<string, string>();
const closers: (() => Promise<void>)[] = [];
const open = async (): Promise<ReleaseBook> => {
  const database = await openDatabase(join(folder, 'control.sqlite'), [releaseSchema]);
  closers.push(() => database.close());
  const shelf = new DiskReleaseShelf(join(folder, 'releases'), (sha256, path) => void offered.set(sha256, path));
  const book = new ReleaseBook(new SqliteReleaseStore(database), shelf);
  await book.load();
  return book;
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-releases-'));
  file = join(folder, 'eco.yaml');
  writeFileSync(file, CONTENT);
  offered.clear();
});
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  rmSync(folder, { recursive: true, force: true });
});

describe('releases that the controller keeps', () => {
  it('are there after a restart, with a copy of their content to be fetched', async () => {
    const book = await open();
    await book.add(signed(1), file);
    await book.add(signed(2), file);
    writeFileSync(file, 'changed');
    const again = await open();
    expect(again.list()).toEqual([signed(1), signed(2)]);
    expect(again.find('board-config', BOARD, 2)).toEqual(signed(2));
    expect(readFileSync(offered.get(signed(1).manifest.sha256) ?? '', 'utf8')).toBe(CONTENT);
  });

  it.each<readonly [string, Partial<ReleaseManifest>, string]>([
    ['of another content', { sha256: 'f'.repeat(64) }, 'release.tampered'],
    ['of another length', { sizeBytes: 3 }, 'release.tampered'],
    ['that are not newer', { sequence: 5 }, 'release.downgraded'],
  ])('are none %s', async (_, change, code) => {
    const book = await open();
    await book.add(signed(5), file);
    await expect(book.add(signed(6, change), file)).rejects.toMatchObject({ code });
    await expect(book.add(signed(7), join(folder, 'nothing'))).rejects.toMatchObject({ code: 'artefact.unavailable' });
    expect(book.list()).toEqual([signed(5)]);
  });
});

describe('the releases that a device is to have', () => {
  const device = { id: deviceId('nano-1'), board: boardId(BOARD) };
  const rollout = (sequence: number, more: Partial<RolloutRecord>) =>
    rolloutOf({ subject: { kind: 'board-config', name: BOARD, sequence }, createdAtMs: sequence, ...more });

  it('are of the newest rollout that gives it one', async () => {
    const book = await open();
    for (const sequence of [1, 2, 3]) await book.add(signed(sequence), file);
    const wanted = (...records: readonly RolloutRecord[]) =>
      wantedReleases(device, records, book)?.boardConfig?.manifest.sequence;
    const first = rollout(1, { state: 'adopted' });
    expect(wanted()).toBeUndefined();
    expect(wanted(first)).toBe(1);
    expect(wanted(rollout(2, { devices: [deviceId('nano-2')] }), first)).toBe(1);
    expect(wanted(rollout(2, { devices: [device.id] }), first)).toBe(2);
    expect(wanted(rollout(2, { state: 'rolled-back' }), first)).toBe(1);
    expect(wanted(rollout(3, { state: 'adopted', waves: [wave({ boards: ['raspberry-pi-5'] })] }), first)).toBe(1);
    expect(
      wanted(rolloutOf({ subject: { kind: 'agent', name: 'agent', sequence: 9 }, state: 'adopted' })),
    ).toBeUndefined();
  });
});
