import { readFileSync } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type Clock, systemClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { jobId, variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import type { Desired, DesiredVariant } from '@fleetgate/shared/protocol/twin';
import { milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import { FakeController, TOKEN } from '../../test/support/fake-controller.ts';
import { parseAgentConfig } from './config/config.js';
import { ScriptedEngine } from './engine/scripted-engine.js';
import { runAgent, type RunningAgent } from './main.js';
import { FixedSensors } from './sensors/sensors.js';

const NAME = 'pi-1';
const SAMPLING = { maxTokens: 64, temperature: 0, topP: 1, stop: [] };

let controller: FakeController;
let folder: string;
let engine: ScriptedEngine;
const agents: RunningAgent[] = [];

beforeEach(async () => {
  controller = await FakeController.start();
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-agent-'));
  engine = new ScriptedEngine({ clock: systemClock, perToken: milliseconds(2), prefill: milliseconds(2) });
});

afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.stop();
  await controller.stop();
  await rm(folder, { recursive: true, force: true });
});

function configOf(overrides: object = {}) {
  return parseAgentConfig({
    controllerUrl: controller.url,
    board: 'raspberry-pi-5',
    name: NAME,
    dataDir: join(folder, NAME),
    token: TOKEN,
    engine: { kind: 'llama' },
    ...overrides,
  });
}

async function startAgent(overrides: object = {}): Promise<RunningAgent> {
  const agent = await runAgent(configOf(overrides), { log: silentLogger, engine });
  agents.push(agent);
  await agent.ready;
  return agent;
}

function variant(name: string, purpose: DesiredVariant['purpose'] = 'serve'): DesiredVariant {
  const artefact = controller.addArtefact(
    readFileSync(new URL(`../../experts/${name.slice(0, -5)}/${name}.gguf`, import.meta.url)),
  );
  return { variantId: variantId(name), purpose, ...artefact, contextTokens: 512, stop: [] };
}

function desired(generation: number, variants: readonly DesiredVariant[], overrides: Partial<Desired> = {}): Desired {
  const telemetry = { sampleMs: 100, batchMs: 200 };
  return { v: 1, generation, planId: null, state: 'active', variants: [...variants], telemetry, ...overrides };
}

const settledAt = (generation: number) =>
  controller.until(() => {
    const report = controller.lastReport();
    return report?.settled === true && report.observedGeneration === generation ? report : undefined;
  }, `settled at generation ${generation}`);

const endOf = (id: string) =>
  controller.until(
    () => controller.outsOf(id).find(({ kind }) => kind === 'done' || kind === 'scored' || kind === 'failed'),
    `end of job ${id}`,
  );

function chat(id: string, text: string, overrides: object = {}) {
  const messages = [{ role: 'user', content: text }];
  return {
    v: 1,
    kind: 'chat',
    jobId: id,
    variantId: 'math-q8_0',
    timeoutMs: 10_000,
    messages,
    sampling: SAMPLING,
    ...overrides,
  };
}

describe('an agent that gets hot', () => {
  it('uses fewer slabs a token as far as its variants allow, says so, and comes back', async () => {
    const sensors = new FixedSensors({ temperatureC: 45 });
    let shiftMs = 0;
    const clock: Clock = { ...systemClock, now: () => (systemClock.now() + shiftMs) as UnixMs };
    const agent = await runAgent(configOf(), { log: silentLogger, engine, sensors, clock });
    agents.push(agent);
    await agent.ready;
    const elastic = { ...variant('moe-q8_0'), serving: { slabsPerToken: 2, leastSlabsPerToken: 1 } };
    await controller.desire(NAME, desired(1, [elastic, variant('math-q8_0')]));
    await settledAt(1);
    const [moe, math] = [variantId('moe-q8_0'), variantId('math-q8_0')];
    expect(engine.slabsPerToken(moe)).toBeUndefined();
    sensors.reading = { temperatureC: 95 };
    const report = await controller.until(() => controller.reports.find((one) => one.governor !== undefined), 'strain');
    expect(report.governor).toMatchObject({ strain: 1, reason: expect.stringMatching(/95 °C/) });
    expect([engine.slabsPerToken(moe), engine.slabsPerToken(math)]).toEqual([1, undefined]);
    const told = await controller.until(() => controller.events.find(({ code }) => code === 'governor.slabs'), 'event');
    expect(told.message).toMatch(/moe-q8_0: 1 slabs per token, for 95 °C/);
    sensors.reading = { temperatureC: 45 };
    // It is believed to be cooler only after half a minute: each message that comes is seconds later.
    await controller.until(() => ((shiftMs += 5000), engine.slabsPerToken(moe) !== 1), 'ease');
    expect(controller.lastReport()?.settled).toBe(true);
  });
});

