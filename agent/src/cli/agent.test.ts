import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { variantId } from '@fleetgate/shared/ids';

import { FakeController, TOKEN } from '../../../test/support/fake-controller.ts';

const FLEETGATE = fileURLToPath(new URL('../../../controller/bin/fleetgate.mjs', import.meta.url));

let controller: FakeController;
let folder: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  controller = await FakeController.start();
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-agent-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await controller.stop();
  await rm(folder, { recursive: true, force: true });
});

function start(args: readonly string[]) {
  const child = fork(FLEETGATE, ['agent', ...args], {
    silent: true,
    // Vitest's own arguments would make the child read TypeScript.
    execArgv: [],
    env: { ...process.env, FLEETGATE_JOIN_TOKEN: TOKEN },
  });
  children.push(child);
  const output = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
  return { child, output };
}

async function run(args: readonly string[]) {
  const { child, output } = start(args);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...output };
}

const serving = () => ['--controller', controller.url, '--board', 'jetson-orin-nano', '--name', 'nano'];

describe('fleetgate agent', () => {
  it('serves a real model, says when it is ready and ends with 0 on SIGTERM', async () => {
    const { child, output } = start([...serving(), '--data', join(folder, 'nano'), '--threads', '1', '--json']);
    const [message] = (await once(child, 'message')) as [unknown];
    expect(message).toEqual({ kind: 'agent-ready' });
    const weights = readFileSync(new URL('../../../experts/math/math-q8_0.gguf', import.meta.url));
    const math = {
      variantId: variantId('math-q8_0'),
      ...controller.addArtefact(weights),
      contextTokens: 512,
      stop: [],
    };
    const telemetry = { sampleMs: 1000, batchMs: 1000 };
    const base = { v: 1, planId: null, state: 'active', telemetry } as const;
    await controller.desire('nano', { ...base, generation: 1, variants: [{ ...math, purpose: 'measure' }] });
    const report = await controller.until(() => {
      const last = controller.lastReport();
      return last?.settled === true ? last : undefined;
    }, 'measured');
    expect(report.variants).toMatchObject([{ residency: 'stored' }]);
    expect(report.measurements).toMatchObject([{ variantId: 'math-q8_0', energySource: 'modelled' }]);
    expect(report.engine).toMatchObject({ kind: 'llama', state: 'ready' });
    const family = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ');
    expect(family).toHaveLength(1);
    child.kill('SIGTERM');
    expect(await once(child, 'close')).toEqual([0, null]);
    expect(JSON.parse(output.stdout)).toMatchObject({ deviceId: 'nano', board: 'jetson-orin-nano' });
    expect(() => process.kill(Number(family[0]), 0)).toThrow();
    expect(controller.presences.at(-1)).toMatchObject({ state: 'offline', reason: 'shutdown' });
  });

  it('ends when the process that started it goes away', async () => {
    const { child } = start([...serving(), '--data', join(folder, 'nano')]);
    await once(child, 'message');
    child.disconnect();
    // Node tells no `close` of a child that was disconnected.
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  it('refuses a second agent on the same data directory', async () => {
    const args = [...serving(), '--data', join(folder, 'nano')];
    const { child } = start(args);
    await once(child, 'message');
    const second = await run(args);
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/data directory .* is in use by process \d+ \[data-dir\.in-use\]/);
    child.kill('SIGTERM');
    await once(child, 'close');
  });

  it.each([
    ['no name', ['--controller', 'http://127.0.0.1:1'], /--name/],
    ['a controller that is no URL', ['--controller', 'over there', '--name', 'a'], /controllerUrl.*http/],
    ['a name with a space', ['--controller', 'http://127.0.0.1:1', '--name', 'my pi'], /name: a device name is/],
    ['an unknown board', ['--controller', 'http://127.0.0.1:1', '--name', 'a', '--board', 'toaster'], /raspberry-pi-5/],
    [
      'an engine without address',
      ['--controller', 'http://127.0.0.1:1', '--name', 'a', '--engine', 'http'],
      /engine-url/,
    ],
    [
      'threads that are no number',
      ['--controller', 'http://127.0.0.1:1', '--name', 'a', '--threads', 'x'],
      /whole number/,
    ],
    [
      'release keys that are not there',
      ['--controller', 'http://127.0.0.1:1', '--name', 'a', '--release-keys', 'none.pem'],
      /release keys none\.pem/,
    ],
    ['an unknown option', ['--controller', 'http://127.0.0.1:1', '--name', 'a', '--bord', 'x'], /--bord/],
  ])('%s: exit 2, the reason, no stack trace', async (_, args, message) => {
    const { code, stderr } = await run([...args, '--data', join(folder, 'x')]);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  it('settings of its board that are damaged: exit 1, which file, and no child that goes on', async () => {
    const data = join(folder, 'nano');
    await mkdir(data);
    await writeFile(join(data, 'board-config.json'), '{');
    const { code, stderr } = await run([...serving(), '--data', data]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/board-config\.json: not JSON.*\[store\.corrupt\]/);
  });

  it('a data directory that cannot be written: exit 1 and what to do', async () => {
    await writeFile(join(folder, 'file'), '');
    const { code, stderr } = await run([...serving(), '--data', join(folder, 'file', 'nano')]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/data-dir\.not-writable[\s\S]*--data/);
  });
});
