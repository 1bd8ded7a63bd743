import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { Variant } from '@fleetgate/shared/catalogue/expert';
import { boardId, deviceId, expertId, variantId } from '@fleetgate/shared/ids';
import type { JobUsage } from '@fleetgate/shared/protocol/job';
import type { Measurement } from '@fleetgate/shared/protocol/twin';
import { SeededRandom } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { CostModel, type CostSources } from './cost-model.js';

const pi = deviceId('pi');
const math = variantId('math-q8_0');
const code = variantId('code-q8_0');

const board: BoardProfile = {
  schema: 'fleetgate-board/1',
  id: boardId('raspberry-pi-5'),
  title: 'Raspberry Pi 5',
  kind: 'raspberry-pi',
  arch: ['arm64'],
  detect: {},
  memoryBytes: { value: 8e9, source: 'test' },
  reservedBytes: 1e9,
  slots: 8,
  engineThreads: 4,
  power: {
    idleW: { value: 3, source: 'test' },
    loadW: { value: 11, source: 'test' },
    standbyW: { value: 3, source: 'test' },
  },
  decodeBandwidthBytesPerS: { value: 10e9, source: 'test' },
  powerModes: [],
  sensors: [],
  notes: [],
};

const variant = (id: Variant['id'], fileBytes = 1_400_000): Variant => ({
  id,
  expertId: expertId('math'),
  sha256: 'a'.repeat(64),
  sizeBytes: fileBytes,
  quantisation: 'Q8_0',
  facts: {
    architecture: 'llama',
    parameters: 1_246_336,
    contextTokens: 320,
    layers: 4,
    embeddingLength: 128,
    slabsPerLayer: 0,
    slabsPerToken: 0,
    hasChatTemplate: true,
    quantisation: 'Q8_0',
    fileBytes,
    memoryBytes: 10_000_000,
  },
});

const sources: CostSources = {
  boardOf: (device) => (device === pi ? board : undefined),
  variantOf: (id) => (id === math || id === code ? variant(id) : undefined),
};

const measurement = (values: Partial<Measurement> = {}): Measurement => ({
  variantId: math,
  sha256: 'a'.repeat(64),
  prefillTokensPerS: 1000,
  decodeTokensPerS: 200,
  relativeSd: 0.05,
  prefillJPerToken: 0.002,
  decodeJPerToken: 0.03,
  energySource: 'modelled',
  overheadMs: 4,
  loadMs: 100,
  memoryBytes: 10_000_000,
  measuredAtMs: 1_000,
  ...values,
});

interface Truth {
  readonly prefillMs: number;
  readonly decodeMs: number;
  readonly prefillW: number;
  readonly decodeW: number;
}

function jobs(truth: Truth, count: number, random: SeededRandom, noise = 0.1): JobUsage[] {
  const factor = () => Math.exp(noise * (random.uniform() + random.uniform() + random.uniform() - 1.5));
  return Array.from({ length: count }, () => {
    const promptTokens = 5 + Math.floor(200 * random.uniform());
    const outputTokens = 5 + Math.floor(150 * random.uniform());
    const prefillMs = truth.prefillMs * promptTokens * factor();
    const decodeMs = truth.decodeMs * outputTokens * factor();
    return {
      promptTokens,
      outputTokens,
      energyJ: ((truth.prefillW * prefillMs + truth.decodeW * decodeMs) / 1000) * factor(),
      energySource: 'modelled',
      queueMs: 0,
      prefillMs,
      decodeMs,
    };
  });
}

const costOf = (truth: Truth, promptTokens: number, outputTokens: number) => ({
  latencyMs: truth.prefillMs * promptTokens + truth.decodeMs * outputTokens,
  energyJ: (truth.prefillW * truth.prefillMs * promptTokens + truth.decodeW * truth.decodeMs * outputTokens) / 1000,
});

const workload = { promptTokens: 100, outputTokens: 50 };

