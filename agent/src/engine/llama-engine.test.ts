import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { copyFile, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';

import { type Clock, systemClock } from '@fleetgate/shared/clock';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { writeLora } from '../gguf/lora.fixture.js';
import type { EngineModel, EngineState, MixStep } from './engine.js';
import { describeEngine } from './engine-contract.js';
import { type LlamaEngine, createLlamaEngine } from './llama-engine.js';
import { CRASHES_TO_DOWN } from './restart-policy.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const PROMPT = 'Janet has 3 apples and buys 4 more. How many apples does she have now?';
const GREEDY = { maxTokens: 250, temperature: 0, topP: 1, stop: [] };
const never = new AbortController().signal;

const modelOf = (expert: string): EngineModel => ({
  variantId: variantId(`${expert}-q8_0`),
  path: join(ROOT, 'experts', expert, `${expert}-q8_0.gguf`),
  contextTokens: 320,
  stop: ['\nQuestion:'],
});
const chat = (content: string) => ({ kind: 'chat' as const, messages: [{ role: 'user' as const, content }] });
const MATH = modelOf('math');

const engines: LlamaEngine[] = [];
const openEngine = (watchdogMs = 10_000, clock: Clock = systemClock): LlamaEngine => {
  const engine = createLlamaEngine({
    threads: 1,
    sequences: 2,
    gpu: 'off',
    watchdog: milliseconds(watchdogMs),
    log: silentLogger,
    clock,
  });
  engines.push(engine);
  return engine;
};
afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.close();
});

for (const expert of ['math', 'generalist', 'moe']) {
  describeEngine(`llama.cpp with the bundled ${expert}`, async () => {
    const engine = openEngine();
    engines.pop(); // kept open over the suite's tests
    return {
      engine,
      model: modelOf(expert),
      prompt: PROMPT,
      scores: true,
      knowsGrammars: true,
      close: () => engine.close(),
    };
  });
}

it('ends an answer whose grammar takes for ever, and works on', async () => {
  const engine = openEngine(1500);
  await engine.load(MATH, never);
  const twice = Array.from({ length: 30 }, (_, i) => `r${i} ::= r${i + 1} r${i + 1} | r${i + 1}`).join('\n');
  const grammar = { kind: 'gbnf' as const, text: `root ::= r0\n${twice}\nr30 ::= "a"` };
  const answer = engine.generate(MATH.variantId, chat(PROMPT), GREEDY, () => {}, never, { grammar });
  await expect(answer).rejects.toMatchObject({ code: 'engine.timeout' });
  await reached(engine, 'ready');
  await engine.load(MATH, never);
  const result = await engine.generate(MATH.variantId, chat(PROMPT), { ...GREEDY, maxTokens: 3 }, () => {}, never);
  expect(result.outputTokens).toBe(3);
});

describe('adapters on one base', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fleetgate-adapters-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const adapted = (name: string, scale: number, file = join(folder, 'one.gguf')): EngineModel => ({
    ...MATH,
    variantId: variantId(name),
    adapters: [{ path: file, scale }],
  });
  const text = async (engine: LlamaEngine, { variantId: variant }: EngineModel): Promise<string> => {
    let said = '';
    await engine.generate(variant, chat(PROMPT), { ...GREEDY, maxTokens: 40 }, (piece) => (said += piece), never);
    return said;
  };
  const written = async (name: string, seed: number): Promise<string> => {
    const path = join(folder, name);
    const base = await readGguf(MATH.path);
    const weights = base.tensors.map((tensor) => tensor.name).filter((tensor) => /attn_[qv]|ffn_down/.test(tensor));
    writeLora(path, base, weights, { seed });
    return path;
  };

  it('share its weights, answer each in their own way, and come and go without it', async () => {
    const [one, other] = [await written('one.gguf', 1), await written('other.gguf', 2)];
    const engine = openEngine();
    const base = await engine.load(MATH, never);
    const plain = await text(engine, MATH);
    const [first, second, silent] = [adapted('first', 1, one), adapted('second', 1, other), adapted('silent', 0, one)];
    const weights = (await stat(MATH.path)).size;
    for (const model of [first, second, silent]) {
      expect((await engine.load(model, never)).memory).toBeLessThan(base.memory);
      expect((await engine.load(model, never)).memory).toBeLessThan(base.memory - 0.9 * weights + 4e6);
    }
    const texts = await Promise.all([first, second, silent].map((model) => text(engine, model)));
    expect(texts[2]).toBe(plain);
    expect(new Set([plain, texts[0], texts[1]]).size).toBe(3);
    await engine.unload(MATH.variantId);
    await engine.unload(second.variantId);
    expect(await text(engine, first)).toBe(texts[0]);
    await engine.load(second, never);
    expect(await text(engine, second)).toBe(texts[1]);
  });

  it('of another model are refused', async () => {
    const path = join(folder, 'wrong.gguf');
    writeLora(path, await readGguf(modelOf('generalist').path), ['blk.0.attn_q.weight'], { rank: 3 });
    const engine = openEngine();
    await expect(engine.load(adapted('wrong', 1, path), never)).rejects.toMatchObject({ code: 'gguf.unsupported' });
    const missing = adapted('missing', 1, join(folder, 'nothing.gguf'));
    await expect(engine.load(missing, never)).rejects.toMatchObject({ name: 'FleetError' });
    await engine.load(MATH, never);
    expect((await text(engine, MATH)).length).toBeGreaterThan(10);
  });
});

