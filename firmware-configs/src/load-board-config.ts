import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import { type BoardConfig, parseBoardConfig } from '@fleetgate/shared/catalogue/board-config';
import { FleetError } from '@fleetgate/shared/errors';

import { readBoardFiles } from './disk-board-files.js';

/** `configs/` beside this package's `src` and `dist`. */
const CONFIGS = fileURLToPath(new URL('../configs/', import.meta.url));

/** The board configs that ship with Fleetgate for a board, in the order of their names. Throws `board-config.invalid`. */
export async function readyMadeConfigs(
  board: BoardProfile['id'],
  folder: string = CONFIGS,
): Promise<readonly BoardConfig[]> {
  const files = [...(await readBoardFiles(folder)), ...(await readBoardFiles(join(folder, board)))];
  return files.map(({ name, text }) => {
    const where = `board config ${board}/${name}.yaml`;
    const config = parseBoardConfig(text, where);
    refuseForeign(config, board);
    if (config.name === name) return config;
    throw new FleetError('board-config.invalid', `${where}: name is "${config.name}", expected the file's name`);
  });
}

/** Throws `board.unsupported` where `config` was not written for `board`. */
export function refuseForeign({ name, boards }: BoardConfig, board: BoardProfile['id']): void {
  if (boards.includes(board)) return;
  throw new FleetError('board.unsupported', `board config ${name} is for ${boards.join(', ')}, this is ${board}`, {
    hint: 'its figures may be wrong for another board; add the board to `boards` if you know that they are not',
  });
}