describe('CostModel', () => {
  test('predicts an unmeasured pair from size and board, and says so with a wide sd', () => {
    const cost = new CostModel(sources).estimate(pi, math, workload);
    expect(cost?.basis).toBe('predicted');
    expect(cost?.latency).toBeGreaterThan(0);
    expect(Number(cost?.latencySd) / Number(cost?.latency)).toBeGreaterThan(0.4);
    const larger = new CostModel({ ...sources, variantOf: (id) => variant(id, 1e9) }).estimate(pi, math, workload);
    expect(larger?.latency).toBeGreaterThan(Number(cost?.latency));
  });

  test('knows nothing of an unknown board or variant', () => {
    const model = new CostModel(sources);
    expect(model.estimate(deviceId('other'), math, workload)).toBeUndefined();
    expect(model.estimate(pi, variantId('other'), workload)).toBeUndefined();
    model.observeJob(pi, variantId('other'), { ...jobsOnce() });
    expect(model.estimate(pi, variantId('other'), workload)).toBeUndefined();
  });

  test('takes the enrolment benchmark as it is, once', () => {
    const model = new CostModel(sources);
    model.observeMeasurement(pi, measurement());
    const before = model.estimate(pi, math, workload);
    expect(before?.basis).toBe('measured');
    expect(before?.latency).toBeCloseTo(4 + 100 + 250, 6);
    expect(before?.firstToken).toBeCloseTo(4 + 100 + 5, 6);
    expect(before?.energy).toBeCloseTo(0.2 + 1.5, 6);
    model.observeMeasurement(pi, measurement());
    model.observeMeasurement(pi, measurement({ decodeTokensPerS: 1, measuredAtMs: 999 }));
    expect(model.estimate(pi, math, workload)).toEqual(before);
  });

  test('has profiles that say what estimates do, and hold until more is learned of the device', () => {
    const model = new CostModel(sources);
    const unlearned = model.learnedOf(pi);
    model.observeMeasurement(pi, measurement());
    const learned = model.learnedOf(pi);
    expect(learned).not.toBe(unlearned);
    const [own, corrected] = [model.profileOf(pi, math), model.profileOf(pi, code)];
    expect(own?.estimate(workload)).toEqual(model.estimate(pi, math, workload));
    const { baseMs = 0, promptMs = 0, outputMs = 0, promptJ = 0, outputJ = 0 } = own ?? {};
    expect(baseMs + promptMs * 100 + outputMs * 50).toBe(own?.estimate(workload).latency);
    expect(promptJ * 100 + outputJ * 50).toBe(own?.estimate(workload).energy);
    model.observeMeasurement(pi, measurement());
    model.observeJob(deviceId('other'), variantId('other'), jobsOnce());
    expect(model.learnedOf(pi)).toBe(learned);
    model.observeJob(pi, math, jobsOnce(), milliseconds(340));
    expect(model.learnedOf(pi)).not.toBe(learned);
    expect(model.profileOf(pi, code)?.baseMs).not.toBe(corrected?.baseMs);
    model.forget(pi);
    expect(model.learnedOf(pi)).toBe(unlearned);
  });

  test('learns what the way to a device and back adds', () => {
    const model = new CostModel(sources);
    model.observeMeasurement(pi, measurement());
    for (let at = 0; at < 30; at++) model.observeJob(pi, math, jobsOnce(), milliseconds(340));
    const cost = model.estimate(pi, math, { promptTokens: 50, outputTokens: 50 });
    expect(cost?.latency).toBeCloseTo(340, -1);
    for (let at = 0; at < 5; at++) model.observeJob(pi, math, jobsOnce(), milliseconds(0));
    expect(model.estimate(pi, math, workload)?.latency).toBeGreaterThan(0);
  });

  test('corrects the prediction of a variant by what another variant of the device showed', () => {
    const model = new CostModel(sources);
    const plain = Number(model.estimate(pi, code, workload)?.latency);
    const predicted = new CostModel(sources).estimate(pi, math, { promptTokens: 0, outputTokens: 1000 });
    model.observeMeasurement(pi, measurement({ decodeTokensPerS: 1e6 / Number(predicted?.latency) / 10 }));
    const corrected = model.estimate(pi, code, workload);
    expect(corrected?.basis).toBe('predicted');
    expect(Number(corrected?.latency) / plain).toBeGreaterThan(4);
  });

  test('variants of one shape share what is seen: a lucky benchmark does not make one cheaper than its twin', () => {
    const big = variantId('big-q8_0');
    const { facts, ...rest } = variant(big, 3_500_000);
    const bigger: Variant = { ...rest, facts: { ...facts, parameters: 3e6 } };
    const shaped: CostSources = { ...sources, variantOf: (id) => (id === big ? bigger : sources.variantOf(id)) };
    const model = new CostModel(shaped);
    model.observeMeasurement(pi, measurement({ decodeTokensPerS: 100 }));
    model.observeMeasurement(pi, measurement({ variantId: code, decodeTokensPerS: 400 }));
    model.observeMeasurement(pi, measurement({ variantId: big, decodeTokensPerS: 50 }));
    const tokenMs = (id: typeof math) => {
      const [long, none] = [10_000, 0].map((outputTokens) => model.estimate(pi, id, { promptTokens: 0, outputTokens }));
      return (Number(long?.latency) - Number(none?.latency)) / 10_000;
    };
    // The geometric mean of 10 and 2.5 ms.
    expect(tokenMs(math)).toBeCloseTo(5, 6);
    expect(tokenMs(code)).toBeCloseTo(5, 6);
    expect(tokenMs(big)).toBeCloseTo(20, 6);
    // What jobs show of one is known of the other at once, also where that one never ran.
    const fresh = new CostModel(shaped);
    for (const usage of jobs({ prefillMs: 1, decodeMs: 7, prefillW: 2, decodeW: 6 }, 30, new SeededRandom(1))) {
      fresh.observeJob(pi, math, usage);
    }
    const guessed = fresh.estimate(pi, code, workload);
    expect(guessed?.basis).toBe('predicted');
    expect(guessed?.latency).toBe(fresh.estimate(pi, math, workload)?.latency);
  });

  test('a benchmark without an energy reading leaves the power of the board', () => {
    const model = new CostModel(sources);
    model.observeMeasurement(pi, measurement({ prefillJPerToken: 0, decodeJPerToken: 0 }));
    // 8 W above idle for the 350 ms that the benchmark says it takes.
    expect(model.estimate(pi, math, workload)?.energy).toBeCloseTo(8 * 0.35, 9);
  });

  test('one stalled job does not wreck what is known', () => {
    const truth = { prefillMs: 1, decodeMs: 5, prefillW: 2, decodeW: 6 };
    const model = new CostModel(sources);
    for (const usage of jobs(truth, 60, new SeededRandom(3))) model.observeJob(pi, math, usage);
    const before = Number(model.estimate(pi, math, workload)?.latency);
    model.observeJob(pi, math, { ...jobsOnce(), prefillMs: 60_000, decodeMs: 600_000, energyJ: 5_000 });
    const after = model.estimate(pi, math, workload);
    expect(Number(after?.latency) / before).toBeLessThan(1.05);
    expect(Number(after?.latencySd) / Number(after?.latency)).toBeLessThan(0.3);
  });

  test('prompts that an engine had mostly evaluated before do not make reading a prompt look fast', () => {
    const long = { promptTokens: 400, outputTokens: 10 };
    const truth = { prefillMs: 1, decodeMs: 5, prefillW: 2, decodeW: 6 };
    const model = new CostModel(sources);
    for (const usage of jobs(truth, 60, new SeededRandom(3))) model.observeJob(pi, math, usage);
    const before = Number(model.estimate(pi, math, long)?.latency);
    const reused = { ...jobsOnce(), promptTokens: 400, decodeMs: 0, outputTokens: 0 };
    for (let at = 0; at < 50; at++) {
      model.observeJob(pi, math, { ...reused, reusedTokens: 399, prefillMs: 5 });
      model.observeJob(pi, math, { ...reused, reusedTokens: 300, prefillMs: 100 });
    }
    expect(Number(model.estimate(pi, math, long)?.latency) / before).toBeCloseTo(1, 1);
  });

  test('jobs that generated nothing, took no time or have no energy change nothing of that part', () => {
    const model = new CostModel(sources);
    model.observeMeasurement(pi, measurement());
    const before = model.estimate(pi, math, workload);
    model.observeJob(pi, math, {
      promptTokens: 0,
      outputTokens: 0,
      energyJ: 0,
      energySource: 'modelled',
      queueMs: 9,
      prefillMs: 0,
      decodeMs: 0,
    });
    expect(model.estimate(pi, math, workload)).toEqual(before);
  });

  test('comes back from its record, and refuses a damaged one', () => {
    const model = new CostModel(sources);
    model.observeMeasurement(pi, measurement());
    for (const usage of jobs({ prefillMs: 1, decodeMs: 5, prefillW: 2, decodeW: 6 }, 5, new SeededRandom(1))) {
      model.observeJob(pi, math, usage);
    }
    const record: unknown = JSON.parse(JSON.stringify(model.toRecord()));
    const restored = CostModel.fromRecord(record, sources);
    expect(restored.estimate(pi, math, workload)).toEqual(model.estimate(pi, math, workload));
    expect(() => CostModel.fromRecord({ schema: 'fleetgate-costs/1', entries: [{}] }, sources)).toThrow(
      expect.objectContaining({ code: 'store.corrupt' }),
    );
  });

  test('forgets a removed device', () => {
    const model = new CostModel(sources);
    model.observeMeasurement(pi, measurement());
    model.forget(pi);
    expect(model.estimate(pi, math, workload)?.basis).toBe('predicted');
    expect(model.toRecord().entries).toEqual([]);
  });

  test('is bounded: the pair that was not touched for longest goes first', () => {
    const model = new CostModel({ boardOf: () => board, variantOf: (id) => variant(id) });
    for (let at = 0; at < 50_100; at++) {
      model.observeMeasurement(deviceId(`d${at}`), measurement());
    }
    expect(model.toRecord().entries).toHaveLength(50_000);
    expect(model.estimate(deviceId('d0'), math, workload)?.basis).toBe('predicted');
    expect(model.estimate(deviceId('d50099'), math, workload)?.basis).toBe('measured');
  });
});

