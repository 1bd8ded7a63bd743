import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ManualClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { classId, jobId, variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { type Job, type JobOut, jobOutSchema } from '@fleetgate/shared/protocol/job';
import { bytes, joules, milliseconds } from '@fleetgate/shared/units/quantity';

import { ScriptedEngine } from '../engine/scripted-engine.js';
import { JobOutbox } from './job-outbox.js';
import { JobQueue } from './job-queue.js';
import { JobRunner, type JobRunnerOptions } from './job-runner.js';
import { JobStream } from './job-stream.js';
import { MOST_PASSED } from './start-order.js';

const MATH = variantId('math-q8_0');
const SAMPLING = { maxTokens: 100, temperature: 0, topP: 1, stop: [] };

function aJob(id: string, overrides: Partial<Extract<Job, { kind: 'complete' }>> = {}): Job {
  const base = { v: 1, kind: 'complete', variantId: MATH, timeoutMs: 10_000, sampling: SAMPLING } as const;
  return { ...base, sampling: { ...SAMPLING, stop: [] }, jobId: jobId(id), prompt: 'a b c', ...overrides };
}

/** Lets every promise that can go on do so, and timers of the manual clock fire. */
async function pass(clock: ManualClock, duration: number): Promise<void> {
  for (let gone = 0; gone < duration; gone += 5) {
    for (let i = 0; i < 30; i++) await Promise.resolve();
    clock.advance(5);
  }
  for (let i = 0; i < 30; i++) await Promise.resolve();
}

async function aRunner(overrides: Partial<JobRunnerOptions> = {}) {
  const clock = new ManualClock();
  const perToken = milliseconds(10);
  const engine = new ScriptedEngine({ clock, perToken, prefill: milliseconds(20), memory: bytes(1) });
  await engine.load({ variantId: MATH, path: '', contextTokens: 512, stop: [] }, new AbortController().signal);
  const outs = new Map<string, JobOut[]>();
  const runner = new JobRunner({
    engine,
    concurrency: 1,
    capacity: 2,
    serves: (variant) => variant === MATH,
    energy: { start: () => {}, stop: () => ({ energy: joules(1), source: 'modelled' }) },
    emit: ({ jobId: id }, out) => outs.set(id, [...(outs.get(id) ?? []), jobOutSchema.parse(out)]),
    clock,
    log: silentLogger,
    ...overrides,
  });
  const last = (id: string) => outs.get(id)?.at(-1);
  return { clock, engine, runner, outs, last };
}

describe('what is asked of an answer besides its text', () => {
  it('comes after the text, in messages that the broker takes', async () => {
    const { clock, runner, outs } = await aRunner();
    const prompt = Array.from({ length: 90 }, (_, i) => `w${i}`).join(' ');
    runner.accept(aJob('1', { prompt, topLogProbs: 2 }));
    await pass(clock, 1500);
    const said = outs.get('1') ?? [];
    const kinds = said.map(({ kind }) => kind);
    expect(kinds.slice(kinds.lastIndexOf('tokens') + 1)).toEqual(['choices', 'choices', 'done']);
    const choices = said.flatMap((out) => (out.kind === 'choices' ? [out.choices] : []));
    expect(choices.map(({ length }) => length)).toEqual([64, 26]);
    expect(choices.flat().map(({ text }) => text.trim())).toEqual(prompt.split(' '));
    expect(said.map(({ seq }) => seq)).toEqual(said.map((_, i) => i));
  });

  it('comes with the text that it is of, where that is asked for', async () => {
    const { clock, runner, outs } = await aRunner();
    const prompt = Array.from({ length: 90 }, (_, i) => `w${i}`).join(' ');
    runner.accept(aJob('1', { prompt, topLogProbs: 2, choicesWithText: true }));
    await pass(clock, 1500);
    const said = outs.get('1') ?? [];
    expect(new Set(said.map(({ kind }) => kind))).toEqual(new Set(['accepted', 'tokens', 'done']));
    const texts = said.flatMap((out) => (out.kind === 'tokens' ? [out] : []));
    for (const { text, choices = [] } of texts) expect(choices.map((each) => each.text).join('')).toBe(text);
    expect(texts.map(({ text }) => text).join('')).toBe(prompt);
  });

  it('are the tokens themselves, with the last piece of a text, by which another agent goes on', async () => {
    const said = async (job: Job): Promise<readonly JobOut[]> => {
      const { clock, runner, outs } = await aRunner();
      runner.accept(job);
      await pass(clock, 1500);
      return outs.get(job.jobId) ?? [];
    };
    const textOf = (outs: readonly JobOut[]) => outs.map((out) => (out.kind === 'tokens' ? out.text : '')).join('');
    const prompt = Array.from({ length: 30 }, (_, i) => `word${i}`).join(' ');
    const whole = await said(aJob('1', { prompt, tokenIds: true }));
    const pieces = whole.filter((out) => out.kind === 'tokens');
    expect(pieces.flatMap(({ ids = [] }) => ids)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    const some = pieces.slice(0, 4);
    const resume = { text: textOf(some), ids: some.flatMap(({ ids = [] }) => ids) };
    const rest = await said(aJob('2', { prompt, resume }));
    expect(resume.text + textOf(rest)).toBe(textOf(whole));
    expect(rest.at(-1)).toMatchObject({ kind: 'done', usage: { resumedTokens: resume.ids.length } });
    const long = 'x'.repeat(40_000);
    const cut = (await said(aJob('3', { prompt: long, tokenIds: true }))).filter((out) => out.kind === 'tokens');
    expect(cut.map(({ ids }) => ids)).toEqual([undefined, undefined, [1]]);
  });

  it('may be vectors of texts, in messages that the broker takes', async () => {
    const { clock, runner, outs, engine } = await aRunner();
    const texts = ['one text', 'another text'];
    runner.accept({ v: 1, jobId: jobId('1'), variantId: MATH, timeoutMs: 1000, kind: 'embed', texts });
    await pass(clock, 50);
    const said = outs.get('1') ?? [];
    expect(said.map(({ kind }) => kind)).toEqual(['accepted', 'vectors', 'embedded']);
    const vectors = said.flatMap((out) => (out.kind === 'vectors' ? out.vectors : []));
    const expected = (await engine.embed(MATH, texts, new AbortController().signal)).vectors;
    expect(vectors.map((one) => [...new Float32Array(Uint8Array.from(Buffer.from(one, 'base64')).buffer)])).toEqual(
      expected.map((vector) => [...Float32Array.from(vector)]),
    );
    const large: JobOut[] = [];
    const stream = new JobStream(jobId('2'), clock, (out) => large.push(out));
    stream.vectors(Array.from({ length: 10 }, () => Array.from({ length: 4096 }, () => 0.5)));
    expect(large.map((out) => (out.kind === 'vectors' ? out.vectors.length : 0))).toEqual([2, 2, 2, 2, 2]);
  });

  it('is refused by an engine that cannot', async () => {
    const { clock, runner, last } = await aRunner();
    runner.accept(aJob('1', { grammar: { kind: 'gbnf', text: 'root ::= "a"' } }));
    await pass(clock, 100);
    expect(last('1')).toMatchObject({ kind: 'failed', error: { code: 'engine.unavailable' } });
  });
});

describe('JobQueue', () => {
  it('knows a repeated job and refuses beyond its capacity', () => {
    const queue = new JobQueue(1);
    const now = new ManualClock().now();
    expect(queue.offer(aJob('1'), now, true)).toMatchObject({ kind: 'accepted', position: 0 });
    expect(queue.offer(aJob('1'), now, true)).toEqual({ kind: 'duplicate' });
    expect(queue.offer(aJob('2'), now, true)).toEqual({ kind: 'full', capacity: 1 });
    expect(queue.take()?.job.jobId).toBe('1');
    expect(queue.take()).toBeUndefined();
  });

  it('starts what shares most of one variant, and passes no job over more often than the bound', () => {
    const classes = [undefined, 'code', 'math', 'law'].map((name) => (name === undefined ? name : classId(name)));
    const arrivals = fc.array(
      fc.record({
        of: fc.constantFrom(...classes),
        variant: fc.constantFrom(MATH, variantId('moe')),
        mix: fc.boolean(),
      }),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(
        arrivals,
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 40, maxLength: 40 }),
        (jobs, bursts) => {
          const queue = new JobQueue(64);
          const now = new ManualClock().now();
          const [waiting, passed] = [[] as Job[], new Map<string, number>()];
          let last: string | undefined;
          const offered = jobs.map(({ of, variant, mix }, i): Job => {
            const job = { ...aJob(String(i), { variantId: variant }), ...(of === undefined ? {} : { classId: of }) };
            const { jobId: id, timeoutMs, classId: ofClass } = job;
            const input = { kind: 'complete' as const, prompt: 'a' };
            const base = {
              v: 1 as const,
              jobId: id,
              variantId: variant,
              timeoutMs,
              ...(ofClass && { classId: ofClass }),
            };
            return mix ? { ...base, kind: 'mix', input, topK: 4, maxTokens: 2, stop: [] } : job;
          });
          for (const burst of [...bursts, ...bursts]) {
            for (const job of offered.splice(0, burst)) {
              queue.offer(job, now, true);
              waiting.push(job);
            }
            const sharing = ({ classId: of }: Job): number => (of !== undefined && of === last ? 1 : 0);
            const [first] = waiting;
            const taken = queue.take(sharing)?.job;
            if (taken === undefined) continue;
            const at = waiting.indexOf(taken);
            expect(taken.variantId).toBe(first?.variantId);
            if (at > 0) expect([taken.kind, sharing(taken)]).toEqual(['complete', 1]);
            for (const over of waiting.slice(0, at)) {
              const times = (passed.get(over.jobId) ?? 0) + 1;
              passed.set(over.jobId, times);
              expect(times).toBeLessThanOrEqual(MOST_PASSED);
            }
            waiting.splice(at, 1);
            last = taken.classId ?? last;
          }
          expect(waiting).toEqual([]);
        },
      ),
    );
  });
});