describe('an agent from enrolment to an answered prompt', () => {
  it('enrols, measures, serves, answers and says goodbye', async () => {
    const agent = await startAgent();
    expect(controller.presences.at(-1)).toMatchObject({ state: 'online', reason: 'connected' });

    await controller.desire(NAME, desired(1, [variant('math-q8_0', 'measure'), variant('code-q8_0', 'measure')]));
    const measured = await settledAt(1);
    expect(measured.measurements.map((m) => m.variantId)).toEqual(['math-q8_0', 'code-q8_0']);
    for (const measurement of measured.measurements) {
      expect(measurement.prefillTokensPerS).toBeGreaterThan(0);
      expect(measurement.decodeJPerToken).toBeGreaterThan(0);
      expect(measurement.energySource).toBe('modelled');
    }
    expect(measured.variants.map((v) => v.residency)).toEqual(['stored', 'stored']);
    expect(measured).toMatchObject({ state: 'active', board: 'raspberry-pi-5', slots: 3 });
    expect(measured.power).toEqual({
      source: 'modelled',
      from: 'board profile',
      idleW: 3.1,
      loadW: 11.9,
      standbyW: 2.7,
    });

    await controller.desire(NAME, desired(2, [variant('math-q8_0')]));
    expect((await settledAt(2)).variants).toMatchObject([{ variantId: 'math-q8_0', residency: 'resident' }]);

    await controller.sendJob(NAME, chat('job-1', 'one two three four five six'));
    const end = await endOf('job-1');
    const outs = controller.outsOf('job-1');
    expect(outs.map((out) => out.seq)).toEqual(outs.map((_, i) => i));
    expect(outs[0]).toMatchObject({ kind: 'accepted', queuePosition: 0 });
    expect(outs.flatMap((out) => (out.kind === 'tokens' ? out.text : [])).join('')).toBe('one two three four five six');
    expect(end).toMatchObject({
      kind: 'done',
      finishReason: 'stop',
      usage: { outputTokens: 6, energySource: 'modelled' },
    });
    // 8.8 W above idle for at least the scripted 2 + 6 x 2 ms.
    expect(end.kind === 'done' ? end.usage.energyJ : 0).toBeGreaterThan(0.08);

    await agent.stop();
    expect(controller.presences.at(-1)).toMatchObject({ state: 'offline', reason: 'shutdown' });
  });

  it('answers with the tokens that the controller chooses', async () => {
    await startAgent();
    await controller.desire(NAME, desired(1, [variant('math-q8_0')]));
    await settledAt(1);
    const input = { kind: 'complete', prompt: 'one two three' };
    const mix = { v: 1, kind: 'mix', jobId: 'job-1', variantId: 'math-q8_0', timeoutMs: 10_000, input };
    await controller.sendJob(NAME, { ...mix, topK: 2, maxTokens: 8, stop: [] });
    for (const [step, token] of [3, 2, 0].entries()) {
      const asked = () => controller.outsOf('job-1').find((out) => out.kind === 'next' && out.step === step);
      await controller.until(asked, `step ${step}`);
      await controller.chooseToken(NAME, jobId('job-1'), step, token);
    }
    expect(await endOf('job-1')).toMatchObject({ kind: 'done', finishReason: 'stop', usage: { outputTokens: 2 } });
    const text = controller.outsOf('job-1').map((out) => ('text' in out ? out.text : ''));
    expect(text.join('')).toBe(' three two');
  });

  it('keeps its identity private, enrols once and keeps its measurements', async () => {
    const first = await startAgent();
    await controller.desire(NAME, desired(1, [variant('math-q8_0', 'measure')]));
    await settledAt(1);
    await first.stop();
    const { mode } = await stat(join(folder, NAME, 'identity.json'));
    expect(mode & 0o777).toBe(0o600);

    const reportsBefore = controller.reports.length;
    engine = new ScriptedEngine({ clock: systemClock });
    await startAgent({ token: undefined });
    expect(controller.requests.filter((line) => line === 'POST /api/v1/enrol')).toHaveLength(1);
    const again = await controller.until(
      () => controller.reports.slice(reportsBefore).find((report) => report.settled),
      'a settled report after the restart',
    );
    expect(again.measurements).toHaveLength(1);
    const epochs = controller.presences.map((presence) => presence.epoch);
    expect(epochs).toEqual([...epochs].sort((a, b) => a - b));
  });

  it('sends telemetry in columns with modelled power', async () => {
    await startAgent();
    await controller.desire(NAME, desired(1, []));
    const batch = await controller.until(() => controller.telemetry.find((t) => t.dtMs === 100), 'a batch');
    expect(batch).toMatchObject({ n: 2, powerSource: 'modelled' });
    expect(batch.columns.powerW?.every((value) => value !== null && value >= 2.7 && value <= 11.9)).toBe(true);
    expect(batch.columns.memoryUsedBytes).toHaveLength(2);
  });

  it('holds nothing in standby', async () => {
    await startAgent();
    await controller.desire(NAME, desired(1, [variant('math-q8_0')]));
    await settledAt(1);
    await controller.desire(NAME, desired(2, [variant('math-q8_0')], { state: 'standby' }));
    expect(await settledAt(2)).toMatchObject({ state: 'standby', memory: { usedBytes: 0 } });
    await controller.sendJob(NAME, chat('job-1', 'too late'));
    expect(await endOf('job-1')).toMatchObject({ kind: 'failed', error: { code: 'job.rejected', retryable: true } });
  });
});

