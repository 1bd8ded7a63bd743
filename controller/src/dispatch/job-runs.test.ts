import { ManualClock } from '@fleetgate/shared/clock';
import { deviceId, expertId, jobId, planId, variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import type { Job, JobOut } from '@fleetgate/shared/protocol/job';
import { SeededRandom } from '@fleetgate/shared/random';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import { WorkloadModel } from '../telemetry/workload-model.js';
import { DISPATCH_DEFAULTS } from './dispatch-config.js';
import { aCatalogue, aDevice, anExpert, aPolicy, aPrompt, FixtureCosts, FixtureFleet } from './dispatch-fixtures.js';
import { DispatchStats } from './dispatch-stats.js';
import { JobRuns } from './job-runs.js';
import { MemoryLedger } from './memory-ledger.js';
import { openRequest } from './open-request.js';
import { ScriptedExpertLink } from './scripted-expert-link.js';

const choice = {
  expertId: expertId('math'),
  variantId: variantId('math-q8_0'),
  deviceId: deviceId('a'),
  planId: planId('plan-1'),
};
const job: Job = {
  v: 1,
  kind: 'mix',
  jobId: jobId('j1'),
  variantId: choice.variantId,
  timeoutMs: 60_000,
  input: { kind: 'complete', prompt: 'one' },
  topK: 4,
  maxTokens: 8,
  stop: [],
};

function running() {
  const clock = new ManualClock();
  const link = new ScriptedExpertLink();
  const stats = new DispatchStats();
  const [common, devices] = [
    { clock, link, config: DISPATCH_DEFAULTS, log: silentLogger },
    [aDevice('a', ['math-q8_0'])],
  ];
  const request = openRequest(
    {
      ...common,
      fleet: new FixtureFleet(devices),
      catalogue: () => aCatalogue([anExpert('math')]),
      gate: () => undefined,
      costs: new FixtureCosts(),
      workloads: new WorkloadModel(),
      policy: () => aPolicy(devices),
      ledger: new MemoryLedger(),
      random: new SeededRandom(1),
      onDemand: () => {},
    },
    aPrompt(),
  );
  const told: string[] = [];
  const runs = new JobRuns(
    { ...common, stats, concurrencyOf: () => 1, heartbeatOf: () => milliseconds(5000) },
    {
      tokens: (_run, out) => told.push(`tokens ${out.text}`),
      next: (_run, out) => told.push(`next ${out.step} ${out.ids.join(' ')}`),
      ended: (_run, out) => told.push(out.kind),
      failed: (_run, error, when) => told.push(`${error.code} ${when}`),
      usage: () => told.push('usage'),
      canMove: () => false,
      displaced: () => told.push('displaced'),
    },
  );
  link.out$.subscribe(({ deviceId: from, out }) => runs.onOut(from, out));
  const run = runs.start(request, choice, milliseconds(1000), job, { dueAt: clock.now(), tenant: '' });
  const [agent] = link.jobs;
  if (agent === undefined) throw new Error('no job was sent');
  return { clock, link, stats, runs, run, agent, told };
}

describe('a mixed answer', () => {
  it('gives its steps in order, each once, and sends the chosen tokens', () => {
    const { link, runs, run, agent, told, stats } = running();
    const said: JobOut[] = [];
    link.out$.subscribe(({ out }) => said.push(out));
    agent.accepted();
    agent.next(0, { 7: 0.6, 2: 0.3 }, '', 12);
    expect(run.phase).toBe('streaming');
    runs.proceed(run, 0, 7);
    const late = said.at(-1);
    if (late !== undefined) link.say(choice.deviceId, late);
    agent.next(1, { 2: 0.2, 5: 0.7 }, 'a');
    agent.done('stop');
    expect(told).toEqual(['next 0 7 2', 'next 1 5 2', 'done']);
    expect(stats.duplicate).toBe(1);
    expect(link.continued).toEqual([{ device: 'a', job: 'j1', step: 0, token: 7 }]);
    runs.proceed(run, 1, 5);
    expect(link.continued).toHaveLength(1);
  });

  it('is lost when its agent falls silent between two steps', () => {
    const { clock, agent, told } = running();
    agent.accepted();
    agent.next(0, { 7: 0.6 });
    clock.advance(DISPATCH_DEFAULTS.stallTimeout - 1);
    expect(told).toEqual(['next 0 7']);
    clock.advance(1);
    expect(told.at(-1)).toBe('device.lost streaming');
  });
});

describe('a device with a new session', () => {
  const reconnect = (runs: JobRuns): void => {
    const [before, after] = [aDevice('a', []), aDevice('a', [], { epoch: 2 })];
    const presence = { v: 1, state: 'online', epoch: 2, reason: 'connected', agentVersion: '0' } as const;
    const event = { kind: 'presence', deviceId: choice.deviceId, presence, at: unixMs(0) } as const;
    runs.onFleetChange({ event, before, after });
  };

  it('is sent again what it has not acknowledged, for it may not have been listening', () => {
    const { link, runs, agent, told } = running();
    reconnect(runs);
    expect(link.jobs.map((sent) => sent.job)).toEqual([job, job]);
    agent.accepted();
    reconnect(runs);
    expect(link.jobs).toHaveLength(2);
    expect(told).toEqual([]);
  });
});
