import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { claimDataDir } from '@fleetgate/shared/disk-data-dir';

import { anOrinNano, type BoardTree } from '../../../firmware-configs/src/board-tree.fixture.ts';

const FLEETGATE = fileURLToPath(new URL('../../../controller/bin/fleetgate.mjs', import.meta.url));
/** `nobody`, where the tests run as root, who may write everything. */
const UNPRIVILEGED = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};

let tree: BoardTree;
beforeEach(() => {
  tree = anOrinNano();
});
afterEach(() => rmSync(tree.root, { recursive: true, force: true }));

async function board(args: readonly string[], as: { uid?: number; gid?: number } = {}) {
  const argv = [FLEETGATE, 'board', ...args, '--root', tree.root];
  const child = spawn(process.execPath, argv, { ...as, stdio: ['ignore', 'pipe', 'pipe'], timeout: 20_000 });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

describe('fleetgate board', () => {
  it('shows, plans and applies on a tree, and goes back to what the board had', async () => {
    const data = ['--data', join(tree.root, 'data')];
    const shown = await board(['show']);
    expect(shown.output).toMatch(/^ \* {2}1 {2}25W .*CPU 1344 MHz +GPU 918 MHz/m);
    const planned = await board(['plan', 'eco', '--json', ...data]);
    const step = { kind: 'power-mode', id: 0, name: '15W', was: 1 };
    expect(JSON.parse(planned.output)).toEqual({ config: 'eco', steps: [step] });
    expect(tree.read('/var/lib/nvpmodel/status')).toBe('pmode:0001');
    expect(await board(['apply', 'eco', ...data])).toEqual({ code: 0, output: 'power mode 15W (0), was 1\n' });
    expect(tree.read('/var/lib/nvpmodel/status')).toBe('pmode:0000');
    await board(['apply', 'own', ...data]);
    expect(tree.read('/var/lib/nvpmodel/status')).toBe('pmode:0001');
  });

  it('names what to install where it may not write, and leaves everything as it was', async () => {
    const cores = join(tree.root, 'sys/devices/system/cpu/cpufreq/policy0/scaling_governor');
    const data = join(tree.root, 'data');
    mkdirSync(data);
    chmodSync(data, 0o777);
    chmodSync(cores, 0o444);
    chmodSync(tree.root, 0o755);
    tree.write('/config.yaml', CORES_AT_FULL_CLOCK);
    const { code, output } = await board(['apply', join(tree.root, 'config.yaml'), '--data', data], UNPRIVILEGED);
    expect(code).toBe(1);
    expect(output).toMatch(/scaling_governor may not be written .*nothing was changed \[board.not-permitted\]/);
    expect(output).toMatch(/hint: run as root, or install the unit/);
  });

  it('leaves the settings to an agent that runs', async () => {
    const data = join(tree.root, 'data');
    const release = claimDataDir(data);
    const { code, output } = await board(['apply', 'eco', '--data', data]);
    release();
    expect(code).toBe(1);
    expect(output).toContain('[data-dir.in-use]');
    expect(tree.read('/var/lib/nvpmodel/status')).toBe('pmode:0001');
  });

  it('lists what ships where there is no such config', async () => {
    const { code, output } = await board(['plan', 'turbo']);
    expect(code).toBe(2);
    expect(output).toContain('hint: give a file, or one of own, balanced, eco, performance');
  });
});

const CORES_AT_FULL_CLOCK = `schema: fleetgate-board-config/1
name: full
boards: [jetson-orin-nano]
description: for a test
cpu: { governor: performance }
sources: [none]
`;
