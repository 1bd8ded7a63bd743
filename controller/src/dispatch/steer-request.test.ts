import { ManualClock } from '@fleetgate/shared/clock';
import { expertId, type ExpertId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { type Random, SeededRandom } from '@fleetgate/shared/random';
import { joules } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import type { Answered, EvidenceSink } from '../gating/evidence-sink.js';
import type { Gate } from '../gating/gate.js';
import { WorkloadModel } from '../telemetry/workload-model.js';
import { DISPATCH_DEFAULTS } from './dispatch-config.js';
import {
  aCatalogue,
  aDevice,
  aGate,
  anExpert,
  aPolicy,
  aPrompt,
  FixtureCosts,
  FixtureFleet,
} from './dispatch-fixtures.js';
import { Dispatcher } from './dispatcher.js';
import type { ExplorationAccount } from './explore.js';
import { MemoryLedger } from './memory-ledger.js';
import { scoreShot, scoringObstacle } from './score-shot.js';
import { ScriptedExpertLink } from './scripted-expert-link.js';
import { Steering } from './steering.js';

const fresh = expertId('new');
const RICH: ExplorationAccount = { requests: 1e6, earned: 1e6, explored: 0, charged: 0 };
const hopeful: Random = { uniform: () => 0.999, token: (length) => new SeededRandom(1).token(length) };

/** A gate of the fixtures, with doubt about `new`. */
function doubting(qualities: Readonly<Record<string, number>>): Gate {
  const gate = aGate(qualities);
  const { experts } = gate.score('');
  const own = experts.get(fresh);
  const both = own === undefined ? experts : new Map(experts).set(fresh, { ...own, doubt: 0.25 });
  return { ...gate, score: (prompt) => ({ ...gate.score(prompt), experts: both }) };
}

function world(
  given: {
    readonly onTrial?: readonly ExpertId[];
    readonly onProbation?: readonly ExpertId[];
    readonly hosts?: readonly string[];
  } = {},
) {
  const devices = [aDevice('a', given.hosts ?? ['math-q8_0', 'new-q8_0'])];
  const catalogue = aCatalogue([anExpert('math'), anExpert('new')]);
  const fleet = new FixtureFleet(devices);
  const link = new ScriptedExpertLink();
  const answered: Answered[] = [];
  const demand: string[] = [];
  const evidence: EvidenceSink = { answered: (one) => answered.push(one), observe: () => {} };
  const steering = new Steering(
    {
      random: hopeful,
      onTrial: () => new Set([...(given.onTrial ?? []), ...(given.onProbation ?? [])]),
      onProbation: () => new Set(given.onProbation ?? []),
      keep: () => {},
    },
    RICH,
  );
  const policy = aPolicy(devices);
  const dispatcher = new Dispatcher({
    fleet,
    catalogue: () => catalogue,
    gate: () => doubting({ math: 0.5, new: 0.6 }),
    costs: new FixtureCosts(),
    workloads: new WorkloadModel(),
    policy: () => policy,
    link,
    ledger: new MemoryLedger(),
    clock: new ManualClock(),
    random: new SeededRandom(1),
    log: silentLogger,
    onDemand: (id) => demand.push(id),
    evidence,
    steering,
    config: DISPATCH_DEFAULTS,
  });
  const expertOf = (model: string, parts = {}): string | null =>
    dispatcher.accept(aPrompt(model, parts)).record().expertId;
  return { answered, catalogue, demand, dispatcher, expertOf, fleet, link, policy, steering };
}
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('an expert on trial', () => {
  it('answers who asks for it by name, and nobody else', () => {
    const { expertOf } = world({ onTrial: [fresh] });
    expect(expertOf('new')).toBe('new');
    for (const model of ['auto', 'auto:best', 'auto:eco', 'auto:fast']) expect(expertOf(model)).toBe('math');
  });

  it('answers all the same where nobody else could', () => {
    const { dispatcher } = world({ onTrial: [fresh], hosts: ['new-q8_0'] });
    expect(dispatcher.accept(aPrompt('auto')).record()).toMatchObject({ expertId: 'new', state: 'running' });
  });

  it('is shown as excluded', () => {
    const { candidates } = world({ onTrial: [fresh] })
      .dispatcher.accept(aPrompt('auto'))
      .record();
    expect(candidates.find((one) => one.expertId === 'new')?.excluded).toBe('on-trial');
  });
});

describe('an expert on probation', () => {
  it('is explored with by `auto`, and the record says so', () => {
    const { dispatcher, steering } = world({ onProbation: [fresh] });
    const record = dispatcher.accept(aPrompt('auto')).record();
    expect(record.expertId).toBe('new');
    expect(record.why).toMatch(/^new on a: asked to learn how good it is/);
    expect(record.candidates[0]).toMatchObject({ expertId: 'new', chosen: true });
    expect(steering.account.explored).toBe(1);
  });

  it('is never explored with by other modes, by name, or beyond the limits of a request', () => {
    const { expertOf, steering } = world({ onProbation: [fresh] });
    for (const model of ['auto:best', 'auto:eco', 'auto:fast', 'math']) expect(expertOf(model)).toBe('math');
    expertOf('auto', { limits: { energy: joules(0.001), latency: undefined } });
    expect(steering.account.explored).toBe(0);
  });
});

describe('what is learned from', () => {
  it('is every answer that ended, with what the gate said and how sure the expert was', async () => {
    const { answered, dispatcher, link } = world();
    const request = dispatcher.accept(aPrompt('math'));
    await settle();
    link.jobs[0]?.tokens('four');
    expect(answered).toEqual([]);
    link.jobs[0]?.done();
    expect(answered).toEqual([expect.objectContaining({ requestId: request.id, expert: 'math' })]);
    expect(answered[0]?.score.experts.get(expertId('math'))?.quality).toBe(0.5);
  });
});

describe('how sure an expert was', () => {
  it('is asked of one answer in sixteen that the fleet chose the expert for', async () => {
    const { dispatcher, link } = world();
    link.behave = (job) => job.done();
    for (let at = 0; at < 32; at++) {
      dispatcher.accept(aPrompt(at < 16 ? 'math' : 'auto'));
      await settle();
    }
    const asked = link.jobs.map(({ job }) => 'logProbs' in job && job.logProbs === true);
    expect(asked.filter((one) => one)).toHaveLength(1);
    expect(asked.indexOf(true)).toBeGreaterThanOrEqual(16);
  });
});

describe('a shot', () => {
  it('is scored by the expert on a device that hosts it, and counts neither as demand nor as an answer', async () => {
    const { answered, demand, dispatcher, link } = world({ onTrial: [fresh] });
    const scored = scoreShot(
      dispatcher,
      fresh,
      { id: 'x', prompt: 'p', completion: 'c' },
      new AbortController().signal,
    );
    await settle();
    expect(link.jobs[0]?.job).toMatchObject({ kind: 'score', variantId: 'new-q8_0', prompt: 'p', completion: 'c' });
    link.jobs[0]?.scored(12, 10);
    expect(await scored).toEqual({ bits: 12, bytes: 10, energyJ: 1.5 });
    expect([demand, answered]).toEqual([[], []]);
  });

  it('fails with the request, and ends when it is called off', async () => {
    const { dispatcher, link } = world({ onTrial: [fresh] });
    const shot = { id: 'x', prompt: 'p', completion: 'c' };
    const failing = scoreShot(dispatcher, fresh, shot, new AbortController().signal);
    await settle();
    link.jobs[0]?.failed('request.invalid', false);
    await expect(failing).rejects.toThrow();
    const abort = new AbortController();
    const ended = scoreShot(dispatcher, fresh, shot, abort.signal);
    await settle();
    abort.abort();
    await expect(ended).rejects.toMatchObject({ code: 'job.cancelled' });
  });

  it('waits for a device that hosts the expert and has nothing else to do', () => {
    const { catalogue, dispatcher, fleet, policy } = world({ hosts: ['math-q8_0'] });
    const obstacle = (expert: ExpertId) =>
      scoringObstacle(({ expertId }) => expertId === expert, {
        fleet: fleet.view,
        catalogue,
        policy,
        isIdle: (device) => dispatcher.isIdle(device),
      });
    expect(obstacle(fresh)).toBe('waits for a device that hosts it');
    expect(obstacle(expertId('math'))).toBeUndefined();
    dispatcher.accept(aPrompt('math'));
    expect(obstacle(expertId('math'))).toBe('waits until its devices are idle');
    fleet.offline('a');
    expect(obstacle(expertId('math'))).toBe('waits for a device that hosts it');
  });
});