/** Resolves when the engine is in that state. */
async function reached(engine: LlamaEngine, state: EngineState['state']): Promise<void> {
  if (engine.state().state === state) return;
  await new Promise<void>((resolve) => {
    const end = engine.onState((now) => {
      if (now.state !== state) return;
      end();
      resolve();
    });
  });
}

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

describe('LlamaEngine', () => {
  it('repeats a sampled answer with its seed, and varies without', async () => {
    const engine = openEngine();
    await engine.load(MATH, never);
    const answer = async (seed: number): Promise<string> => {
      let text = '';
      const sampling = { maxTokens: 40, temperature: 0.9, topP: 0.95, seed, stop: [] };
      await engine.generate(MATH.variantId, chat(PROMPT), sampling, (piece) => (text += piece), never);
      return text;
    };
    const [first, again, other] = [await answer(1), await answer(1), await answer(2)];
    expect(again).toBe(first);
    expect(other).not.toBe(first);
  });

  it('stops at the end of the context and says how long a prompt was that does not fit', async () => {
    const engine = openEngine();
    await engine.load({ ...MATH, contextTokens: 64 }, never);
    const result = await engine.generate(MATH.variantId, chat(PROMPT), GREEDY, () => {}, never);
    expect(result.finishReason).toBe('length');
    expect(result.promptTokens + result.outputTokens).toBe(64);
    const long = engine.generate(MATH.variantId, chat('apple '.repeat(90)), GREEDY, () => {}, never);
    await expect(long).rejects.toThrow(/has \d+ tokens.*holds 64/);
  });

  it('holds several variants at once and reports the memory of each', async () => {
    const engine = openEngine();
    for (const expert of ['math', 'code']) {
      const { memory } = await engine.load(modelOf(expert), never);
      expect(memory).toBeGreaterThan(1e6);
      expect(memory).toBeLessThan(1e8);
    }
    const tokens = await Promise.all(
      ['math', 'code'].map(async (expert) => {
        const sampling = { ...GREEDY, maxTokens: 4 };
        return (await engine.generate(modelOf(expert).variantId, chat(PROMPT), sampling, () => {}, never)).outputTokens;
      }),
    );
    expect(tokens).toEqual([4, 4]);
  });

  it('mixes exactly: bits of an answer are those of its score, step by step, whole characters only', async () => {
    const engine = openEngine();
    await engine.load(MATH, never);
    const said = 'It is 7 — 東京 ☕, ok';
    const { tokenBits = [], promptBits } = await engine.score(MATH.variantId, PROMPT, said, never, 'tokens');
    // A tokenizer of its own is not at hand: the tokens are found by following the bits of the score.
    const steps: MixStep[] = [];
    const pieces: string[] = [];
    const follow = async (step: MixStep): Promise<number> => {
      steps.push(step);
      pieces.push(step.text);
      const bits = tokenBits[step.step] ?? NaN;
      const at = step.next.logProbs.findIndex((logProb) => Math.abs(-logProb / Math.LN2 - bits) < 1e-3);
      return step.next.ids[at] ?? -1;
    };
    const options = { input: chat(PROMPT), topK: 512, maxTokens: 200, stop: [] };
    await engine.mix(MATH.variantId, options, follow, never).catch(() => {});
    expect(steps[0]?.promptBits).toBeCloseTo(promptBits ?? NaN, 2);
    expect(steps.length).toBeGreaterThan(2);
    expect(pieces.join('')).not.toContain('\uFFFD');
    expect(said.startsWith(pieces.join(''))).toBe(true);
  });

  // Values of experts/README.md (full precision, another framework); Q8_0 agrees within 0.005, rounding adds 0.0005.
  it.each([
    ['math', 'math', 1.275],
    ['generalist', 'math', 1.793],
    ['math', 'dialogue', 2.708],
  ])('scores %s on the first 120 %s validation documents as the model card says', async (expert, domain, expected) => {
    const engine = openEngine();
    const model = modelOf(expert);
    await engine.load(model, never);
    const lines = (await readFile(join(ROOT, 'experts/data', `${domain}.valid.jsonl`), 'utf8')).split('\n', 120);
    let bits = 0;
    let bytes = 0;
    for (const line of lines) {
      const { prompt, completion } = JSON.parse(line) as { prompt: string; completion: string };
      const score = await engine.score(model.variantId, prompt, completion, never);
      bits += score.bits;
      bytes += score.bytes;
    }
    expect(Math.abs(bits / bytes - expected)).toBeLessThan(0.006);
  });
});
