import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { expertId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';

import { openGate } from './disk-gate-opening.js';
import { DiskGateStore, readGateFile, writeGateFile } from './disk-gate-store.js';
import { writeJsonLines } from './disk-outcomes.js';
import { LiveGate } from './live-gate.js';
import { syntheticOutcomes } from './outcomes.fixture.js';
import { trainGate } from './train-gate.js';
import { trainGateInProcess } from './process-gate-training.js';

let folder = '';
let gatePath = '';
let outcomesPath = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-gate-'));
  gatePath = join(folder, 'gate.json');
  outcomesPath = join(folder, 'outcomes.jsonl.gz');
  await writeJsonLines(outcomesPath, syntheticOutcomes(60));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const never = new AbortController().signal;
const open = async (signal = never) => {
  const live = new LiveGate();
  await openGate(live, { gatePath, outcomesPath }, silentLogger, signal);
  return live;
};

describe('opening the gate', () => {
  test('trains it in another process at first start, and only reads it after that', async () => {
    const first = await open();
    expect([first.state, first.trainedOn, first.experts]).toEqual([
      'ready',
      60,
      ['code', 'generalist', 'math', 'story'],
    ]);
    const written = await readFile(gatePath, 'utf8');
    const second = await open();
    expect(second.score('python function')).toEqual(first.score('python function'));
    expect(await readFile(gatePath, 'utf8')).toBe(written);
  });

  test('trains again when the outcomes have changed', async () => {
    await open();
    await writeJsonLines(outcomesPath, syntheticOutcomes(90));
    expect((await open()).trainedOn).toBe(90);
  });

  test('moves a damaged gate file aside and trains again', async () => {
    await writeFile(gatePath, '{"schema":"fleetgate-gate/1"');
    expect((await open()).trainedOn).toBe(60);
    expect(await readdir(folder)).toEqual(['gate.json', 'gate.json.invalid', 'outcomes.jsonl.gz']);
  });

  test('goes on untrained without outcomes, or with bad ones, and with the old gate if there is one', async () => {
    await writeFile(outcomesPath, 'not gzip');
    const untrained = await open();
    expect([untrained.state, untrained.why]).toEqual([
      'degraded',
      expect.stringMatching(/^training failed: .*outcomes/),
    ]);
    await writeGateFile(gatePath, trainGate(syntheticOutcomes(30)));
    const live = await open();
    expect([live.state, live.trainedOn]).toEqual(['ready', 30]);
    await rm(outcomesPath);
    expect((await open()).trainedOn).toBe(30);
    await rm(gatePath);
    const none = await open();
    expect([none.state, none.classes, none.score('hi').experts.size]).toEqual(['degraded', ['general'], 0]);
    expect(none.why).toBe('there are no outcomes to train a gate on');
  });

  test('does not use a gate that does not reproduce its own predictions, and trains another where it can', async () => {
    const model = trainGate(syntheticOutcomes(60));
    const broken = { ...model, qualityWeights: model.qualityWeights.map((weight) => weight + 0.1) };
    await writeGateFile(gatePath, broken);
    const outcomes = await readFile(outcomesPath);
    await rm(outcomesPath);
    const degraded = await open();
    expect([degraded.state, degraded.why, degraded.classes]).toEqual([
      'degraded',
      expect.stringMatching(/^self-test failed: its stored quality of probe/),
      ['general'],
    ]);
    expect(degraded.score('python function').experts.get(expertId('math'))?.quality).toBeCloseTo(
      model.experts.find(({ name }) => name === 'math')?.mean ?? NaN,
      9,
    );
    await writeFile(outcomesPath, outcomes);
    expect((await open()).state).toBe('ready');
  });

  test('goes on without a gate of models that are no experts of a fleet, and says so', async () => {
    const strange = syntheticOutcomes(60).map((outcome) => ({ ...outcome, y: { ...outcome.y, 'No Expert!': 0.5 } }));
    await writeJsonLines(outcomesPath, strange);
    const live = await open();
    expect([live.state, live.why]).toEqual(['degraded', expect.stringContaining('"No Expert!" is not a fleet expert')]);
  });

  test('stops when it is told to', async () => {
    const live = await open(AbortSignal.abort());
    expect(live.trainedOn).toBe(0);
    expect(await readdir(folder)).toEqual(['outcomes.jsonl.gz']);
  });
});

describe('training in a process of its own', () => {
  test('gives the gate that training here gives, and tells how far it is', async () => {
    const steps: number[] = [];
    const model = await trainGateInProcess({ outcomesPath, gatePath, onProgress: (_, done) => steps.push(done) });
    const here = trainGate(syntheticOutcomes(60));
    expect(model.directions).toEqual(here.directions);
    expect(model.outcomesSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(steps.at(-1)).toBe(1);
    expect([...steps].sort((a, b) => a - b)).toEqual(steps);
  });

  test('fails with what is wrong with the outcomes', async () => {
    await writeFile(join(folder, 'bad.jsonl'), '{"id":1}\n');
    await expect(trainGateInProcess({ outcomesPath: join(folder, 'bad.jsonl'), gatePath })).rejects.toThrow(
      expect.objectContaining({ code: 'outcomes.invalid', message: expect.stringContaining('line 1') as string }),
    );
  });

  test('is ended by its signal', async () => {
    const abort = new AbortController();
    const run = trainGateInProcess({ outcomesPath, gatePath, signal: abort.signal, onProgress: () => abort.abort() });
    await expect(run).rejects.toThrow(expect.objectContaining({ code: 'job.cancelled' }));
  });
});

describe('the gate store', () => {
  test('has nothing at first, then what was saved', async () => {
    const store = new DiskGateStore(gatePath);
    const moved: unknown[] = [];
    expect(await store.load((error) => moved.push(error))).toBeUndefined();
    const model = trainGate(syntheticOutcomes(30));
    await store.save(model);
    expect(await store.load((error) => moved.push(error))).toEqual(model);
    expect(moved).toEqual([]);
  });

  test('a gate file that is missing or a folder is refused by name', async () => {
    await expect(readGateFile(gatePath)).rejects.toThrow(expect.objectContaining({ code: 'gate.invalid-model' }));
    await expect(readGateFile(folder)).rejects.toThrow(expect.objectContaining({ code: 'gate.invalid-model' }));
  });
});
