import { fileURLToPath } from 'node:url';

import { parse } from 'yaml';

import { type BoardProfile, boardProfileSchema } from '@fleetgate/shared/catalogue/board';
import { check } from '@fleetgate/shared/check';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { type BoardId } from '@fleetgate/shared/ids';

import { type BoardFile, readBoardFiles } from './disk-board-files.js';

/** `boards/` beside this package's `src` and `dist`: both are one level below it. */
const BOARDS = fileURLToPath(new URL('../boards/', import.meta.url));

/** Every board profile that ships with Fleetgate, by id. Throws `board.invalid`, naming the file and all its faults. */
export async function loadBoards(folder: string = BOARDS): Promise<ReadonlyMap<BoardId, BoardProfile>> {
  const boards = (await readBoardFiles(folder)).map(parseBoard);
  return new Map(boards.map((board) => [board.id, board]));
}

/** One profile. Throws `board.unknown`, listing the boards there are. */
export async function loadBoard(id: string, folder: string = BOARDS): Promise<BoardProfile> {
  const boards = await loadBoards(folder);
  for (const board of boards.values()) if (board.id === id) return board;
  throw new FleetError(
    'board.unknown',
    `board "${id}" is not known, expected one of ${[...boards.keys()].join(', ')}`,
    {
      hint: 'give --board one of these, or auto to recognise this machine',
    },
  );
}

function parseBoard({ name, text }: BoardFile): BoardProfile {
  const where = `board profile ${name}.yaml`;
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw new FleetError('board.invalid', `${where}: not readable as YAML: ${messageOf(cause)}`, { cause });
  }
  const board = check<BoardProfile>(boardProfileSchema, value, 'board.invalid', where);
  if (board.id !== name) {
    throw new FleetError('board.invalid', `${where}: id is "${board.id}", expected the file's name`);
  }
  return board;
}
