import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { afterEach, describe, expect, it, vi } from 'vitest';

import { systemClock } from '@fleetgate/shared/clock';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { LlamaEngine } from './llama-engine.js';
import { CRASHES_TO_DOWN } from './restart-policy.js';
import { chat, closeEngines, GREEDY, MATH, never, openEngine, PROMPT, reached, ROOT } from './llama-engine.fixture.js';

afterEach(closeEngines);

/** A long generation that has begun; `ended` is how it ends. */
async function begun(engine: LlamaEngine): Promise<{ ended: Promise<unknown> }> {
  return new Promise((resolve) => {
    const ended = engine
      .generate(MATH.variantId, chat('x'), { ...GREEDY, temperature: 1.5, seed: 1 }, () => resolve({ ended }), never)
      .catch((error: unknown) => error);
  });
}

async function goneSoon(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 200; tries++) {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'stat=', '-p', String(pid)]).catch(() => ({
      stdout: '',
    }));
    if (stdout.trim() === '' || stdout.trim().startsWith('Z')) return true;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return false;
}

const dataUrl = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`;

const signalChild = (engine: LlamaEngine, signal: NodeJS.Signals): void => {
  if (engine.childPid !== undefined) process.kill(engine.childPid, signal);
};

describe('LlamaEngine under faults', () => {
  it('rejects running jobs when its process is killed, restarts empty, and serves again after a load', async () => {
    const engine = openEngine();
    await engine.load(MATH, never);
    const states: string[] = [];
    engine.onState(({ state }) => states.push(state));
    const { ended } = await begun(engine);
    signalChild(engine, 'SIGKILL');
    expect(await ended).toMatchObject({ code: 'engine.crashed', retryable: true });
    expect(engine.state()).toMatchObject({ state: 'restarting' });
    await reached(engine, 'ready');
    expect(states).toEqual(['restarting', 'ready']);
    const early = engine.generate(MATH.variantId, chat('x'), GREEDY, () => {}, never);
    await expect(early).rejects.toMatchObject({ code: 'engine.unavailable' });
    await engine.load(MATH, never);
    const result = await engine.generate(MATH.variantId, chat('x'), { ...GREEDY, maxTokens: 2 }, () => {}, never);
    expect(result.outputTokens).toBe(2);
  });

  it('rejects a mixed answer that waits for its token when its process is killed', async () => {
    const engine = openEngine();
    await engine.load(MATH, never);
    const options = { input: chat(PROMPT), topK: 8, maxTokens: 8, stop: [] };
    let waiting = (): void => {};
    const waits = new Promise<void>((resolve) => (waiting = resolve));
    const mixed = engine.mix(MATH.variantId, options, () => (waiting(), new Promise(() => {})), never);
    const ended = mixed.catch((error: unknown) => error);
    await waits;
    signalChild(engine, 'SIGKILL');
    expect(await ended).toMatchObject({ code: 'engine.crashed', retryable: true });
  });

  it.runIf(process.platform === 'linux')('ends before its agent when memory runs out', async () => {
    const engine = openEngine(10_000);
    await engine.version();
    const offered = await readFile(`/proc/${engine.childPid}/oom_score_adj`, 'utf8');
    expect(offered.trim()).toBe('500');
  });

  it('kills a process that hangs, as a timeout, and restarts', async () => {
    const engine = openEngine(1_500);
    await engine.load(MATH, never);
    const pid = engine.childPid ?? 0;
    const { ended } = await begun(engine);
    signalChild(engine, 'SIGSTOP');
    expect(await ended).toMatchObject({ code: 'engine.timeout', retryable: true });
    expect(await goneSoon(pid)).toBe(true);
    await reached(engine, 'ready');
    await engine.load(MATH, never);
  });

  it('is down after quick crashes in a row, says why, and comes back by itself', async () => {
    const engine = openEngine(10_000, {
      ...systemClock,
      after: (delay, run) => systemClock.after(milliseconds(delay / 20), run),
    });
    await engine.version();
    for (let crash = 1; crash <= CRASHES_TO_DOWN; crash++) {
      signalChild(engine, 'SIGKILL');
      await reached(engine, crash < CRASHES_TO_DOWN ? 'restarting' : 'down');
      if (crash < CRASHES_TO_DOWN) await reached(engine, 'ready');
    }
    expect(engine.state()).toMatchObject({ reason: expect.stringContaining('SIGKILL') });
    await expect(engine.load(MATH, never)).rejects.toMatchObject({ code: 'engine.unavailable', retryable: true });
    await reached(engine, 'ready');
    await engine.load(MATH, never);
  });

  it('says what to do where node-llama-cpp is not installed', async () => {
    const resolve = `export async function resolve(name, context, next) {
      if (name === 'node-llama-cpp') throw new Error('Cannot find package');
      return next(name, context);
    }`;
    const register = `import { register } from 'node:module'; register(${JSON.stringify(dataUrl(resolve))});`;
    vi.stubEnv('NODE_OPTIONS', `--import=${dataUrl(register)}`);
    try {
      const engine = openEngine();
      await expect(engine.load(MATH, never)).rejects.toMatchObject({
        code: 'engine.unavailable',
        hint: expect.stringContaining('npm install'),
      });
      expect(engine.state()).toMatchObject({ state: 'down' });
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('refuses a model whose context does not fit in memory and lives on', async () => {
    const engine = openEngine();
    const directory = await mkdtemp(join(tmpdir(), 'fleetgate-'));
    try {
      const file = await readFile(MATH.path);
      const key = 'llama.context_length';
      file.writeUInt32LE(2 ** 31 - 1, file.indexOf(key) + key.length + 4);
      const path = join(directory, 'long.gguf');
      await writeFile(path, file);
      const load = engine.load({ ...MATH, path, contextTokens: 2 ** 31 - 1 }, never);
      await expect(load).rejects.toMatchObject({ code: 'engine.out-of-memory' });
      await engine.load(MATH, never);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('waits with a load while it restarts', async () => {
    const engine = openEngine();
    await engine.load(MATH, never);
    signalChild(engine, 'SIGKILL');
    await reached(engine, 'restarting');
    expect((await engine.load(MATH, never)).memory).toBeGreaterThan(0);
  });

  it('gives up a load that is aborted while it restarts', async () => {
    const engine = openEngine();
    await engine.load(MATH, never);
    signalChild(engine, 'SIGKILL');
    await reached(engine, 'restarting');
    const abort = new AbortController();
    const load = engine.load(MATH, abort.signal);
    abort.abort();
    await expect(load).rejects.toMatchObject({ code: 'job.cancelled' });
  });

  it('leaves no process behind when closed during a job', async () => {
    const engine = openEngine();
    await engine.load(MATH, never);
    const pid = engine.childPid ?? 0;
    const { ended } = await begun(engine);
    await engine.close();
    expect(await ended).toMatchObject({ code: 'engine.unavailable' });
    expect(await goneSoon(pid)).toBe(true);
  });

  it('closes also while its process starts, and when it never did', async () => {
    const engine = openEngine();
    const version = engine.version();
    await engine.close();
    await expect(version).rejects.toMatchObject({ code: expect.stringMatching(/^engine\./) });
    await openEngine().close();
  });

  it('ends its process when the process that owns it is killed', async () => {
    const script = `
      import { createLlamaEngine } from '${join(ROOT, 'agent/dist/engine/llama-engine.js')}';
      import { systemClock } from '${join(ROOT, 'shared/dist/clock.js')}';
      import { silentLogger } from '${join(ROOT, 'shared/dist/logger.js')}';
      const engine = createLlamaEngine(
        { threads: 1, sequences: 1, gpu: 'off', watchdog: 10000, log: silentLogger, clock: systemClock });
      await engine.version();
      process.send(engine.childPid);
    `;
    const directory = await mkdtemp(join(tmpdir(), 'fleetgate-'));
    const file = join(directory, 'owner.mjs');
    await writeFile(file, script);
    const owner = fork(file, [], { execArgv: [] });
    try {
      const [pid] = (await once(owner, 'message')) as [number];
      owner.kill('SIGKILL');
      expect(await goneSoon(pid)).toBe(true);
    } finally {
      owner.kill('SIGKILL');
      await rm(directory, { recursive: true });
    }
  });

  it('refuses a truncated, a corrupt and a missing model file and stays ready', async () => {
    const engine = openEngine();
    const directory = await mkdtemp(join(tmpdir(), 'fleetgate-'));
    try {
      const cut = join(directory, 'cut.gguf');
      await copyFile(MATH.path, cut);
      await truncate(cut, 700_000);
      await expect(engine.load({ ...MATH, path: cut }, never)).rejects.toMatchObject({ code: 'gguf.malformed' });

      const noise = join(directory, 'noise.gguf');
      await writeFile(noise, Buffer.from('GGUF this is not one'.repeat(50)));
      await expect(engine.load({ ...MATH, path: noise }, never)).rejects.toMatchObject({
        code: expect.stringMatching(/^gguf\./),
      });

      // A sound header whose architecture llama.cpp does not have: its own refusal is passed on.
      const strange = await readFile(MATH.path);
      for (let at = strange.indexOf('llama'); at >= 0 && at < 96_000; at = strange.indexOf('llama', at)) {
        strange.write('lamma', at, 'latin1');
      }
      const other = join(directory, 'other.gguf');
      await writeFile(other, strange);
      await expect(engine.load({ ...MATH, path: other }, never)).rejects.toMatchObject({ code: 'gguf.unsupported' });

      const missing = engine.load({ ...MATH, path: join(directory, 'none.gguf') }, never);
      await expect(missing).rejects.toMatchObject({ code: 'artefact.unavailable' });
      expect(engine.state()).toEqual({ state: 'ready' });
      await engine.load(MATH, never);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
