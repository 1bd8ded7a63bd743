import { arch, totalmem } from 'node:os';

import type { BoardFacts } from './detect-board.js';
import { readText } from './linux-files.js';
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
