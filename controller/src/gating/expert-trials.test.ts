import { ManualClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { classId, type ExpertId, expertId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { afterEach, describe, expect, it } from 'vitest';

import { emptyAdaptation, learningCycle } from './learning-cycle.js';
import type { Evidence } from './evidence.js';
import type { Observation } from './evidence-sink.js';
import { ExpertTrials } from './expert-trials.js';
import type { Gate } from './gate.js';
import type { LabelledPrompt } from './k-shot.js';
import type { LearningStore } from './learning-store.js';
import { evidenceOf } from './observation.js';
import { MOST_JOULES, SHOTS, type Trial } from './trial.js';
import type { ExpertTrialParts, ShotScore } from './trial-parts.js';

const [law, fresh] = [classId('law'), expertId('new')];
const gate: Gate = {
  experts: [fresh],
  classes: [law],
  trainedOn: 1,
  score: () => ({
    classId: law,
    promptTokens: 4,
    experts: new Map([[fresh, { quality: 0.2, sd: 0.25, doubt: 0.25, outputTokens: 9 }]]),
  }),
  classQuality: () => undefined,
};
const labelled: readonly LabelledPrompt[] = Array.from({ length: 200 }, (_, at) => ({
  id: `law-${at}`,
  prompt: `question ${at}`,
  completion: 'answer',
}));

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** A trial's surroundings: everything there, each shot a quality of 0.5, unless `parts` says otherwise. */
async function bench(
  parts: Partial<ExpertTrialParts> & { readonly isKnown?: boolean; readonly stored?: unknown } = {},
) {
  const clock = new ManualClock();
  const seen: Observation[] = [];
  const kept: { trials?: Readonly<Record<string, Trial>>; aside: string[]; corrected: boolean; learned: number } = {
    aside: [],
    corrected: false,
    learned: 0,
  };
  const store = {
    loadState: () => Promise.resolve(parts.stored),
    setAside: (name: string) => Promise.resolve(void kept.aside.push(name)),
  } as unknown as LearningStore;
  let running = 0;
  let most = 0;
  const trials = await ExpertTrials.open(
    {
      clock,
      log: silentLogger,
      gate: () => gate,
      fingerprint: () => 'gate-a',
      facts: () => [{ id: fresh, isKnown: parts.isKnown ?? false, isCorrected: kept.corrected }],
      prompts: () => Promise.resolve(labelled),
      obstacle: () => undefined,
      score: async (): Promise<ShotScore> => {
        most = Math.max(most, ++running);
        await Promise.resolve();
        running -= 1;
        return { bits: 10, bytes: 10, energyJ: 2 };
      },
      sink: { answered: () => {}, observe: (one) => seen.push(one) },
      learn: () => (kept.learned += 1),
      keep: (all) => (kept.trials = all),
      ...parts,
    },
    store,
  );
  cleanups.push(() => trials.close());
  const pass = async (seconds: number): Promise<void> => {
    for (let at = 0; at < seconds; at++) {
      clock.advance(1000);
      for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    }
  };
  return { trials, seen, kept, pass, atOnce: () => most };
}

const stateOf = (trials: ExpertTrials): unknown => {
  const [view] = trials.views();
  return { state: view?.state, done: view?.done, reason: view?.reason };
};

describe('an expert that nothing is known of', () => {
  it('is scored shot by shot, one at a time, is on probation then, and serves once a correction of it is in use', async () => {
    const { trials, seen, kept, pass, atOnce } = await bench();
    expect([...trials.onTrial()]).toEqual([fresh]);
    await pass(10);
    expect(stateOf(trials)).toEqual({ state: 'enrolling', done: 9, reason: undefined });
    await pass(20);
    expect(stateOf(trials)).toEqual({ state: 'probation', done: SHOTS, reason: undefined });
    expect([...trials.onProbation()]).toEqual([fresh]);
    expect(seen).toHaveLength(SHOTS);
    expect(seen[0]).toMatchObject({ source: 'reference', expert: fresh, value: 0.5 });
    expect(kept.learned).toBe(1);
    expect(kept.trials?.['new']?.energyJ).toBe(2 * SHOTS);
    expect(atOnce()).toBe(1);
    kept.corrected = true;
    await pass(1);
    expect(trials.onTrial().size).toBe(0);
    expect(stateOf(trials)).toMatchObject({ state: 'serving' });
  });

  it('is corrected by its shots at once', async () => {
    const { seen, pass } = await bench();
    await pass(30);
    const evidence = seen.flatMap((one, at): Evidence[] => {
      const made = evidenceOf(one, (at + 1) as Evidence['at'], 'gate-a');
      return made === undefined ? [] : [made];
    });
    const { events, adaptation } = learningCycle(evidence, emptyAdaptation('gate-a'), 'gate-a', 100 as Evidence['at']);
    expect(events.map(({ kind }) => kind)).toEqual(['gate.updated']);
    expect(adaptation.experts['new']?.fit?.observations).toBe(SHOTS - 5);
  });

  it('waits, and says for what, while no idle device hosts it', async () => {
    const { trials, seen, pass } = await bench({ obstacle: () => 'waits for a device that hosts it' });
    await pass(30);
    expect(seen).toEqual([]);
    expect(stateOf(trials)).toEqual({ state: 'enrolling', done: 0, reason: 'waits for a device that hosts it' });
  });

  it('uses no more energy than it may', async () => {
    const { trials, seen, pass } = await bench({
      score: async () => ({ bits: 10, bytes: 10, energyJ: MOST_JOULES / 4 }),
    });
    await pass(60);
    expect(seen).toHaveLength(4);
    expect(stateOf(trials)).toEqual({
      state: 'probation',
      done: 4,
      reason: 'it has used the 500 J that enrolling may',
    });
  });

  it('is given up after five failures in a row, and tried again when a person asks', async () => {
    let works = false;
    const score = async (): Promise<ShotScore> => {
      if (!works) throw new FleetError('engine.crashed', 'no');
      return { bits: 10, bytes: 10, energyJ: 1 };
    };
    const { trials, seen, pass } = await bench({ score });
    await pass(30);
    expect(stateOf(trials)).toEqual({ state: 'probation', done: 0, reason: '5 shots in a row failed' });
    works = true;
    await pass(10);
    expect(seen).toEqual([]);
    expect(trials.enrol(fresh)).toMatchObject({ state: 'enrolling', done: 0 });
    await pass(30);
    expect(seen).toHaveLength(SHOTS);
  });

  it('is believed where there are no labelled prompts', async () => {
    const { trials, pass } = await bench({ prompts: () => Promise.resolve([]) });
    await pass(3);
    expect(trials.onTrial().size).toBe(0);
    expect(stateOf(trials)).toEqual({ state: 'serving', done: 0, reason: 'there are no labelled prompts' });
  });

  it('is nobody, while there is no gate', async () => {
    const { trials, pass, seen } = await bench({ gate: () => undefined });
    await pass(5);
    expect(trials.onTrial().size).toBe(0);
    expect(seen).toEqual([]);
  });
});

describe('an expert that is known', () => {
  it('serves without being scored', async () => {
    const { trials, seen, pass } = await bench({ isKnown: true });
    await pass(30);
    expect(seen).toEqual([]);
    expect(stateOf(trials)).toEqual({ state: 'serving', done: 0, reason: undefined });
  });

  it('is scored when a person asks, and serves meanwhile', async () => {
    const { trials, seen, pass } = await bench({ isKnown: true });
    trials.enrol(fresh);
    await pass(30);
    expect(seen).toHaveLength(SHOTS);
    expect(trials.onTrial().size).toBe(0);
  });

  it('is the only one that can be asked for', async () => {
    const { trials } = await bench();
    expect(trials.enrol('other' as ExpertId)).toBeUndefined();
  });
});

describe('trials that were kept', () => {
  const half: Trial = {
    shots: Object.fromEntries(labelled.slice(0, 4).map(({ id }) => [id, 0.4])),
    energyJ: 8,
    failures: 0,
    gate: 'gate-a',
    asked: false,
  };

  it('go on after a restart', async () => {
    const { trials, seen, pass } = await bench({ stored: { new: half } });
    await pass(2);
    expect(stateOf(trials)).toMatchObject({ state: 'enrolling', done: 5 });
    expect(seen).toHaveLength(1);
  });

  it('are told again to a gate that was trained anew', async () => {
    const { seen, kept, pass } = await bench({ stored: { new: { ...half, gate: 'gate-b' } }, obstacle: () => 'waits' });
    await pass(2);
    expect(seen.map(({ subject, value }) => [subject, value])).toEqual(
      labelled.slice(0, 4).map(({ id }) => [`shot:${id}`, 0.4]),
    );
    expect(kept.trials?.['new']?.gate).toBe('gate-a');
  });

  it.each(['text', { new: { shots: 7 } }, [1]])('are set aside when they cannot be used (%j)', async (stored) => {
    const { kept, trials } = await bench({ stored });
    expect(kept.aside).toEqual(['trials']);
    expect(stateOf(trials)).toMatchObject({ state: 'enrolling', done: 0 });
  });
});
