import { rmSync } from 'node:fs';

import { afterEach } from 'vitest';

import { describeBoard } from './board-contract.js';
import { anOrinNano } from './board-tree.fixture.js';
import { DiskBoard } from './disk-board.js';
import { SimulatedBoard } from './simulated-board.fixture.js';

const roots: string[] = [];
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true, force: true });
});

describeBoard('simulated', () => new SimulatedBoard());
describeBoard('files below a folder', () => {
  const { root } = anOrinNano();
  roots.push(root);
  return new DiskBoard({ root });
});