describe('an agent whose world breaks', () => {
  it('comes back under a new epoch when its line is cut, and says again what it has', async () => {
    await startAgent();
    await controller.desire(NAME, desired(1, [variant('math-q8_0')]));
    await settledAt(1);
    const before = controller.presences.at(-1)?.epoch ?? 0;
    controller.cutConnections();
    const back = await controller.until(
      () => controller.presences.find((presence) => presence.state === 'online' && presence.epoch > before),
      'a newer session',
    );
    // The will of the old session carries the old epoch, whenever it comes.
    const will = await controller.until(() => controller.presences.find((p) => p.reason === 'will'), 'the will');
    expect(will.epoch).toBe(before);
    await controller.until(() => controller.reports.find((report) => report.epoch === back.epoch), 'a report');
  });

  it('finishes a job that was running when the line was cut', async () => {
    await startAgent();
    await controller.desire(NAME, desired(1, [variant('math-q8_0')]));
    await settledAt(1);
    const text = Array.from({ length: 60 }, (_, i) => `w${i}`).join(' ');
    await controller.sendJob(NAME, chat('job-1', text));
    await controller.until(() => controller.outsOf('job-1').some((out) => out.kind === 'tokens'), 'first tokens');
    controller.cutConnections();
    await endOf('job-1');
    const bySeq = new Map(controller.outsOf('job-1').map((out) => [out.seq, out]));
    const outs = [...bySeq.values()].sort((a, b) => a.seq - b.seq);
    expect(outs.map((out) => out.seq)).toEqual(outs.map((_, i) => i));
    expect(outs.flatMap((out) => (out.kind === 'tokens' ? out.text : [])).join('')).toBe(text);
  });

  it('survives a broker that restarts empty', async () => {
    await startAgent();
    await controller.stopBroker();
    const seen = controller.presences.length;
    await controller.startBroker();
    await controller.until(() => controller.presences.slice(seen).find((p) => p.state === 'online'), 'presence again');
    await controller.desire(NAME, desired(1, [variant('math-q8_0')]));
    await settledAt(1);
  });

  it('loads its variants again after its engine crashed, and fails the job that ran', async () => {
    await startAgent();
    await controller.desire(NAME, desired(1, [variant('math-q8_0')]));
    await settledAt(1);
    await controller.sendJob(NAME, chat('job-1', 'one two three '.repeat(20)));
    await controller.until(() => controller.outsOf('job-1').some((out) => out.kind === 'tokens'), 'first tokens');
    engine.crash();
    expect(await endOf('job-1')).toMatchObject({ kind: 'failed', error: { code: 'engine.crashed', retryable: true } });
    await controller.until(() => controller.lastReport()?.engine.state === 'restarting', 'the crash in the report');
    engine.recover();
    await settledAt(1);
    await controller.sendJob(NAME, chat('job-2', 'back'));
    expect(await endOf('job-2')).toMatchObject({ kind: 'done' });
    expect(controller.events.map((event) => event.code)).toContain('engine.restarted');
  });

  it('tells of messages that it cannot take and keeps its state', async () => {
    await startAgent();
    await controller.desire(NAME, desired(1, [variant('math-q8_0')]));
    await settledAt(1);
    await controller.desire(NAME, JSON.stringify({ ...desired(2, []), v: 2 }));
    await controller.until(() => controller.events.find((e) => e.code === 'protocol.unsupported-version'), 'event');
    await controller.sendJob(NAME, 'no json');
    await controller.until(() => controller.events.find((e) => e.code === 'protocol.malformed'), 'event');
    await controller.desire(NAME, Buffer.alloc(300 * 1024, 0x20));
    await controller.until(() => controller.events.find((e) => e.code === 'protocol.too-large'), 'event');
    await controller.sendJob(NAME, chat('job-1', 'still here'));
    expect(await endOf('job-1')).toMatchObject({ kind: 'done' });
    expect(controller.lastReport()).toMatchObject({ observedGeneration: 1, settled: true });
  });

  it.each([
    ['of another major version', { v: 2 }],
    ['of a kind that it does not know', { kind: 'draw' }],
    ['with fields of other types', { sampling: 'hot', timeoutMs: '1 s' }],
  ])('answers a job %s at once, so that another device is asked', async (_, overrides) => {
    await startAgent();
    await controller.sendJob(NAME, chat('job-1', 'what?', overrides));
    expect(await endOf('job-1')).toMatchObject({
      kind: 'failed',
      seq: 0,
      error: { code: 'job.unreadable', retryable: true },
    });
  });

  it('answers under no name that is not a job id', async () => {
    await startAgent();
    for (const id of ['a/b', '#', '', 'x'.repeat(81), 7]) {
      await controller.sendJob(NAME, { ...chat('job-1', 'what?'), jobId: id });
    }
    await controller.sendJob(NAME, chat('job-1', 'not placed'));
    await endOf('job-1');
    expect([...controller.outs.keys()]).toEqual(['job-1']);
  });

  it('ignores an older desired document and a repeated job', async () => {
    await startAgent();
    await controller.desire(NAME, desired(5, [variant('math-q8_0')]));
    await settledAt(5);
    await controller.desire(NAME, desired(4, []));
    await controller.sendJob(NAME, chat('job-1', 'once'));
    await endOf('job-1');
    await controller.sendJob(NAME, chat('job-1', 'once'));
    await controller.sendJob(NAME, chat('job-2', 'after'));
    await endOf('job-2');
    expect(controller.outsOf('job-1').filter((out) => out.kind === 'done')).toHaveLength(1);
    expect(controller.lastReport()?.observedGeneration).toBe(5);
  });

  it('ends a cancelled job as cancelled and a late one as expired', async () => {
    engine = new ScriptedEngine({ clock: systemClock, perToken: milliseconds(20) });
    await startAgent();
    await controller.desire(NAME, desired(1, [variant('math-q8_0')]));
    await settledAt(1);
    const long = 'word '.repeat(60);
    await controller.sendJob(NAME, chat('job-1', long));
    await controller.until(() => controller.outsOf('job-1').some((out) => out.kind === 'tokens'), 'first tokens');
    await controller.cancelJob(NAME, jobId('job-1'));
    expect(await endOf('job-1')).toMatchObject({ kind: 'done', finishReason: 'cancelled' });
    await controller.sendJob(NAME, chat('job-2', long, { timeoutMs: 60 }));
    expect(await endOf('job-2')).toMatchObject({ kind: 'failed', error: { code: 'job.expired' } });
  });

  it('reports a load that fails, and tries again', async () => {
    await startAgent();
    engine.failNextLoad(new FleetError('engine.out-of-memory', 'no memory left', { retryable: true }));
    await controller.desire(NAME, desired(1, [variant('math-q8_0')]));
    const failed = await controller.until(
      () => controller.lastReport()?.variants.find((v) => v.residency === 'failed'),
      'the failure',
    );
    expect(failed.error).toEqual({ code: 'engine.out-of-memory', message: 'no memory left', retryable: true });
    await controller.until(() => controller.lastReport()?.variants[0]?.residency === 'resident', 'the second try');
  });

  it('refuses a file that is no model, for good', async () => {
    await startAgent();
    const broken = { ...variant('math-q8_0'), ...controller.addArtefact(Buffer.from('no model at all')) };
    await controller.desire(NAME, desired(1, [broken]));
    expect((await settledAt(1)).variants).toMatchObject([
      { residency: 'failed', error: { code: 'gguf.malformed', retryable: false } },
    ]);
  });

  it('says that a variant without an artefact cannot be had', async () => {
    await startAgent();
    const missing = { ...variant('math-q8_0'), sha256: 'f'.repeat(64) };
    await controller.desire(NAME, desired(1, [missing]));
    expect((await settledAt(1)).variants).toMatchObject([
      { residency: 'failed', error: { code: 'artefact.unavailable', retryable: false } },
    ]);
  });
});

