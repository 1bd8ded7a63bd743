import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, describe, expect, it, vi } from 'vitest';

import { anOrinNano, type BoardTree } from './board-tree.fixture.js';
import { FOLDER, run } from './device-scripts.fixture.js';
import { DiskBoard } from './disk-board.js';

const SCRIPTS = readdirSync(FOLDER, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && !entry.parentPath.includes('node_modules') && !entry.parentPath.includes('dist'))
  .map((entry) => join(entry.parentPath, entry.name))
  .filter((path) => readFileSync(path, 'utf8').startsWith('#!'));

const folders: string[] = [];
const kept = <T extends { readonly root: string }>(tree: T): T => (folders.push(tree.root), tree);
afterEach(() => {
  vi.useRealTimers();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

describe('every script', () => {
  it.each(SCRIPTS.map((path) => [path.slice(FOLDER.length), path]))('%s is executable and parses', (_, path) => {
    expect(lstatSync(path).mode & 0o111).toBe(0o111);
    execFileSync('sh', ['-n', path]);
  });

  // Not SC1091: what they read is made by the installation.
  it('has no finding of shellcheck', (context) => {
    try {
      execFileSync('shellcheck', ['--version'], { stdio: 'ignore' });
    } catch {
      context.skip('shellcheck is not installed');
    }
    execFileSync('shellcheck', ['--shell=sh', '--exclude=SC1091', ...SCRIPTS], { stdio: 'pipe' });
  });
});

describe('the units', () => {
  const units = readdirSync(join(FOLDER, 'systemd')).filter((name) => /\.(?:service|path)$/.test(name));

  it('start only what is in the program, and scripts that are there', () => {
    for (const unit of units) {
      const text = readFileSync(join(FOLDER, 'systemd', unit), 'utf8');
      const started = [...text.matchAll(/^ExecStart(?:Pre)?=[-+]*(\S+)(?: (\/opt\S+))?/gm)].map(
        ([, command = '', program]) => program ?? command,
      );
      for (const path of started) {
        expect(path.startsWith('/opt/fleetgate/'), `${unit}: ${path}`).toBe(true);
        expect(existsSync(join(FOLDER, '..', path.slice('/opt/fleetgate/'.length))), `${unit}: ${path}`).toBe(true);
      }
    }
  });

  it('are taken by systemd', (context) => {
    try {
      execFileSync('systemd-analyze', ['--version'], { stdio: 'ignore' });
    } catch {
      context.skip('systemd-analyze is not installed');
    }
    const folder = kept({ root: mkdtempSync(join(tmpdir(), 'fleetgate-units-')) }).root;
    // It also looks for what the units start, which is not installed here.
    for (const unit of units) {
      const text = readFileSync(join(FOLDER, 'systemd', unit), 'utf8').replaceAll(
        /^(Exec\w+=[-+]*)\S+/gm,
        '$1/bin/true',
      );
      writeFileSync(join(folder, unit), text);
    }
    const paths = units.map((unit) => join(folder, unit));
    execFileSync('systemd-analyze', ['verify', '--man=no', ...paths], { stdio: 'pipe' });
  });
});

describe('the service for power modes', () => {
  async function answerTo(request: string | undefined): Promise<{ readonly tree: BoardTree; readonly answer: string }> {
    const tree = kept(anOrinNano());
    mkdirSync(join(tree.root, 'run/fleetgate-agent'), { recursive: true });
    mkdirSync(join(tree.root, 'run/fleetgate-power-mode'), { recursive: true });
    if (request !== undefined) tree.write('/run/fleetgate-agent/power-mode', request);
    const group = String(process.getgid?.());
    tree.write('/bin/chgrp', `#!/bin/sh\nexec /bin/chgrp ${group} "$2"\n`);
    chmodSync(join(tree.root, 'bin/chgrp'), 0o755);
    const env = { PATH: `${join(tree.root, 'bin')}:${process.env['PATH']}` };
    expect(await run(join(FOLDER, 'systemd/set-power-mode'), [tree.root], env)).toEqual({ code: 0, output: '' });
    expect(existsSync(join(tree.root, 'run/fleetgate-agent/power-mode'))).toBe(false);
    return { tree, answer: tree.read('/run/fleetgate-power-mode/answer') };
  }

  it('sets a mode of the table, and hands the files that it made anew to the agent', async () => {
    const { tree, answer } = await answerTo('0\n');
    expect(answer).toBe('0 0');
    expect(tree.read('/var/lib/nvpmodel/status')).toBe('pmode:0000');
    const governor = join(tree.root, 'sys/devices/system/cpu/cpufreq/policy4/scaling_governor');
    expect(lstatSync(governor).mode & 0o020).toBe(0o020);
  });

  it.each([
    ['a mode that the table does not have', '9\n', '9 2\n/etc/nvpmodel.conf has no power mode 9'],
    ['a command', '0; reboot\n', '? 2\nthe request is not the number of a power mode'],
    ['an option', '-f /etc/shadow\n', '? 2\nthe request is not the number of a power mode'],
    ['a pattern', '.\n', '? 2\nthe request is not the number of a power mode'],
    ['nothing', undefined, '? 2\nthe request is not the number of a power mode'],
  ])('refuses %s', async (_, request, expected) => {
    const { tree, answer } = await answerTo(request);
    expect(answer).toBe(expected);
    expect(tree.read('/var/lib/nvpmodel/status')).toBe('pmode:0001');
  });

  it('never lets the board start anew', async () => {
    const { tree, answer } = await answerTo('3\n');
    expect(answer).toMatch(/^3 1\n[^]*Reboot required/);
    expect(existsSync(join(tree.root, 'rebooted'))).toBe(false);
  });

  it('is what an agent without privileges asks', async () => {
    const tree = kept(anOrinNano());
    const folder = join(tree.root, 'run/fleetgate-agent');
    mkdirSync(folder, { recursive: true });
    mkdirSync(join(tree.root, 'run/fleetgate-power-mode'), { recursive: true });
    const script = join(FOLDER, 'systemd/set-power-mode');
    // As the path unit does.
    const watch = `until [ -e "${folder}/power-mode" ]; do sleep 0.05; done; exec "${script}" "${tree.root}"`;
    const service = spawn('sh', ['-c', watch], { stdio: 'ignore', timeout: 20_000 });
    const ended = new Promise((resolve) => service.once('close', resolve));
    const board = new DiskBoard({ root: tree.root, requestFolder: folder });
    await board.change({ kind: 'power-mode', id: 2, name: 'MAXN_SUPER', was: 1 });
    await ended;
    expect((await board.read()).powerModeId).toBe(2);
  });

  it('is missed when nobody takes the request, which is taken back', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    const tree = kept(anOrinNano());
    const folder = join(tree.root, 'run/fleetgate-agent');
    mkdirSync(folder, { recursive: true });
    const board = new DiskBoard({ root: tree.root, requestFolder: folder });
    const seen: unknown[] = [];
    const step = { kind: 'power-mode', id: 2, name: 'MAXN_SUPER', was: 1 } as const;
    board.change(step).then(
      () => seen.push('set'),
      (error: unknown) => seen.push(error),
    );
    while (seen.length === 0) {
      await vi.advanceTimersByTimeAsync(1000);
      // Files are looked at between the timers.
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(seen[0]).toMatchObject({
      code: 'board.not-permitted',
      hint: expect.stringContaining('power-mode.path') as string,
    });
    expect(readdirSync(folder)).toEqual([]);
  });
});
