import { arch, totalmem } from 'node:os';

import { loadBoard, loadBoards } from '@fleetgate/firmware-configs/load-board';
import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import { FleetError } from '@fleetgate/shared/errors';
import { type BoardFacts, detectBoard } from './detect-board.js';
import { readText } from '@fleetgate/shared/linux-files';
import { parseMemory } from './linux-proc.js';

/** Facts by which this machine is recognised. `prefix` is the environment's PREFIX, which Termux sets. */
export async function readBoardFacts(root: string, prefix: string | undefined): Promise<BoardFacts> {
  return {
    deviceTreeModel: await readText(root, 'proc/device-tree/model'),
    deviceTreeCompatible: await readText(root, 'proc/device-tree/compatible'),
    termux: prefix?.includes('com.termux') ?? false,
    arch: arch(),
    memoryBytes: parseMemory((await readText(root, 'proc/meminfo')) ?? '')?.total ?? totalmem(),
  };
}

/**
 * The profile of this id, or with `auto` of the machine whose files are below `root`; `prefix` as in `readBoardFacts`.
 * Throws `board.unknown`.
 */
export async function chooseBoard(id: string, root: string, prefix: string | undefined): Promise<BoardProfile> {
  if (id !== 'auto') return loadBoard(id);
  const board = await recogniseBoard(root, prefix);
  if (board !== undefined) return board;
  throw new FleetError('board.unknown', `no board profile fits this machine (${arch()})`, {
    hint: 'choose the nearest one with --board, or add a profile (firmware-configs/README.md)',
  });
}

/** What the machine whose files are below `root` is; undefined where no profile fits. */
export async function recogniseBoard(root: string, prefix: string | undefined): Promise<BoardProfile | undefined> {
  return detectBoard((await loadBoards()).values(), await readBoardFacts(root, prefix));
}
