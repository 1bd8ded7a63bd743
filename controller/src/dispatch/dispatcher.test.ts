import { ManualClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { classId, deviceId, requestId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { joules, milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import type { Gate } from '../gating/gate.js';
import { WorkloadModel } from '../telemetry/workload-model.js';
import { DISPATCH_DEFAULTS, type DispatchConfig } from './dispatch-config.js';
import {
  aCatalogue,
  aCost,
  aDevice,
  aGate,
  anExpert,
  aPolicy,
  aPrompt,
  FixtureCosts,
  FixtureFleet,
} from './dispatch-fixtures.js';
import { type DispatchedRequest, Dispatcher } from './dispatcher.js';
import { MemoryLedger } from './memory-ledger.js';
import type { RequestEvent } from './request-events.js';
import { type ScriptedJob, ScriptedExpertLink } from './scripted-expert-link.js';

const catalogue = aCatalogue([anExpert('math'), anExpert('code')]);

function world(
  config: Partial<DispatchConfig> = {},
  devices = [aDevice('a', ['math-q8_0']), aDevice('b', ['math-q8_0'])],
) {
  const clock = new ManualClock();
  const fleet = new FixtureFleet(devices);
  const link = new ScriptedExpertLink();
  const ledger = new MemoryLedger();
  const workloads = new WorkloadModel();
  const costs = new FixtureCosts({ a: aCost(100, 1), b: aCost(200, 2) });
  const demand: string[] = [];
  const placed = { policy: aPolicy(devices) as ReturnType<typeof aPolicy> | undefined };
  const scoring = { gate: aGate({ math: 0.5, code: 0.4 }) as Gate | undefined };
  const dispatcher = new Dispatcher({
    fleet,
    catalogue: () => catalogue,
    gate: () => scoring.gate,
    costs,
    workloads,
    policy: () => placed.policy,
    link,
    ledger,
    clock,
    random: new SeededRandom(1),
    log: silentLogger,
    onDemand: (id) => demand.push(id),
    config: { ...DISPATCH_DEFAULTS, ...config },
  });
  return { clock, fleet, link, ledger, costs, workloads, demand, dispatcher, placed, scoring };
}

/** What a request has said so far, kept up to date as a client would read it. */
function reading({ events }: DispatchedRequest): RequestEvent[] {
  const seen: RequestEvent[] = [];
  void (async () => {
    for await (const event of events) seen.push(event);
  })();
  return seen;
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function nth(link: ScriptedExpertLink, index: number): Promise<ScriptedJob> {
  await settle();
  const job = link.jobs[index];
  if (job === undefined) throw new Error(`job ${index} was not sent`);
  return job;
}

function expectIdle(dispatcher: Dispatcher): void {
  expect(dispatcher.inFlight).toBe(0);
  expect(dispatcher.jobsInFlight).toBe(0);
}

const texts = (seen: readonly RequestEvent[]): string =>
  seen.flatMap((event) => (event.kind === 'tokens' ? [event.text] : [])).join('');

describe('Dispatcher', () => {
  it('carries a prompt to the chosen expert and its answer back', async () => {
    const { clock, costs, demand, dispatcher, ledger, link, workloads } = world();
    const request = dispatcher.accept(aPrompt());
    const seen = reading(request);
    const job = await nth(link, 0);
    expect(job.device).toBe('a');
    expect(job.job.classId).toBe('any');
    job.accepted();
    clock.advance(50);
    job.tokens('four', 2);
    job.tokens('.');
    job.done();
    await settle();
    expect(seen.map(({ kind }) => kind)).toEqual(['chosen', 'tokens', 'done']);
    expect(texts(seen)).toBe('four.');
    const record = await ledger.get(request.id);
    expect(record).toMatchObject({
      state: 'succeeded',
      expertId: 'math',
      deviceId: 'a',
      classId: 'any',
      finishReason: 'stop',
    });
    expect(record?.actual).toMatchObject({ energyJ: 1.5, ttftMs: 50, latencyMs: 50 });
    expect(record?.predicted).toEqual({ latencyMs: 100, energyJ: 1 });
    expect(record?.candidates.filter(({ chosen }) => chosen)).toHaveLength(1);
    expect(record?.why).toContain('math on a');
    expect(costs.observed).toEqual([{ device: 'a', variant: 'math-q8_0' }]);
    expect(demand).toEqual(['any']);
    // What the gate expected, against what came.
    expect(workloads.answerFactor(classId('any'))).not.toBe(1);
    expectIdle(dispatcher);
  });

  it('says in the record why nothing was predicted for a prompt, where the gate chose', async () => {
    const { dispatcher, ledger, scoring } = world();
    const gate = aGate({ math: 0.5, code: 0.4 });
    const reason = 'prompt is unlike the training data (novelty 0.83)';
    const knowledge = { novelty: 0.83, abstained: { reason } };
    scoring.gate = { ...gate, score: (prompt) => ({ ...gate.score(prompt), ...knowledge }) };
    const chosen = await ledger.get(dispatcher.accept(aPrompt()).id);
    expect(chosen).toMatchObject({ novelty: 0.83, abstained: reason });
    expect(chosen?.why).toMatch(
      /^Prompt is unlike the training data \(novelty 0\.83\): answered by the expert that is best in general\. math on a/,
    );
    const named = await ledger.get(dispatcher.accept(aPrompt('math')).id);
    expect(named?.abstained).toBeUndefined();
    expect(named?.why).toMatch(/^math on/);
    scoring.gate = undefined;
    const blind = await ledger.get(dispatcher.accept(aPrompt()).id);
    expect(blind?.abstained).toBe('no gate is in use yet');
    await dispatcher.close();
  });

  it('tries another device when one is lost before its first token', async () => {
    const { dispatcher, fleet, ledger, link } = world();
    const request = dispatcher.accept(aPrompt());
    const seen = reading(request);
    (await nth(link, 0)).accepted();
    fleet.offline('a');
    const second = await nth(link, 1);
    expect(second.device).toBe('b');
    second.accepted();
    second.tokens('four');
    second.done();
    await settle();
    expect(seen.map(({ kind }) => kind)).toEqual(['chosen', 'chosen', 'tokens', 'done']);
    const record = await ledger.get(request.id);
    expect(record?.attempts.map(({ deviceId, outcome }) => [deviceId, outcome])).toEqual([
      ['a', 'device.lost'],
      ['b', 'succeeded'],
    ]);
    // The lost device may come back and still say something: nobody listens.
    link.jobs[0]?.tokens('late');
    expect(dispatcher.jobsInFlight).toBe(1);
    link.jobs[0]?.done('cancelled');
    expectIdle(dispatcher);
  });

  it('tells the client in its stream when a device is lost after the first token', async () => {
    const { clock, dispatcher, fleet, ledger, link } = world();
    const request = dispatcher.accept(aPrompt());
    const seen = reading(request);
    const job = await nth(link, 0);
    job.accepted();
    job.tokens('fo');
    fleet.offline('a');
    clock.advance(DISPATCH_DEFAULTS.lossGrace);
    await settle();
    expect(seen.at(-1)).toMatchObject({ kind: 'failed', error: { code: 'device.lost' } });
    expect(link.jobs).toHaveLength(1);
    expect(await ledger.get(request.id)).toMatchObject({ state: 'failed', error: { code: 'device.lost' } });
    clock.advance(DISPATCH_DEFAULTS.drainTimeout);
    expectIdle(dispatcher);
  });

  it('has another device go on after what was said, token for token where it serves the same', async () => {
    const able = { abilities: ['resume', 'grammar'] };
    const { clock, costs, dispatcher, fleet, ledger, link, workloads } = world({}, [
      aDevice('a', ['math-q8_0'], able),
      aDevice('b', ['math-q8_0'], able),
      aDevice('c', ['code-q8_0'], able),
    ]);
    const request = dispatcher.accept(
      aPrompt('auto', { sampling: { maxTokens: 20, temperature: 0, topP: 1, stop: [] } }),
    );
    const seen = reading(request);
    const first = await nth(link, 0);
    expect(first.job).toMatchObject({ tokenIds: true });
    first.accepted();
    first.tokens('fo', 1, [11]);
    first.tokens('ur ', 2, [12, 13]);
    fleet.offline('a');
    clock.advance(DISPATCH_DEFAULTS.lossGrace);
    const second = await nth(link, 1);
    expect([second.device, second.job]).toMatchObject([
      'b',
      { variantId: 'math-q8_0', sampling: { maxTokens: 20 }, resume: { text: 'four ', ids: [11, 12, 13] } },
    ]);
    second.accepted();
    second.tokens('and', 1, [14]);
    second.failed('engine.crashed');
    // Nobody else serves it: another expert goes on from the text.
    const third = await nth(link, 2);
    expect([third.device, third.job]).toMatchObject(['c', { variantId: 'code-q8_0', resume: { text: 'four and' } }]);
    expect(third.job).not.toHaveProperty('resume.ids');
    third.accepted();
    third.tokens(' five');
    const [learned, lengths] = [costs.observed.length, workloads.answerFactor(classId('any'))];
    third.done('length', { promptTokens: 30, resumedTokens: 4, outputTokens: 2, energyJ: 1 });
    await settle();
    expect(texts(seen)).toBe('four and five');
    expect(seen.map(({ kind }) => kind).filter((kind) => kind === 'done' || kind === 'failed')).toEqual(['done']);
    expect(seen.at(-1)).toMatchObject({ finishReason: 'length', usage: { promptTokens: 26, outputTokens: 6 } });
    expect(await ledger.get(request.id)).toMatchObject({
      state: 'succeeded',
      attempts: [{ outcome: 'device.lost' }, { outcome: 'engine.crashed' }, { outcome: 'succeeded' }],
    });
    expect(dispatcher.stats).toMatchObject({ retried: 2, takenOver: 2, succeeded: 1, failed: 0 });
    // The lost device is back and says what it has spent.
    first.done('cancelled', { promptTokens: 1, outputTokens: 1, energyJ: 2 });
    await settle();
    const late = await ledger.get(request.id);
    expect(late?.actual).toMatchObject({ promptTokens: 26, outputTokens: 6, energyJ: 3 });
    // Neither a prompt nor a whole answer: nothing to learn costs or lengths from.
    expect([costs.observed.length, workloads.answerFactor(classId('any'))]).toEqual([learned, lengths]);
  });

  it('has another device go on with an answer that told how likely its tokens were with them', async () => {
    const able = { abilities: ['resume', 'log-probs'] };
    const likely = (text: string) => [{ text, logProb: -0.5, top: [] }];
    for (const isTold of [true, false]) {
      const devices = [aDevice('a', ['math-q8_0'], able), aDevice('b', ['math-q8_0'], able)];
      const { clock, dispatcher, fleet, link } = world({}, devices);
      const seen = reading(dispatcher.accept(aPrompt('auto', { topLogProbs: 0 })));
      const first = await nth(link, 0);
      expect(first.job).toMatchObject({ topLogProbs: 0, choicesWithText: true, tokenIds: true });
      first.accepted();
      first.tokens('fo', 1, [11], likely('fo'));
      first.tokens('ur', 1, [12], isTold ? likely('ur') : undefined);
      fleet.offline('a');
      clock.advance(DISPATCH_DEFAULTS.lossGrace);
      await settle();
      if (!isTold) {
        expect(seen.at(-1)).toMatchObject({ kind: 'failed', error: { code: 'device.lost' } });
        continue;
      }
      const second = await nth(link, 1);
      expect(second.job).toMatchObject({ topLogProbs: 0, resume: { text: 'four', ids: [11, 12] } });
      second.accepted();
      second.tokens(' and', 1, [13], likely(' and'));
      second.done();
      await settle();
      const told = seen.flatMap((event) => (event.kind === 'tokens' ? (event.choices ?? []) : []));
      expect(told.map(({ text }) => text)).toEqual(['fo', 'ur', ' and']);
      expect(seen.at(-1)).toMatchObject({ kind: 'done' });
    }
  });

  it('has nobody go on where the answer keeps to a form, or no engine can', async () => {
    const able = { abilities: ['resume', 'grammar'] };
    const both = [aDevice('a', ['math-q8_0'], able), aDevice('b', ['math-q8_0'], able)];
    const one = [aDevice('a', ['math-q8_0'], able), aDevice('b', ['math-q8_0'])];
    for (const [devices, more] of [
      [both, { grammar: { kind: 'gbnf', text: 'root ::= "a"' } }],
      [one, {}],
    ] as const) {
      const { clock, dispatcher, fleet, link } = world({}, [...devices]);
      const seen = reading(dispatcher.accept(aPrompt('auto', more)));
      const job = await nth(link, 0);
      job.accepted();
      job.tokens('fo', 1, [11]);
      fleet.offline('a');
      clock.advance(DISPATCH_DEFAULTS.lossGrace);
      await settle();
      expect(seen.at(-1)).toMatchObject({ kind: 'failed', error: { code: 'device.lost' } });
      expect(link.jobs).toHaveLength(1);
    }
  });

  it('goes on when a device is back with its answer within the grace', async () => {
    const { clock, dispatcher, fleet, link } = world();
    const seen = reading(dispatcher.accept(aPrompt()));
    const job = await nth(link, 0);
    job.accepted();
    job.tokens('fo');
    fleet.offline('a');
    clock.advance(1000);
    fleet.online('a');
    job.tokens('ur');
    clock.advance(DISPATCH_DEFAULTS.lossGrace);
    job.done();
    await settle();
    expect(texts(seen)).toBe('four');
    expect(seen.at(-1)?.kind).toBe('done');
    expectIdle(dispatcher);
  });

  it('moves on from a device that does not acknowledge, and leaves it alone for a while', async () => {
    const { clock, dispatcher, link } = world();
    const seen = reading(dispatcher.accept(aPrompt()));
    await settle();
    clock.advance(DISPATCH_DEFAULTS.acceptTimeout);
    expect((await nth(link, 1)).device).toBe('b');
    expect(link.cancelled).toMatchObject([{ device: 'a' }]);
    dispatcher.accept(aPrompt());
    expect((await nth(link, 2)).device).toBe('b');
    link.jobs[0]?.accepted();
    dispatcher.accept(aPrompt());
    expect((await nth(link, 3)).device).toBe('a');
    expect(seen.map(({ kind }) => kind)).toEqual(['chosen', 'chosen']);
  });

  it('ends a silent answer', async () => {
    const { clock, dispatcher, link } = world({ stallTimeout: aCost(1000, 0).latency });
    const seen = reading(dispatcher.accept(aPrompt()));
    const job = await nth(link, 0);
    job.accepted();
    job.tokens('a');
    clock.advance(900);
    job.tokens('b');
    clock.advance(900);
    await settle();
    expect(seen.at(-1)?.kind).toBe('tokens');
    clock.advance(100);
    await settle();
    expect(seen.at(-1)).toMatchObject({ kind: 'failed', error: { code: 'device.lost' } });
  });

  it('never passes on an answer with a hole in it', async () => {
    const { clock, dispatcher, link } = world();
    const seen = reading(dispatcher.accept(aPrompt()));
    const job = await nth(link, 0);
    job.accepted();
    job.tokens('a');
    const { jobId } = job.job;
    link.say(job.device, { v: 1, jobId, seq: 3, kind: 'tokens', text: 'c', tokens: 1 });
    clock.advance(DISPATCH_DEFAULTS.gapTimeout);
    await settle();
    expect(texts(seen)).toBe('a');
    expect(seen.at(-1)).toMatchObject({ kind: 'failed', error: { code: 'device.lost' } });
  });

  it('stops the device at once when the client goes away', async () => {
    const { dispatcher, ledger, link } = world();
    const client = new AbortController();
    const request = dispatcher.accept(aPrompt(), client.signal);
    const job = await nth(link, 0);
    job.accepted();
    job.tokens('fo');
    client.abort();
    expect(link.cancelled).toEqual([{ device: 'a', job: job.job.jobId, reason: 'job.cancelled' }]);
    expect(dispatcher.inFlight).toBe(0);
    expect(dispatcher.jobsInFlight).toBe(1);
    job.done('cancelled', { energyJ: 0.5 });
    expectIdle(dispatcher);
    expect(await ledger.get(request.id)).toMatchObject({ state: 'cancelled', actual: { energyJ: 0.5 } });
    expect(reading(dispatcher.accept(aPrompt(), AbortSignal.abort()))).toEqual([]);
    expect(link.jobs).toHaveLength(1);
  });

  it('gives up when its time is over', async () => {
    const { clock, dispatcher, ledger, link } = world({ requestTimeout: aCost(60_000, 0).latency });
    const request = dispatcher.accept(aPrompt());
    (await nth(link, 0)).accepted();
    clock.advance(60_000);
    expect(link.cancelled).toHaveLength(1);
    expect(await ledger.get(request.id)).toMatchObject({ state: 'failed', error: { code: 'dispatch.deadline' } });
  });

  it('bounds its tries', async () => {
    const devices = ['a', 'b', 'c', 'd'].map((name) => aDevice(name, ['math-q8_0']));
    const { dispatcher, link } = world({ maxAttempts: 2 }, devices);
    const seen = reading(dispatcher.accept(aPrompt()));
    (await nth(link, 0)).failed('engine.crashed');
    (await nth(link, 1)).failed('engine.crashed');
    await settle();
    expect(link.jobs).toHaveLength(2);
    expect(seen.at(-1)).toMatchObject({ kind: 'failed', error: { code: 'engine.crashed' } });
    expectIdle(dispatcher);
  });

  it('waits a while for a device that is still loading when the only other one is lost', async () => {
    const { clock, dispatcher, fleet, link } = world({}, [
      aDevice('a', ['math-q8_0']),
      aDevice('b', ['math-q8_0'], { residency: 'loading' }),
    ]);
    const seen = reading(dispatcher.accept(aPrompt()));
    (await nth(link, 0)).failed('engine.crashed');
    await settle();
    clock.advance(2500);
    expect(link.jobs).toHaveLength(1);
    fleet.put(aDevice('b', ['math-q8_0']));
    clock.advance(1000);
    const job = await nth(link, 1);
    expect(job.device).toBe('b');
    job.accepted();
    job.tokens('four');
    job.done();
    await settle();
    expect(seen.at(-1)).toMatchObject({ kind: 'done' });
    expectIdle(dispatcher);
  });

  it('waits no longer than its patience, and not at all where no other device is there', async () => {
    const other = aDevice('b', ['math-q8_0'], { residency: 'loading' });
    const { clock, dispatcher, ledger, link } = world({}, [aDevice('a', ['math-q8_0']), other]);
    const request = dispatcher.accept(aPrompt());
    (await nth(link, 0)).failed('engine.crashed');
    clock.advance(DISPATCH_DEFAULTS.patience - 1);
    expect((await ledger.get(request.id))?.state).toBe('running');
    clock.advance(1);
    expect(await ledger.get(request.id)).toMatchObject({ state: 'failed', error: { code: 'engine.crashed' } });
    const alone = world({}, [aDevice('a', ['math-q8_0']), { ...other, presence: 'offline' }]);
    const seen = reading(alone.dispatcher.accept(aPrompt()));
    (await nth(alone.link, 0)).failed('engine.crashed');
    await settle();
    expect(seen.at(-1)).toMatchObject({ kind: 'failed', error: { code: 'engine.crashed' } });
    expectIdle(alone.dispatcher);
  });

  it('waits for the plan that is made after a loss, but not where a device that is there has failed', async () => {
    const devices = [aDevice('a', ['math-q8_0']), aDevice('b', [])];
    for (const isLost of [true, false]) {
      const { clock, dispatcher, fleet, ledger, link, placed } = world({}, devices);
      const request = dispatcher.accept(aPrompt());
      const first = await nth(link, 0);
      if (isLost) fleet.offline('a');
      else first.failed('engine.crashed');
      clock.advance(DISPATCH_DEFAULTS.lossGrace);
      await settle();
      const moved = [aDevice('b', ['math-q8_0'])];
      for (const device of moved) fleet.put(device);
      placed.policy = aPolicy(moved);
      clock.advance(1000);
      await settle();
      expect((await ledger.get(request.id))?.state).toBe(isLost ? 'running' : 'failed');
      expect(link.jobs.map(({ device }) => device)).toEqual(isLost ? ['a', 'b'] : ['a']);
    }
  });

  it('waits for no plan any more once the lost device is back', async () => {
    const { clock, dispatcher, fleet, ledger, link } = world({}, [aDevice('a', ['math-q8_0']), aDevice('b', [])]);
    const request = dispatcher.accept(aPrompt());
    await nth(link, 0);
    fleet.offline('a');
    clock.advance(DISPATCH_DEFAULTS.lossGrace);
    await settle();
    clock.advance(2000);
    expect((await ledger.get(request.id))?.state).toBe('running');
    fleet.put(Object.freeze({ ...aDevice('a', ['math-q8_0'], { epoch: 2 }), lastSeen: clock.now() }));
    clock.advance(1000);
    expect(await ledger.get(request.id)).toMatchObject({ state: 'failed', error: { code: 'device.lost' } });
  });

  it('can be cancelled while it waits for a device', async () => {
    const { clock, dispatcher, ledger, link } = world({}, [
      aDevice('a', ['math-q8_0']),
      aDevice('b', ['math-q8_0'], { residency: 'loading' }),
    ]);
    const abort = new AbortController();
    const request = dispatcher.accept(aPrompt(), abort.signal);
    (await nth(link, 0)).failed('engine.crashed');
    await settle();
    abort.abort();
    expect(await ledger.get(request.id)).toMatchObject({ state: 'cancelled' });
    clock.advance(DISPATCH_DEFAULTS.patience);
    expect(link.jobs).toHaveLength(1);
    expectIdle(dispatcher);
  });

  it('does not try elsewhere what is wrong everywhere', async () => {
    const { dispatcher, link } = world();
    const seen = reading(dispatcher.accept(aPrompt()));
    (await nth(link, 0)).failed('request.invalid', false);
    await settle();
    expect(link.jobs).toHaveLength(1);
    expect(seen.at(-1)).toMatchObject({ kind: 'failed', error: { code: 'request.invalid' } });
  });

  it('fails a prompt that no message can carry as too large', async () => {
    const { dispatcher, link } = world();
    link.sendFails = new FleetError('protocol.too-large', 'message has 300000 bytes');
    const seen = reading(dispatcher.accept(aPrompt()));
    await settle();
    expect(seen.at(-1)).toMatchObject({ kind: 'failed', error: { code: 'request.too-large' } });
    expectIdle(dispatcher);
  });

  it('ignores and counts what is foreign, late or repeated', async () => {
    const { dispatcher, link } = world();
    const seen = reading(dispatcher.accept(aPrompt()));
    const job = await nth(link, 0);
    const { jobId } = job.job;
    link.say(deviceId('b'), { v: 1, jobId, seq: 0, kind: 'accepted', queuePosition: 0 });
    job.accepted();
    job.tokens('x');
    link.say(job.device, { v: 1, jobId, seq: 1, kind: 'tokens', text: 'x', tokens: 1 });
    job.done();
    job.tokens('y');
    await settle();
    expect(texts(seen)).toBe('x');
    expect(dispatcher.stats).toMatchObject({ foreign: 1, duplicate: 1, late: 1, succeeded: 1 });
  });

  it('holds what a busy device cannot begin soon, sends the most urgent next, and says how long it waits', async () => {
    const { dispatcher, link, clock } = world({}, [aDevice('a', ['math-q8_0'])]);
    const ask = (latencyMs: number) =>
      dispatcher.accept(aPrompt('math', { limits: { energy: undefined, latency: milliseconds(latencyMs) } }));
    const [, , patient, urgent] = [ask(60_000), ask(60_000), ask(50_000), ask(5000)];
    await settle();
    expect(link.jobs).toHaveLength(2);
    expect(patient?.record()).toMatchObject({ state: 'queued', queue: { place: 1, etaMs: 200 } });
    expect(urgent?.record()).toMatchObject({ state: 'queued', queue: { place: 2 } });
    clock.advance(300);
    (await nth(link, 0)).done();
    const third = await nth(link, 2);
    expect(third.job.jobId.startsWith(urgent?.id ?? '-')).toBe(true);
    // It has less time left by what it waited.
    expect(third.job.timeoutMs).toBe(DISPATCH_DEFAULTS.requestTimeout - 300);
    const record = urgent?.record();
    expect(record).toMatchObject({ state: 'running', attempts: [{ startedAtMs: clock.now() }] });
    expect(record?.queue).toBeUndefined();
  });

  it('takes an urgent request that is in time by passing those that have longer', async () => {
    const { dispatcher, link } = world({}, [aDevice('a', ['math-q8_0'])]);
    const ask = (latencyMs: number) =>
      dispatcher.accept(aPrompt('math', { limits: { energy: undefined, latency: milliseconds(latencyMs) } }));
    for (let n = 0; n < 6; n++) ask(60_000);
    // Behind all six it would come after 700 ms.
    const urgent = ask(350);
    const late = ask(250);
    await settle();
    expect(urgent.record().state).toBe('queued');
    expect(late.record()).toMatchObject({ state: 'refused', error: { code: 'dispatch.over-latency' } });
    (await nth(link, 0)).done();
    expect((await nth(link, 2)).job.jobId.startsWith(urgent.id)).toBe(true);
  });

  it('moves what waits to a device that is free sooner, or when its own is lost, which is no attempt', async () => {
    const { dispatcher, link, fleet } = world();
    const requests = Array.from({ length: 6 }, () => dispatcher.accept(aPrompt('math')));
    await settle();
    const sentTo = (device: string) => link.jobs.filter((job) => job.device === device);
    expect(link.jobs.length).toBe(4);
    for (const job of sentTo('b')) job.done();
    await settle();
    expect(sentTo('b').length).toBeGreaterThan(2);
    fleet.offline('a');
    for (let round = 0; round < 4; round++) {
      for (const job of sentTo('b')) job.done();
      await settle();
    }
    expect(dispatcher.inFlight).toBe(0);
    expect(requests.map(({ record }) => record().state)).toEqual(requests.map(() => 'succeeded'));
    const waited = requests.filter(({ record }) => record().attempts.length === 1);
    expect(waited.length).toBeGreaterThanOrEqual(4);
  });

  it('finds room for what was taken up when its device is lost, before anything new', async () => {
    const { dispatcher, link, fleet } = world({ maxQueuedPerDevice: 2 });
    const taken = Array.from({ length: 6 }, () => dispatcher.accept(aPrompt('math')));
    await settle();
    fleet.offline('a');
    const refused = dispatcher.accept(aPrompt('math'));
    await settle();
    expect(refused.record()).toMatchObject({ state: 'refused', error: { code: 'job.queue-full' } });
    const sentToB = () => link.jobs.filter(({ device }) => device === 'b');
    for (let sent = 0; sentToB().length > sent; await settle()) {
      sent = sentToB().length;
      for (const job of sentToB()) job.done();
    }
    expect(taken.map(({ record }) => record().state)).toEqual(taken.map(() => 'succeeded'));
    expect(dispatcher.inFlight).toBe(0);
  });

  it('fails, and does not refuse, what was taken up and found no other device until its end', async () => {
    const { clock, dispatcher, fleet } = world({}, [aDevice('a', ['math-q8_0'])]);
    const requests = [1, 2, 3].map(() => dispatcher.accept(aPrompt('math')));
    await settle();
    fleet.offline('a');
    clock.advance(DISPATCH_DEFAULTS.requestTimeout);
    await settle();
    expect(requests[2]?.record()).toMatchObject({
      state: 'failed',
      attempts: [],
      error: { code: 'dispatch.deadline' },
    });
    expectIdle(dispatcher);
  });

  it('never sends what a client gave up while it waited', async () => {
    const { dispatcher, link } = world({}, [aDevice('a', ['math-q8_0'])]);
    const gone = new AbortController();
    const requests = [1, 2, 3].map((n) => dispatcher.accept(aPrompt('math'), n === 3 ? gone.signal : undefined));
    await settle();
    gone.abort();
    for (let n = 0; n < 2; n++) (await nth(link, n)).done();
    await settle();
    expect(link.jobs).toHaveLength(2);
    expect(link.cancelled).toEqual([]);
    expect(requests[2]?.record()).toMatchObject({ state: 'cancelled', attempts: [{ outcome: 'unsent' }] });
    expectIdle(dispatcher);
  });

  it('waits behind nobody while another device is free: residency is not occupancy', async () => {
    const { dispatcher, link } = world();
    for (let i = 0; i < 3; i++) dispatcher.accept(aPrompt('math', { mode: 'fast' }));
    await settle();
    // a answers in 100 ms, b in 200: the second is worth waiting for (equal, less energy), the third is not.
    expect(link.jobs.map(({ device }) => device)).toEqual(['a', 'a', 'b']);
  });

  it('refuses with the reason that passes soonest', async () => {
    const refused = async (setup: ReturnType<typeof world>, prompt = aPrompt('math')) => {
      const seen = reading(setup.dispatcher.accept(prompt));
      await settle();
      const last = seen.at(-1);
      expectIdle(setup.dispatcher);
      return last?.kind === 'failed' ? last.error : undefined;
    };
    const noPlan = world({}, [aDevice('a', ['math-q8_0'], { residency: 'fetching', progress: 0.3 })]);
    noPlan.placed.policy = undefined;
    expect(await refused(noPlan)).toMatchObject({
      code: 'dispatch.no-plan',
      context: { loadingNode: 'a', loadingProgress: 0.3 },
    });
    expect(await refused(world(), aPrompt('nobody'))).toMatchObject({
      code: 'model.unknown',
      context: { param: 'model' },
    });
    expect(await refused(world(), aPrompt('code'))).toMatchObject({ code: 'dispatch.no-capacity', retryable: false });
    const loading = world({}, [aDevice('a', ['math-q8_0'], { residency: 'loading' })]);
    expect(await refused(loading)).toMatchObject({ code: 'dispatch.loading' });
    const away = world({}, [aDevice('a', ['math-q8_0'], { presence: 'offline' })]);
    expect(await refused(away)).toMatchObject({ code: 'dispatch.no-capacity', retryable: true });
    const dear = aPrompt('math', { limits: { energy: joules(0.5), latency: undefined } });
    expect(await refused(world(), dear)).toMatchObject({ code: 'dispatch.over-budget', retryable: false });
    const slow = aPrompt('math', { limits: { energy: undefined, latency: aCost(50, 0).latency } });
    expect(await refused(world(), slow)).toMatchObject({ code: 'dispatch.over-latency' });
    expect(await refused(world({ maxInFlight: 0 }))).toMatchObject({ code: 'job.queue-full' });
    const full = world({ maxQueuedPerDevice: 0 }, [aDevice('a', ['math-q8_0'], { runningJobs: 1, lastSampleAt: 1 })]);
    expect(await refused(full)).toMatchObject({ code: 'job.queue-full' });
    const unkept = world();
    Object.defineProperty(unkept.ledger, 'hasRoom', { value: false });
    expect(await refused(unkept)).toMatchObject({ code: 'store.unavailable', retryable: true });
  });

  it('ends everything when it is closed, and what a crash left when it starts', async () => {
    const { dispatcher, ledger, link } = world();
    const request = dispatcher.accept(aPrompt());
    (await nth(link, 0)).accepted();
    await dispatcher.close();
    expect(await ledger.get(request.id)).toMatchObject({ state: 'failed', error: { code: 'dispatch.no-capacity' } });
    expect(link.cancelled).toHaveLength(1);
    expectIdle(dispatcher);
    const after = reading(dispatcher.accept(aPrompt()));
    await settle();
    expect(after).toMatchObject([{ kind: 'failed', error: { code: 'dispatch.no-capacity' } }]);

    const left = world();
    left.dispatcher.accept(aPrompt());
    const [running] = await left.ledger.list({ limit: 1 });
    await left.ledger.closeUnfinished(unixMs(5), { code: 'controller.crashed', message: 'crash' });
    expect(await left.ledger.get(requestId(running?.id ?? ''))).toMatchObject({ state: 'failed', endedAtMs: 5 });
  });

  it('ends what is under way while it is drained, and takes nothing new', async () => {
    const { dispatcher, link } = world();
    const under = reading(dispatcher.accept(aPrompt()));
    const job = await nth(link, 0);
    job.accepted();
    dispatcher.drain();
    const refused = reading(dispatcher.accept(aPrompt()));
    await settle();
    expect(refused).toMatchObject([{ kind: 'failed', error: { code: 'dispatch.no-capacity', retryable: true } }]);
    const call = dispatcher.accept({ ...aPrompt(), callOf: requestId('req-1') });
    expect(call.record().state).not.toBe('refused');
    expect(dispatcher.inFlight).toBe(2);
    job.tokens('four');
    job.done();
    await settle();
    expect(under.at(-1)).toMatchObject({ kind: 'done' });
    await dispatcher.close();
  });

  it('keeps no prompt text unless it is told to', async () => {
    const quiet = world();
    const one = quiet.dispatcher.accept(aPrompt());
    expect(JSON.stringify(one.record())).not.toContain('two and two');
    const told = world({ storePrompts: true });
    const other = told.dispatcher.accept(aPrompt());
    expect(other.record().prompt).toContain('two and two');
  });
});
