import { ManualClock } from '@fleetgate/shared/clock';
import { deviceId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { describe, expect, it } from 'vitest';

import { WorkloadModel } from '../telemetry/workload-model.js';
import { DISPATCH_DEFAULTS } from './dispatch-config.js';
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
import type { Prompt } from './prompt.js';
import { type ScriptedJob, ScriptedExpertLink } from './scripted-expert-link.js';

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const LEASE_MS = 15_000;

/** `a` is preferred; all answer alike. */
function world() {
  const names = ['a', 'b'];
  const devices = names.map((name) => aDevice(name, ['math-q8_0'], { abilities: ['resume', 'grammar'] }));
  const clock = new ManualClock();
  const fleet = new FixtureFleet(devices);
  const link = new ScriptedExpertLink();
  const ledger = new MemoryLedger();
  const catalogue = aCatalogue([anExpert('math')]);
  const policy = aPolicy(devices);
  const dispatcher = new Dispatcher({
    fleet,
    catalogue: () => catalogue,
    gate: () => aGate({ math: 0.5 }),
    costs: new FixtureCosts({ a: aCost(1000, 1), b: aCost(5000, 2) }),
    workloads: new WorkloadModel(),
    policy: () => policy,
    link,
    ledger,
    clock,
    random: new SeededRandom(1),
    log: silentLogger,
    onDemand: () => {},
    config: DISPATCH_DEFAULTS,
  });
  const telemetry = (name: string): void => {
    const device = fleet.view.get(deviceId(name));
    const now = clock.now();
    const event = { kind: 'observed', deviceId: deviceId(name), epoch: 1, last: {}, sampledAt: now, at: now } as const;
    fleet.changes$.next({ event, before: device, after: device });
  };
  /** Lets time pass while some devices send telemetry every so often. */
  const pass = async (ms: number, every: Readonly<Record<string, number>>): Promise<void> => {
    for (let at = 500; at <= ms; at += 500) {
      clock.advance(500);
      for (const [name, period] of Object.entries(every)) if (at % period === 0) telemetry(name);
      await settle();
    }
  };
  for (const name of names) telemetry(name);
  const ask = async (prompt: Partial<Prompt> = {}): Promise<DispatchedRequest> => {
    const request = dispatcher.accept(aPrompt('auto', prompt));
    await settle();
    return request;
  };
  const last = (): ScriptedJob => {
    const job = link.jobs.at(-1);
    if (job === undefined) throw new Error('no job was sent');
    return job;
  };
  return { ask, clock, dispatcher, fleet, last, ledger, link, pass, telemetry };
}

async function read({ events }: DispatchedRequest): Promise<string> {
  let said = '';
  for await (const event of events) {
    if (event.kind === 'chosen') said += `[${event.choice.deviceId}]`;
    if (event.kind === 'tokens') said += event.text;
    if (event.kind === 'failed') said += `!${event.error.code}`;
  }
  return said;
}

/** An answer that has been coming for a while. */
function stream(job: ScriptedJob, words = 100): void {
  job.accepted();
  for (let at = 0; at < words; at++) job.tokens('w');
}

describe('a device that has jobs and says nothing at all', () => {
  it('loses what others can take, what it answers included, long before its lease is over', async () => {
    const { ask, dispatcher, last, ledger, link, pass } = world();
    const first = await ask();
    stream(last());
    const second = await ask();
    const said = read(first);
    expect(link.jobs.map(({ device }) => device)).toEqual(['a', 'a']);
    link.jobs[1]?.accepted();
    await pass(5500, { b: 1000 });
    expect(link.cancelled).toEqual([]);
    await pass(500, { b: 1000 });
    expect(link.cancelled.map(({ device }) => device)).toEqual(['a', 'a']);
    expect(link.jobs.slice(2).map(({ device, job }) => [device, 'resume' in job && job.resume?.text.length])).toEqual([
      ['b', 100],
      ['b', false],
    ]);
    for (const job of link.jobs.slice(2)) {
      job.accepted();
      job.tokens('.');
      job.done();
    }
    expect(await said).toMatch(/^\[a\]w{100}\[b\]\.$/);
    const record = await ledger.get(second.id);
    expect(record?.attempts.map(({ outcome }) => outcome)).toEqual(['device.lost', 'succeeded']);
    expect(record?.candidates.find(({ deviceId: id }) => id === 'a')?.excluded).toBe('device-tried');
    await ask();
    expect(last().device).toBe('b');
    await dispatcher.close();
  });

  it('is not suspected while its telemetry comes, however long its prompt takes or its tokens stay away', async () => {
    const { ask, dispatcher, last, link, pass } = world();
    const request = await ask();
    last().accepted();
    await pass(120_000, { a: 5000, b: 500 });
    stream(last());
    await pass(25_000, { a: 5000, b: 500 });
    expect(link.cancelled).toEqual([]);
    last().done();
    expect(await read(request)).toBe(`[a]${'w'.repeat(100)}`);
    await dispatcher.close();
  });

  it('is not suspected where nobody is heard: the broker or the network is away', async () => {
    const { ask, dispatcher, last, link, pass, telemetry } = world();
    const request = await ask();
    stream(last());
    await pass(LEASE_MS, {});
    telemetry('b');
    await pass(1500, { b: 500 });
    last().tokens('.');
    last().done();
    expect(link.cancelled).toEqual([]);
    expect(await read(request)).toMatch(/\.$/);
    await dispatcher.close();
  });

  it('keeps what nobody can take, or go on with', async () => {
    const alone = world();
    const told = await alone.ask({ grammar: { kind: 'gbnf', text: 'root ::= "w"+' } });
    stream(alone.last());
    alone.fleet.offline('b');
    const only = await alone.ask();
    alone.last().accepted();
    await alone.pass(LEASE_MS, {});
    expect(alone.link.cancelled).toEqual([]);
    await alone.dispatcher.close();
    expect(await read(only)).toContain('!');
    expect(await read(told)).toContain('!');

    const { ask, dispatcher, last, link, pass } = world();
    const request = await ask({ grammar: { kind: 'gbnf', text: 'root ::= "w"+' } });
    stream(last());
    await pass(LEASE_MS, { b: 500 });
    expect(link.cancelled).toEqual([]);
    last().done();
    expect(await read(request)).toMatch(/w$/);
    await dispatcher.close();
  });

  it('does no harm where it was suspected wrongly: what it says then is ignored, its joules count, and it serves again', async () => {
    const { ask, dispatcher, last, ledger, link, pass, telemetry } = world();
    const request = await ask();
    stream(last());
    await pass(6000, { b: 500 });
    const [old, next] = link.jobs;
    expect(next?.device).toBe('b');
    await ask();
    expect(last().device).toBe('b');
    old?.tokens('too late');
    old?.done('cancelled', { energyJ: 7 });
    next?.accepted();
    next?.tokens('.');
    next?.done('stop', { energyJ: 2 });
    expect(await read(request)).toMatch(/^\[a\]w+\[b\]\.$/);
    expect((await ledger.get(request.id))?.actual?.energyJ).toBe(9);
    telemetry('a');
    await ask();
    expect(last().device).toBe('a');
    await dispatcher.close();
  });
});
