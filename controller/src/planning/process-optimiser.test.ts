import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, describe, expect, it } from 'vitest';

import { referenceProblem } from '../../../test/fixtures/instances/reference-instances.js';
import { ProcessOptimiser } from './process-optimiser.js';

const { problem, expected } = referenceProblem('fleet-01-plain');
const question = { kind: 'optimise', problem, limits: { timeLimitS: 10, gap: 1e-7, method: 'auto' } } as const;

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

function open(options: ConstructorParameters<typeof ProcessOptimiser>[0] = {}): ProcessOptimiser {
  const optimiser = new ProcessOptimiser(options);
  closers.push(() => optimiser.close());
  return optimiser;
}

/** A process that does what a test wants of a broken one: hang on the first question, or die of it. */
async function brokenProcess(source: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fleetgate-optimiser-'));
  closers.push(() => rm(folder, { recursive: true }));
  const file = join(folder, 'optimiser.mjs');
  await writeFile(file, source);
  return file;
}

describe('ProcessOptimiser', () => {
  it('answers in another process, also questions that were asked together', async () => {
    const optimiser = open();
    const plans = await Promise.all([optimiser.ask(question), optimiser.ask(question)]);
    for (const plan of plans) expect(plan.objective).toBeCloseTo(expected.objective ?? NaN, 2);
    const rerouted = await optimiser.ask({ ...question, kind: 'route', placement: plans[0] });
    expect(rerouted.objective).toBeCloseTo(plans[0].objective ?? NaN, 4);
  });

  it('explains a plan in that process', async () => {
    const optimiser = open();
    const plan = await optimiser.ask(question);
    const asked = { curve: 'power', device: 0 } as const;
    const answer = await optimiser.explain({ kind: 'explain', problem, plan, asked, limits: { timeLimitS: 10 } });
    expect(answer.curve?.points.length).toBeGreaterThan(1);
    expect(answer.device?.text).toContain(problem.devices[0]?.id);
  });

  it('ends a process that nobody asks any more, and starts one for the next question', async () => {
    const optimiser = open({ idleMs: 1 });
    await optimiser.ask(question);
    await expect.poll(() => optimiser.pid).toBeUndefined();
    const plan = await optimiser.ask(question);
    expect(plan.objective).toBeCloseTo(expected.objective ?? NaN, 2);
  });

  it('kills a process that hangs and says so', async () => {
    const entry = await brokenProcess(`process.on('message', () => { for (;;) {} });`);
    const optimiser = open({ entry, graceMs: 200 });
    const hurried = { ...question, limits: { ...question.limits, timeLimitS: 0.05 } };
    await expect(optimiser.ask(hurried)).rejects.toMatchObject({ code: 'solver.timeout', retryable: true });
  });

  it('survives a process that dies, and asks a fresh one the next time', async () => {
    const entry = await brokenProcess(`process.on('message', () => process.exit(3));`);
    const optimiser = open({ entry });
    await expect(optimiser.ask(question)).rejects.toMatchObject({ code: 'solver.failed' });
    await expect(optimiser.ask(question)).rejects.toMatchObject({ code: 'solver.failed' });
  });

  it('refuses more than it can queue, and everything once closed', async () => {
    const entry = await brokenProcess(`process.on('message', () => {});`);
    const optimiser = open({ entry });
    const waiting = Array.from({ length: 16 }, () => optimiser.ask(question).catch((error: unknown) => error));
    await expect(optimiser.ask(question)).rejects.toThrow('16 plans are waiting');
    await new Promise((resolve) => setImmediate(resolve));
    await optimiser.close();
    for (const answer of await Promise.all(waiting)) expect(answer).toMatchObject({ code: 'solver.failed' });
  });
});