const truths = fc.record({
  prefillMs: fc.double({ min: 0.05, max: 50, noNaN: true }),
  decodeMs: fc.double({ min: 0.2, max: 200, noNaN: true }),
  prefillW: fc.double({ min: 1, max: 60, noNaN: true }),
  decodeW: fc.double({ min: 1, max: 60, noNaN: true }),
});
const tokens = fc.integer({ min: 0, max: 100_000 });

describe('CostModel, for any truth', () => {
  test('estimates are positive, finite and grow with tokens', () => {
    fc.assert(
      fc.property(truths, fc.integer(), tokens, tokens, tokens, (truth, seed, prompt, output, more) => {
        const model = new CostModel(sources);
        for (const usage of jobs(truth, seed % 3 === 0 ? 0 : 10, new SeededRandom(seed))) {
          model.observeJob(pi, math, usage);
        }
        const small = model.estimate(pi, math, { promptTokens: prompt, outputTokens: output });
        const large = model.estimate(pi, math, { promptTokens: prompt + more, outputTokens: output + more });
        for (const cost of [small, large]) {
          for (const value of [cost?.latency, cost?.latencySd, cost?.firstToken, cost?.energy, cost?.energySd]) {
            expect(value).toBeGreaterThanOrEqual(0);
            expect(Number.isFinite(value)).toBe(true);
          }
          expect(cost?.firstToken).toBeLessThanOrEqual(Number(cost?.latency) + 1e-9);
        }
        expect(large?.latency).toBeGreaterThanOrEqual(Number(small?.latency));
        expect(large?.energy).toBeGreaterThanOrEqual(Number(small?.energy));
      }),
    );
  });

  test('jobs alone lead to the truth, also through one in twenty that stalls', () => {
    fc.assert(
      fc.property(truths, fc.integer(), (truth, seed) => {
        const model = new CostModel(sources);
        jobs(truth, 150, new SeededRandom(seed)).forEach((usage, at) => {
          model.observeJob(pi, math, at % 20 === 19 ? { ...usage, decodeMs: usage.decodeMs * 20 } : usage);
        });
        const cost = model.estimate(pi, math, workload);
        const { latencyMs } = costOf(truth, 100, 50);
        expect(Math.abs(Math.log((Number(cost?.latency) - 10) / latencyMs))).toBeLessThan(0.15);
      }),
      { numRuns: 60 },
    );
  });

  test('energy converges for the mix of jobs that is run', () => {
    fc.assert(
      fc.property(truths, fc.integer(), (truth, seed) => {
        // A job says one energy for both of its parts, so the model learns their mix: enough while a board's power in
        // prefill and decode is of one order.
        fc.pre(Math.abs(Math.log(truth.prefillW / truth.decodeW)) < Math.log(4));
        const model = new CostModel(sources);
        const run = jobs(truth, 200, new SeededRandom(seed));
        for (const usage of run) model.observeJob(pi, math, usage);
        const errors = run.slice(-100).map((usage) => {
          const cost = model.estimate(pi, math, usage);
          return Math.abs(
            Math.log(Number(cost?.energy) / costOf(truth, usage.promptTokens, usage.outputTokens).energyJ),
          );
        });
        expect(errors.sort((a, b) => a - b)[50]).toBeLessThan(0.15);
      }),
      { numRuns: 60 },
    );
  });

  test('follows a device that becomes slower or faster', () => {
    fc.assert(
      fc.property(truths, fc.double({ min: 0.25, max: 4, noNaN: true }), fc.integer(), (truth, factor, seed) => {
        const random = new SeededRandom(seed);
        const model = new CostModel(sources);
        for (const usage of jobs(truth, 60, random)) model.observeJob(pi, math, usage);
        const now = { ...truth, prefillMs: truth.prefillMs * factor, decodeMs: truth.decodeMs * factor };
        for (const usage of jobs(now, 60, random)) model.observeJob(pi, math, usage);
        const cost = model.estimate(pi, math, workload);
        expect(Math.abs(Math.log((Number(cost?.latency) - 10) / costOf(now, 100, 50).latencyMs))).toBeLessThan(0.2);
      }),
      { numRuns: 60 },
    );
  });
});

function jobsOnce(): JobUsage {
  return {
    promptTokens: 50,
    outputTokens: 50,
    energyJ: 1,
    energySource: 'modelled',
    queueMs: 0,
    prefillMs: 50,
    decodeMs: 250,
  };
}