describe('an agent that may not start', () => {
  it('has the wrong token', async () => {
    await expect(startAgent({ token: 'guess' })).rejects.toMatchObject({ code: 'enrol.bad-token' });
  });

  it('has no token', async () => {
    await expect(startAgent({ token: undefined })).rejects.toMatchObject({ code: 'config.invalid' });
  });

  it('has a name that is taken', async () => {
    controller.names.set(NAME, 'of-another-device');
    await expect(startAgent()).rejects.toMatchObject({ code: 'enrol.name-taken' });
  });

  it('names a board that nobody knows', async () => {
    await expect(startAgent({ board: 'toaster' })).rejects.toMatchObject({ code: 'board.unknown' });
  });

  it('shares a data directory with another that runs', async () => {
    const first = await startAgent();
    await expect(startAgent()).rejects.toMatchObject({ code: 'data-dir.in-use' });
    await first.stop();
    await startAgent();
  });

  it('is let in although the answer to its enrolment was lost, also over a restart', async () => {
    controller.answersToLose = 1;
    const waiting = new AbortController();
    const log = { ...silentLogger, warn: () => waiting.abort() };
    await expect(runAgent(configOf(), { log, engine, signal: waiting.signal })).rejects.toMatchObject({
      code: 'controller.unreachable',
    });
    expect([...controller.names.keys()]).toEqual([NAME]);
    controller.answersToLose = 1;
    await startAgent();
    expect(controller.requests.filter((line) => line === 'POST /api/v1/enrol')).toHaveLength(3);
  });

  it('waits for a controller that is away, until it is told to stop', async () => {
    const waiting = new AbortController();
    const config = configOf({ controllerUrl: 'http://127.0.0.1:9' });
    const running = runAgent(config, { log: silentLogger, engine, signal: waiting.signal });
    const refused = expect(running).rejects.toMatchObject({ code: 'controller.unreachable' });
    waiting.abort();
    await refused;
  });

  it('keeps trying when its credential is refused, and comes in soon after the broker knows it', async () => {
    controller.credentialsValid = false;
    const warned: string[] = [];
    const log = { ...silentLogger, error: (event: string) => warned.push(event) };
    const agent = await runAgent(configOf(), { log, engine });
    agents.push(agent);
    await expect.poll(() => warned, { timeout: 5000 }).toContain('broker.refused');
    controller.credentialsValid = true;
    await agent.ready;
  });
});
