import { describe, expect, it } from 'vitest';

import { loadBoards } from './load-board.js';
import { readyMadeConfigs } from './load-board-config.js';

describe('the board configs that ship', () => {
  it('parse, each under its file name and for its board', async () => {
    const boards = [...(await loadBoards()).keys()];
    const names = await Promise.all(
      boards.map(async (board) => [board, (await readyMadeConfigs(board)).map(({ name }) => name).join(' ')]),
    );
    expect(Object.fromEntries(names)).toEqual({
      'android-phone': 'own cool',
      'jetson-agx-orin': 'own balanced eco performance',
      'jetson-orin-nano': 'own balanced eco performance',
      'jetson-orin-nx': 'own balanced eco performance',
      'linux-arm64': 'own performance',
      'linux-x64': 'own performance',
      'raspberry-pi-4': 'own eco performance',
      'raspberry-pi-5': 'own eco performance',
    });
  });
});
