import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { loadBoard, loadBoards } from './load-board.js';

describe('the shipped board profiles', () => {
  it('all parse, each under its file name', async () => {
    expect([...(await loadBoards()).keys()]).toEqual([
      'android-phone',
      'jetson-agx-orin',
      'jetson-orin-nano',
      'jetson-orin-nx',
      'linux-arm64',
      'linux-x64',
      'raspberry-pi-4',
      'raspberry-pi-5',
    ]);
  });

  it('hold figures that agree with each other', async () => {
    for (const board of (await loadBoards()).values()) {
      expect(board.power.standbyW.value, board.id).toBeLessThanOrEqual(board.power.idleW.value);
      expect(board.power.idleW.value, board.id).toBeLessThan(board.power.loadW.value);
      expect(board.reservedBytes, board.id).toBeLessThan(board.memoryBytes.value);
      expect(board.powerModes.filter((mode) => mode.default === true).length, board.id).toBeLessThanOrEqual(1);
      for (const pattern of [board.detect.deviceTreeModel, board.detect.deviceTreeCompatible]) {
        expect(() => new RegExp(pattern ?? '')).not.toThrow();
      }
    }
  });

  it('are found by id, and an unknown id lists them', async () => {
    expect((await loadBoard('raspberry-pi-5')).title).toBe('Raspberry Pi 5');
    await expect(loadBoard('toaster')).rejects.toMatchObject({
      code: 'board.unknown',
      message: expect.stringContaining('jetson-orin-nano'),
    });
  });
});

describe('a board profile that is wrong', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fleetgate-boards-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it.each([
    ['no YAML', 'a: [', /not readable as YAML/],
    ['an empty file', '', /board profile wrong\.yaml/],
    ['a field that is missing', 'schema: fleetgate-board/1\nid: wrong\n', /title/],
  ])('%s is refused with the reason', async (_, text, message) => {
    await writeFile(join(folder, 'wrong.yaml'), text);
    await expect(loadBoards(folder)).rejects.toMatchObject({
      code: 'board.invalid',
      message: expect.stringMatching(message),
    });
  });

  it('an id that is not the file name is refused', async () => {
    const real = await readFile(new URL('../boards/linux-x64.yaml', import.meta.url), 'utf8');
    await writeFile(join(folder, 'renamed.yaml'), real);
    await expect(loadBoards(folder)).rejects.toMatchObject({ code: 'board.invalid' });
  });
});