describe('JobRunner', () => {
  it('says what slabs on storage meant for a job, and what storage takes at least', async () => {
    const { engine, runner, clock, last } = await aRunner({ readBytesPerS: () => 1e6 });
    const generate = engine.generate.bind(engine);
    const slabs = { routed: 40, hits: 30, bytesRead: 50_000, waitMs: 70.0001 };
    engine.generate = async (...call) => ({ ...(await generate(...call)), slabs });
    runner.accept(aJob('slow'));
    await pass(clock, 200);
    expect(last('slow')).toMatchObject({
      kind: 'done',
      usage: { slabs: { hitRatio: 0.75, readBytes: 50_000, waitMs: 70, floorMs: 50 } },
    });
    engine.generate = async (...call) => ({ ...(await generate(...call)), slabs: { ...slabs, routed: 0 } });
    runner.accept(aJob('none'));
    await pass(clock, 200);
    expect(last('none')).toMatchObject({ kind: 'done' });
    expect(last('none')).not.toHaveProperty('usage.slabs');
  });

  it('runs a job to its end, with its usage', async () => {
    const { clock, runner, outs, last } = await aRunner();
    runner.accept(aJob('1'));
    await pass(clock, 100);
    expect(outs.get('1')?.map((out) => `${out.seq} ${out.kind}`)[0]).toBe('0 accepted');
    expect(last('1')).toMatchObject({
      kind: 'done',
      finishReason: 'stop',
      usage: { promptTokens: 3, outputTokens: 3, energyJ: 1 },
    });
    expect(runner.outputTokens).toBe(3);
  });

  it('lets the rest wait, and refuses what is too much', async () => {
    const { clock, runner, outs, last } = await aRunner();
    for (const id of ['1', '2', '3', '4']) runner.accept(aJob(id));
    expect(outs.get('3')?.[0]).toMatchObject({ kind: 'accepted', queuePosition: 2 });
    expect(last('4')).toMatchObject({ kind: 'failed', error: { code: 'job.queue-full', retryable: true } });
    expect([runner.runningJobs, runner.queuedJobs]).toEqual([1, 2]);
    await pass(clock, 400);
    const third = last('3');
    expect(third).toMatchObject({ kind: 'done' });
    expect(third?.kind === 'done' ? third.usage.queueMs : 0).toBeGreaterThanOrEqual(100);
  });

  it('starts the job that shares slabs with the one before it, of the same variant only', async () => {
    const { clock, runner, outs } = await aRunner({ capacity: 8, sharing: (_, one, other) => (one === other ? 1 : 0) });
    const ended: string[] = [];
    const classes = ['law', 'code', 'law', undefined, 'code', 'law'];
    for (const [i, of] of classes.entries()) {
      runner.accept(aJob(String(i), of === undefined ? {} : { classId: classId(of) }));
    }
    for (let i = 0; i < 300 && ended.length < classes.length; i++) {
      await pass(clock, 5);
      for (const [id, out] of outs) if (out.at(-1)?.kind === 'done' && !ended.includes(id)) ended.push(id);
    }
    expect(ended).toEqual(['0', '2', '5', '1', '4', '3']);
  });

  it('scores', async () => {
    const { clock, runner, last } = await aRunner();
    runner.accept({
      v: 1,
      kind: 'score',
      jobId: jobId('1'),
      variantId: MATH,
      timeoutMs: 1000,
      prompt: 'p',
      completion: 'abc',
    });
    await pass(clock, 20);
    expect(last('1')).toMatchObject({ kind: 'scored', bits: 3, bytes: 3 });
  });

  it.each([
    ['running', '1'],
    ['waiting', '2'],
  ])('cancels a %s job', async (_, id) => {
    const { clock, runner, last } = await aRunner();
    runner.accept(aJob('1'));
    runner.accept(aJob('2'));
    await pass(clock, 35);
    runner.cancel(jobId(id));
    await pass(clock, 10);
    expect(last(id)).toMatchObject({ kind: 'done', finishReason: 'cancelled' });
    await pass(clock, 100);
    expect(last(id === '1' ? '2' : '1')).toMatchObject({ kind: 'done', finishReason: 'stop' });
  });

  it.each([
    ['running', '1'],
    ['waiting', '2'],
  ])('ends a %s job that took too long', async (_, id) => {
    const { clock, runner, last } = await aRunner();
    runner.accept(aJob('1', { timeoutMs: id === '1' ? 35 : 1000 }));
    runner.accept(aJob('2', { timeoutMs: id === '2' ? 30 : 1000 }));
    await pass(clock, 45);
    expect(last(id)).toMatchObject({ kind: 'failed', error: { code: 'job.expired' } });
    await pass(clock, 100);
    expect(last(id === '1' ? '2' : '1')).toMatchObject({ kind: 'done', finishReason: 'stop' });
  });

  it('ends a job on an engine that hangs, two seconds after it was told to stop', async () => {
    const { clock, engine, runner, last } = await aRunner();
    engine.generate = () => new Promise(() => {});
    runner.accept(aJob('1'));
    runner.cancel(jobId('1'));
    await pass(clock, 1990);
    expect(last('1')).toMatchObject({ kind: 'accepted' });
    await pass(clock, 20);
    expect(last('1')).toMatchObject({ kind: 'done', finishReason: 'cancelled' });
  });

  it('fails with the code of the engine', async () => {
    const { clock, engine, runner, last } = await aRunner();
    engine.failNextJob(new FleetError('engine.crashed', 'it died', { retryable: true }), 1);
    runner.accept(aJob('1'));
    await pass(clock, 100);
    expect(last('1')).toMatchObject({
      kind: 'failed',
      error: { code: 'engine.crashed', message: 'it died', retryable: true },
    });
  });

  it('takes no job of a variant that is not resident', async () => {
    const { runner, last } = await aRunner();
    runner.accept(aJob('1', { variantId: variantId('law-q8_0') }));
    expect(last('1')).toMatchObject({ kind: 'failed', error: { code: 'job.rejected', retryable: true } });
  });

  it('answers a job that could not be read, once, and leaves one that it knows alone', async () => {
    const { clock, runner, outs, last } = await aRunner();
    const unreadable = new FleetError('protocol.malformed', 'sampling: expected object');
    runner.accept(aJob('1'));
    for (const id of ['1', '2', '2']) runner.refuseUnread({ jobId: jobId(id) }, unreadable);
    expect(outs.get('2')).toEqual([
      {
        v: 1,
        jobId: '2',
        seq: 0,
        kind: 'failed',
        error: { code: 'job.unreadable', message: expect.stringContaining('sampling'), retryable: true },
      },
    ]);
    await pass(clock, 100);
    expect(last('1')).toMatchObject({ kind: 'done', finishReason: 'stop' });
  });

  it('drains a variant: waits for its jobs, however they end', async () => {
    const { clock, runner } = await aRunner();
    runner.accept(aJob('1'));
    runner.accept(aJob('2'));
    let drained = false;
    const draining = runner.drain(MATH, new AbortController().signal).then(() => (drained = true));
    await pass(clock, 60);
    expect(drained).toBe(false);
    await pass(clock, 100);
    await draining;
    expect(drained).toBe(true);
  });

  it('ends everything at shutdown, to be tried elsewhere', async () => {
    const { clock, runner, last } = await aRunner();
    runner.accept(aJob('1'));
    runner.accept(aJob('2'));
    const stopping = runner.stop();
    await pass(clock, 50);
    await stopping;
    for (const id of ['1', '2']) {
      expect(last(id)).toMatchObject({ kind: 'failed', error: { code: 'job.cancelled', retryable: true } });
    }
    runner.accept(aJob('3'));
    expect(last('3')).toMatchObject({ kind: 'failed', error: { code: 'job.rejected' } });
  });

  it('gives every job numbers without gaps and exactly one end, whatever happens', async () => {
    const action = fc.oneof(
      fc.record({
        do: fc.constant('accept' as const),
        id: fc.integer({ min: 0, max: 9 }),
        timeoutMs: fc.integer({ min: 5, max: 300 }),
      }),
      fc.record({ do: fc.constant('cancel' as const), id: fc.integer({ min: 0, max: 9 }) }),
      fc.record({ do: fc.constant('crash' as const) }),
      fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 80 }) }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(action, { maxLength: 25 }),
        fc.integer({ min: 1, max: 3 }),
        async (actions, concurrency) => {
          const { clock, engine, runner, outs } = await aRunner({ concurrency });
          for (const step of actions) {
            if (step.do === 'accept') runner.accept(aJob(`${step.id}`, { timeoutMs: step.timeoutMs }));
            else if (step.do === 'cancel') runner.cancel(jobId(`${step.id}`));
            else if (step.do === 'crash')
              engine.failNextJob(new FleetError('engine.crashed', 'x', { retryable: true }), 1);
            else await pass(clock, step.ms);
          }
          await pass(clock, 3000);
          for (const messages of outs.values()) {
            expect(messages.map((out) => out.seq)).toEqual(messages.map((_, i) => i));
            const ends = messages.map((out) => out.kind !== 'accepted' && out.kind !== 'tokens');
            expect(ends.indexOf(true)).toBe(messages.length - 1);
          }
          expect([runner.runningJobs, runner.queuedJobs]).toEqual([0, 0]);
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe('JobStream', () => {
  it('sends the first text at once and gathers the rest for 25 ms', () => {
    const clock = new ManualClock();
    const outs: JobOut[] = [];
    const stream = new JobStream(jobId('1'), clock, (out) => outs.push(out));
    stream.text('a', 1);
    stream.text('b', 1);
    clock.advance(10);
    stream.text('', 1);
    stream.text('c', 1);
    expect(outs).toHaveLength(1);
    clock.advance(15);
    expect(outs).toMatchObject([
      { seq: 0, text: 'a', tokens: 1 },
      { seq: 1, text: 'bc', tokens: 3 },
    ]);
  });

  it('tells how likely tokens were with their text, and what one message does not hold after it', () => {
    const clock = new ManualClock();
    const outs: JobOut[] = [];
    const stream = new JobStream(jobId('1'), clock, (out) => outs.push(out));
    const choices = Array.from({ length: 100 }, (_, i) => ({ text: `${i}`, logProb: 1e-9, top: [] }));
    stream.text('a', 1, undefined, choices.slice(0, 1));
    stream.text('', 1, undefined, choices.slice(1, 2));
    clock.advance(25);
    expect(outs).toHaveLength(1);
    stream.text('b', 98, undefined, choices.slice(2));
    clock.advance(25);
    expect(outs.map((out) => [out.kind, ('choices' in out ? out.choices : undefined)?.length])).toEqual([
      ['tokens', 1],
      ['tokens', 64],
      ['choices', 35],
    ]);
    const told = outs.flatMap((out) => ('choices' in out ? (out.choices ?? []) : []));
    expect(told).toEqual(choices.map((choice) => ({ ...choice, logProb: 0 })));
    stream.end({ kind: 'failed', error: { code: 'engine.crashed', message: '', retryable: true } });
    expect(outs).toHaveLength(4);
  });

  it('cuts a text that no message could hold, never inside a character', () => {
    const outs: JobOut[] = [];
    const stream = new JobStream(jobId('1'), new ManualClock(), (out) => outs.push(out));
    const text = `x${'😀'.repeat(20_000)}`;
    stream.text(text, 7);
    const pieces = outs.map((out) => (out.kind === 'tokens' ? out.text : ''));
    expect(pieces.length).toBeGreaterThan(1);
    expect(pieces.join('')).toBe(text);
    for (const piece of pieces) expect(Buffer.from(piece).toString()).toBe(piece);
  });
});

describe('JobOutbox', () => {
  function anOutbox() {
    const clock = new ManualClock();
    const sent: { seq: number; settle: (ok: boolean) => void }[] = [];
    let gaveUp = 0;
    const outbox = new JobOutbox({
      send: (_, out) =>
        new Promise((resolve, reject) => {
          const lost = new FleetError('broker.unreachable', 'gone', { retryable: true });
          sent.push({ seq: out.seq, settle: (ok) => (ok ? resolve() : reject(lost)) });
        }),
      clock,
      onGiveUp: () => (gaveUp += 1),
    });
    const say = (seq: number, text = 'x') =>
      outbox.push({ jobId: jobId('1') }, { v: 1, jobId: jobId('1'), seq, kind: 'tokens', text, tokens: 1 });
    return { clock, outbox, sent, say, gaveUp: () => gaveUp };
  }

  it('sends again, in order, what the broker had not acknowledged when the line broke', async () => {
    const { clock, outbox, sent, say } = anOutbox();
    outbox.onLink('connected');
    for (const seq of [0, 1, 2]) say(seq);
    sent[0]?.settle(true);
    await pass(clock, 5);
    outbox.onLink('disconnected');
    for (const message of sent.slice(1)) message.settle(false);
    say(3);
    await pass(clock, 5);
    expect(sent).toHaveLength(3);
    outbox.onLink('connected');
    expect(sent.slice(3).map((message) => message.seq)).toEqual([1, 2, 3]);
    for (const message of sent.slice(3)) message.settle(true);
    await pass(clock, 5);
    expect(outbox.waiting).toBe(0);
  });

  it('gives up after half a minute without a line, and says nothing more of those jobs', async () => {
    const { clock, outbox, sent, say, gaveUp } = anOutbox();
    outbox.onLink('disconnected');
    say(0);
    clock.advance(30_000);
    expect(gaveUp()).toBe(1);
    say(1);
    expect(outbox.waiting).toBe(0);
    outbox.onLink('connected');
    expect(sent).toEqual([]);
  });

  it('gives up when too much waits', () => {
    const { outbox, say, gaveUp } = anOutbox();
    outbox.onLink('disconnected');
    for (let seq = 0; seq < 100; seq++) say(seq, 'y'.repeat(16_000));
    expect(gaveUp()).toBeGreaterThan(0);
    expect(outbox.waiting).toBe(0);
  });
});
