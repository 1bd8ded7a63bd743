/** A new expert from its first shot to serving `auto`: everything real but the clock, the fleet and the agents' answers. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ManualClock } from '@fleetgate/shared/clock';
import { expertId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ExpertRegistry } from './catalogue/expert-registry.js';
import type { ControllerConfig } from './config/config.js';
import { DISPATCH_DEFAULTS } from './dispatch/dispatch-config.js';
import {
  aDevice,
  aGate,
  anExpert,
  aPolicy,
  aPrompt,
  FixtureCosts,
  FixtureFleet,
} from './dispatch/dispatch-fixtures.js';
import { Dispatcher } from './dispatch/dispatcher.js';
import { MemoryLedger } from './dispatch/memory-ledger.js';
import { type ScriptedJob, ScriptedExpertLink } from './dispatch/scripted-expert-link.js';
import type { Fleet } from './fleet/fleet.js';
import { LiveGate } from './gating/live-gate.js';
import { learningSchema } from './gating/sqlite-learning-store.js';
import { withUnknownExperts } from './gating/unknown-expert.js';
import { openLearning } from './kept-learning.js';
import { openSteering, openTrials, type TrialSets } from './open-trials.js';
import { openDatabase } from './platform/sqlite-database.js';
import type { Surroundings } from './surroundings.js';
import { WorkloadModel } from './telemetry/workload-model.js';

const BYTES = 100;
const fresh = expertId('new');

let folder: string;
let clock: ManualClock;
const cleanups: (() => Promise<void> | void)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-trials-'));
  clock = new ManualClock();
  const lines = Array.from({ length: 200 }, (_, at) =>
    JSON.stringify({ prompt: `question ${at}`, completion: 'answer' }),
  );
  mkdirSync(join(folder, 'data'));
  writeFileSync(join(folder, 'data', 'any.train.jsonl'), lines.join('\n'));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  rmSync(folder, { recursive: true, force: true });
});

/** A controller's learning parts over the same database file each time; `quality` is what agents measure of `new`. */
async function start(quality: number) {
  const registry = new ExpertRegistry();
  for (const expert of [anExpert('math'), anExpert('new')]) {
    registry.add({ expert, paths: new Map(expert.variants.map(({ id }) => [id, `/models/${id}.gguf`])) });
  }
  const devices = [aDevice('a', ['math-q8_0', 'new-q8_0'])];
  const fleet = new FixtureFleet(devices);
  const policy = aPolicy(devices);
  const database = await openDatabase(join(folder, 'control.sqlite'), [learningSchema]);
  const config = { expertsDir: folder } as ControllerConfig;
  const surroundings = { config, clock, log: silentLogger, random: new SeededRandom(2) } as unknown as Surroundings;
  const live = new LiveGate();
  live.replace(aGate({ math: 0.4 }));
  const gate = withUnknownExperts(live, () => registry.experts.values());
  const learned = await openLearning(database, live, () => gate, clock, silentLogger);
  const sets: TrialSets = { trials: undefined };
  const steering = await openSteering(surroundings, learned, sets);
  const answer = (job: ScriptedJob): void => {
    job.accepted();
    if (job.job.kind === 'score') job.scored(-Math.log2(quality) * BYTES, BYTES);
    else job.done();
  };
  const dispatcher = new Dispatcher({
    fleet,
    catalogue: () => registry,
    gate: learned.gate,
    costs: new FixtureCosts(),
    workloads: new WorkloadModel(),
    policy: () => policy,
    link: new ScriptedExpertLink(answer),
    ledger: new MemoryLedger(),
    clock,
    random: surroundings.random,
    log: silentLogger,
    onDemand: () => {},
    evidence: learned.learning,
    steering,
    config: DISPATCH_DEFAULTS,
  });
  const parts = {
    ...{ live, fleet: fleet as unknown as Fleet, catalogue: registry, dispatcher },
    policy: () => policy,
    leads: () => true,
  };
  const trials = await openTrials(surroundings, learned, parts);
  sets.trials = trials;
  let isStopped = false;
  const stop = async (): Promise<void> => {
    if (isStopped) return;
    isStopped = true;
    await trials.close();
    await dispatcher.close();
    await learned.close();
    await database.close();
  };
  cleanups.push(stop);
  const pass = async (seconds: number): Promise<void> => {
    for (let at = 0; at < seconds; at++) {
      clock.advance(1000);
      // Reading the prompts and the scripted answers take turns of the event loop, not time.
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const stateOf = (): unknown => trials.views().find(({ expert }) => expert === fresh)?.state;
  const asked = (model: string): string | null => dispatcher.accept(aPrompt(model)).record().expertId;
  const enrolled = async (): Promise<void> => {
    while (stateOf() === 'enrolling') await pass(1);
  };
  return { asked, enrolled, learned, pass, stateOf, steering, stop, trials };
}

describe('a new expert', () => {
  it('answers by name at first, and takes auto over once its shots show that it is better', async () => {
    const { asked, enrolled, learned, stateOf } = await start(0.6);
    expect(stateOf()).toBe('enrolling');
    expect([asked('auto'), asked('new')]).toEqual(['math', 'new']);
    await enrolled();
    expect(stateOf()).toBe('serving');
    expect(learned.learning.counts().reference).toBe(24);
    expect(asked('auto')).toBe('new');
  });

  it('leaves auto to who was there when it is worse', async () => {
    const { asked, enrolled, stateOf, steering } = await start(0.25);
    await enrolled();
    expect(['serving', 'probation']).toContain(stateOf());
    const answers: (string | null)[] = [];
    for (let request = 0; request < 200; request++) {
      answers.push(asked('auto'));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(answers.filter((expert) => expert === 'math').length).toBeGreaterThan(190);
    expect(steering.account.charged).toBeLessThanOrEqual(0.02 * steering.account.earned);
  });

  it('goes on where it stood after a restart', async () => {
    const first = await start(0.6);
    const shots = (of: typeof first): number => of.trials.views().find(({ expert }) => expert === fresh)?.done ?? 0;
    while (shots(first) < 5) await first.pass(1);
    const done = shots(first);
    await first.stop();
    const second = await start(0.6);
    expect(second.trials.views().find(({ expert }) => expert === fresh)).toMatchObject({ state: 'enrolling', done });
    await second.enrolled();
    await second.stop();
    const third = await start(0.6);
    expect(third.stateOf()).toBe('serving');
    expect(third.asked('auto')).toBe('new');
  });
});
