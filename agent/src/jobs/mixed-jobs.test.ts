import { describe, expect, it } from 'vitest';

import { ManualClock } from '@fleetgate/shared/clock';
import { jobId, variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { type Job, type JobOut, jobOutSchema, MIX_SILENCE_MS } from '@fleetgate/shared/protocol/job';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { ScriptedEngine } from '../engine/scripted-engine.js';
import { EnergyMeter } from '../sensors/energy-meter.js';
import { JobRunner } from './job-runner.js';

const MATH = variantId('math-q8_0');
const MIX = { v: 1, kind: 'mix', variantId: MATH, timeoutMs: 100_000, topK: 4, maxTokens: 10, stop: [] } as const;
const PREFILL = 20;
const PER_TOKEN = 10;
/** Above idle. */
const BUSY_W = 8;

/** Lets every promise that can go on do so, and timers of the manual clock fire. */
async function pass(clock: ManualClock, duration: number): Promise<void> {
  for (let gone = 0; gone < duration; gone += 5) {
    for (let i = 0; i < 40; i++) await Promise.resolve();
    clock.advance(5);
  }
  for (let i = 0; i < 40; i++) await Promise.resolve();
}

async function mixing(more: Partial<Job & { kind: 'mix' }> = {}) {
  const clock = new ManualClock();
  const engine = new ScriptedEngine({ clock, perToken: milliseconds(PER_TOKEN), prefill: milliseconds(PREFILL) });
  await engine.load({ variantId: MATH, path: '', contextTokens: 512, stop: [] }, new AbortController().signal);
  const outs: JobOut[] = [];
  const meter = new EnergyMeter({ idleW: 2, loadW: 2 + BUSY_W, standbyW: 1 }, clock);
  const runner = new JobRunner({
    engine,
    concurrency: 1,
    capacity: 2,
    serves: (variant) => variant === MATH || variant === variantId('code-q8_0'),
    energy: meter,
    emit: (_, out) => outs.push(jobOutSchema.parse(out)),
    clock,
    log: silentLogger,
  });
  const input = { kind: 'complete' as const, prompt: 'eins zwei drei' };
  runner.accept({ ...MIX, stop: [], jobId: jobId('1'), input, ...more });
  await pass(clock, PREFILL);
  const proceed = async (step: number, token: number): Promise<void> => {
    runner.proceed(jobId('1'), step, token);
    await pass(clock, PER_TOKEN);
  };
  return { clock, engine, meter, runner, outs, proceed };
}

describe('a mixed answer', () => {
  it('goes on with each chosen token, and ends with the end token', async () => {
    const { outs, proceed, runner } = await mixing();
    await proceed(0, 1);
    await proceed(1, 3);
    await proceed(2, 0);
    expect(outs).toMatchObject([
      { kind: 'accepted' },
      { kind: 'next', step: 0, promptBits: 14, ids: [1, 0], logProbs: [-0.1054, -2.3026], restProb: 0, text: '' },
      { kind: 'next', step: 1, ids: [2, 0], text: 'eins' },
      { kind: 'next', step: 2, ids: [3, 0], text: ' drei' },
      { kind: 'done', finishReason: 'stop', usage: { promptTokens: 3, outputTokens: 2, prefillMs: 20, decodeMs: 20 } },
    ]);
    expect(outs.map(({ seq }) => seq)).toEqual([0, 1, 2, 3, 4]);
    expect(runner.outputTokens).toBe(3);
  });

  it('gives the text that no step has given, before its end', async () => {
    const { outs, proceed } = await mixing({ maxTokens: 2 });
    await proceed(0, 1);
    await proceed(1, 2);
    expect(outs.slice(-2)).toMatchObject([
      { kind: 'tokens', text: ' zwei' },
      { kind: 'done', finishReason: 'length', usage: { outputTokens: 2 } },
    ]);
  });

  it('ends before a stop string', async () => {
    const { outs, proceed } = await mixing({ stop: ['wei'] });
    await proceed(0, 1);
    await proceed(1, 2);
    const text = outs.map((out) => ('text' in out ? out.text : '')).join('');
    expect(text).toBe('eins z');
    expect(outs.at(-1)).toMatchObject({ kind: 'done', finishReason: 'stop' });
  });

  it('ignores a repeated token and one of another step', async () => {
    const { outs, proceed } = await mixing();
    for (const [step, token] of [
      [1, 2],
      [0, 1],
      [0, 2],
      [7, 2],
      [1, 2],
    ] as const) {
      await proceed(step, token);
    }
    const texts = outs.map((out) => (out.kind === 'next' ? out.text : undefined));
    expect(texts).toEqual([undefined, '', 'eins', ' zwei']);
  });

  it('does not count the time that it waits for the controller as use of the engine', async () => {
    const { clock, meter, outs, proceed } = await mixing();
    await pass(clock, 500);
    meter.power();
    await pass(clock, 1000);
    expect(meter.power().powerW).toBe(2);
    await proceed(0, 1);
    await pass(clock, 700);
    await proceed(1, 0);
    const done = outs.at(-1);
    const seconds = (PREFILL + PER_TOKEN) / 1000;
    expect(done?.kind === 'done' ? done.usage.energyJ : 0).toBeCloseTo(BUSY_W * seconds, 6);
  });

  it('is given up when no token comes, with what it has used, and the next job runs', async () => {
    const { clock, runner, outs, proceed } = await mixing();
    await proceed(0, 1);
    const input = { kind: 'complete' as const, prompt: 'x' };
    runner.accept({ ...MIX, stop: [], jobId: jobId('2'), input });
    await pass(clock, MIX_SILENCE_MS + 10);
    const failed = outs.find((out) => out.kind === 'failed');
    expect(failed).toMatchObject({ error: { code: 'job.expired', retryable: false }, usage: { outputTokens: 1 } });
    await pass(clock, PREFILL);
    expect(outs.at(-1)).toMatchObject({ jobId: '2', kind: 'next', step: 0 });
  });

  it.each([
    ['waits', 0],
    ['evaluates', 3],
  ])('is cancelled while it %s', async (_, after) => {
    const { clock, runner, outs } = await mixing();
    if (after > 0) runner.proceed(jobId('1'), 0, 1);
    await pass(clock, after);
    runner.cancel(jobId('1'));
    await pass(clock, 20);
    expect(outs.at(-1)).toMatchObject({ kind: 'done', finishReason: 'cancelled' });
    expect(runner.runningJobs).toBe(0);
  });

  it('fails with the engine', async () => {
    const { clock, engine, outs } = await mixing();
    engine.crash();
    await pass(clock, 10);
    expect(outs.at(-1)).toMatchObject({ kind: 'failed', error: { code: 'engine.crashed', retryable: true } });
  });
});

describe('what jobs may tell besides', () => {
  it('gives bits of every token, and how sure an answer was, only when asked', async () => {
    const { clock, outs, proceed, runner } = await mixing();
    await proceed(0, 0);
    const base = { v: 1, variantId: MATH, timeoutMs: 10_000 } as const;
    const sampling = { maxTokens: 10, temperature: 0, topP: 1, stop: [] };
    const score = { ...base, kind: 'score', prompt: 'p', completion: 'ab cd' } as const;
    const complete = { ...base, kind: 'complete', prompt: 'a b', sampling } as const;
    outs.length = 0;
    runner.accept({ ...score, jobId: jobId('s1') });
    await pass(clock, 10);
    runner.accept({ ...score, jobId: jobId('s2'), detail: true });
    await pass(clock, 10);
    runner.accept({ ...complete, jobId: jobId('c1') });
    await pass(clock, 100);
    runner.accept({ ...complete, jobId: jobId('c2'), logProbs: true });
    await pass(clock, 100);
    const ends = outs.filter(({ kind }) => kind === 'scored' || kind === 'done');
    expect(ends).toHaveLength(4);
    expect(ends[0]).not.toHaveProperty('tokenBits');
    expect(ends[1]).toMatchObject({ bits: 5, promptBits: 1, tokenBits: [2, 3] });
    expect(ends[2]).not.toHaveProperty('meanLogProb');
    expect(ends[3]).toMatchObject({ meanLogProb: Math.log(0.9) });
  });
});

describe('mixed answers on one device', () => {
  const CODE = variantId('code-q8_0');
  const input = { kind: 'complete' as const, prompt: 'eins zwei' };

  async function sharing() {
    const { runner, clock, outs, engine } = await mixing();
    await engine.load({ variantId: CODE, path: '', contextTokens: 512, stop: [] }, new AbortController().signal);
    const from = (id: string) => outs.filter(({ jobId: of }) => of === id).map(({ kind }) => kind);
    return { runner, clock, outs, from };
  }

  it('share one place, so that the members of an ensemble do not wait for each other', async () => {
    const { runner, clock, from } = await sharing();
    runner.accept({ ...MIX, stop: [], jobId: jobId('2'), variantId: CODE, input });
    await pass(clock, PREFILL);
    expect(from('2')).toEqual(['accepted', 'next']);
    runner.proceed(jobId('1'), 0, 1);
    runner.proceed(jobId('2'), 0, 1);
    await pass(clock, PER_TOKEN);
    expect([from('1').length, from('2').length]).toEqual([3, 2]);
    await pass(clock, PER_TOKEN);
    expect([from('1').length, from('2').length]).toEqual([3, 3]);
  });

  it('let no other answer start beside them, and start behind those that came before', async () => {
    const { runner, clock, from } = await sharing();
    const sampling = { maxTokens: 2, temperature: 0, topP: 1, stop: [] };
    const chat = { v: 1, kind: 'complete', variantId: CODE, timeoutMs: 100_000, prompt: 'eins', sampling } as const;
    runner.accept({ ...chat, sampling: { ...sampling, stop: [] }, jobId: jobId('2') });
    runner.accept({ ...MIX, stop: [], jobId: jobId('3'), variantId: CODE, input });
    await pass(clock, 100);
    expect([from('2'), from('3')]).toEqual([['accepted'], ['accepted']]);
    runner.cancel(jobId('1'));
    await pass(clock, 100);
    expect(from('2').at(-1)).toBe('done');
    expect(from('3').at(-1)).toBe('next');
  });
});
