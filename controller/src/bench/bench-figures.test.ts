import { describe, expect, test } from 'vitest';

import type { Budgets, PlanView } from '@fleetgate/shared/api/operations';

import { roleOf } from './agent-bench.js';
import { between, classEnergies, planEnergyJ, sameBudgets, withClassEnergies, withRoom } from './budget-figures.js';
import { predictionTable } from './dispatch-bench.js';
import { distributionOf, spread } from './distribution.js';
import { gateFigures, type GateSample } from './gate-figures.js';
import { allProcesses, bareNodeMemory, processMemory } from './linux-process-memory.js';
import { cpuSecondsOf } from './metrics-text.js';

describe('distributions', () => {
  test('quantiles lie between the nearest values', () => {
    expect(distributionOf([4, 1, 3, 2])).toMatchObject({ count: 4, mean: 2.5, p50: 2.5 });
    expect(distributionOf([]).mean).toBeNaN();
  });

  test('a sample is spread over the whole list and always the same', () => {
    expect(spread([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 4)).toEqual([0, 2, 5, 7]);
    expect(spread([1, 2], 5)).toEqual([1, 2]);
  });
});

describe('figures of the gate', () => {
  const sample = (domain: string, chosen: string, bits: Record<string, number>, bytes = 10): GateSample => ({
    domain,
    chosen,
    bits,
    bytes,
  });
  const experts = ['generalist', 'law', 'math'];

  test('compare the choice with the oracle, the generalist and the best single expert, domain by domain', () => {
    const result = gateFigures(
      [
        sample('math', 'math', { math: 10, law: 40, generalist: 20 }),
        sample('law', 'law', { math: 40, law: 10, generalist: 20 }),
        // A long answer does not outweigh the other domain.
        sample('law', 'math', { math: 100, law: 50, generalist: 60 }, 30),
      ],
      experts,
    );
    expect(result.confusion).toEqual({ math: { math: 1 }, law: { law: 1, math: 1 } });
    expect(result.chosen).toBeCloseTo((1 + 110 / 40) / 2, 9);
    expect(result.oracle).toBeCloseTo((1 + 60 / 40) / 2, 9);
    expect(result.byExpert['generalist']).toBeCloseTo((2 + 80 / 40) / 2, 9);
    expect(result.bestSingle).toBe('generalist');
    const captured = result.figures.find((one) => one.what.includes('over the generalist captured'));
    expect(captured?.ours).toBeCloseTo((2 - 1.875) / (2 - 1.25), 9);
  });

  test('without a generalist there is no such figure, and nothing is invented', () => {
    const result = gateFigures([sample('math', 'math', { math: 10 })], ['math']);
    expect(result.figures.some((one) => one.otherName === 'generalist')).toBe(false);
  });
});

describe('budgets', () => {
  const budgets: Budgets = {
    fleetPowerW: null,
    maxVariants: null,
    moveBytes: null,
    defaultClass: { latencyMeanMs: 1000, energyJ: null, minServed: 1, minReplicas: 1, weight: 1 },
    classes: { math: { weight: 2 } },
  };
  const route = (classId: string, ratePerS: number, energyJ: number) => ({
    classId,
    deviceId: 'pi',
    variantId: 'v',
    ratePerS,
    quality: 0.5,
    energyJ,
    latencyMs: 10,
  });
  const plan = { routing: [route('math', 3, 1), route('math', 1, 5), route('law', 4, 4)] } as unknown as PlanView;

  test('energies of a plan are weighted by demand within a class', () => {
    expect([...classEnergies(plan)]).toEqual([
      ['math', 2],
      ['law', 4],
    ]);
    expect(planEnergyJ(plan, ['math', 'law'])).toBe(3);
    expect(planEnergyJ(plan, ['law'])).toBe(4);
  });

  test('tighter budgets keep what a person has set', () => {
    const tight = withClassEnergies(budgets, between(new Map([['math', 1]]), new Map([['math', 3]]), 0.5));
    expect(tight.classes).toEqual({ math: { weight: 2, energyJ: 2 } });
    expect(withRoom(tight, 1.5).classes).toEqual({ math: { weight: 2, energyJ: 3 } });
    expect(withRoom(budgets, 1.5)).toEqual(budgets);
    expect(sameBudgets(tight, JSON.parse(JSON.stringify(tight)) as Budgets)).toBe(true);
    expect(sameBudgets(tight, budgets)).toBe(false);
  });
});

describe('what runs on this machine', () => {
  test.each([
    [['/usr/bin/node', '/x/controller/bin/fleetgate.mjs', 'agent', '--name', 'pi'], 'agent'],
    [['node', '/x/node_modules/.bin/fleetgate', 'controller'], 'controller'],
    [['/usr/bin/node', '/x/controller/dist/broker/process-broker-main.js'], 'broker'],
    [['/usr/bin/node', '/x/controller/dist/planning/process-optimiser-main.js'], 'optimiser'],
    [['/usr/bin/node', '/x/controller/dist/gating/process-gate-training-main.js', '{}'], 'training'],
    [['/usr/bin/node', '/x/agent/dist/engine/llama-engine-child.js', '{}'], 'engine'],
    [['node', 'controller/bin/fleetgate.mjs', 'up'], 'supervisor'],
    [['node', 'controller/bin/fleetgate.mjs', 'bench', 'agent'], undefined],
    [['/usr/bin/vim', 'fleetgate.mjs', 'agent'], undefined],
    [[], undefined],
  ])('%j is %s', (command, role) => {
    expect(roleOf(command)).toBe(role);
  });

  test.runIf(process.platform === 'linux')('memory is read from /proc', async () => {
    const own = await processMemory(process.pid);
    expect(own?.residentBytes).toBeGreaterThan(10e6);
    expect((await allProcesses()).some((one) => one.pid === process.pid)).toBe(true);
    expect(await processMemory(2 ** 22 + 1)).toBeUndefined();
    const bare = await bareNodeMemory();
    expect(bare?.residentBytes).toBeGreaterThan(10e6);
    expect(bare === undefined ? undefined : await processMemory(bare.pid)).toBeUndefined();
  });

  test('CPU time is read past the comments of a Prometheus text', () => {
    const name = 'fleetgate_process_cpu_seconds_total';
    expect(cpuSecondsOf(`# HELP ${name} Total time\n# TYPE ${name} counter\n${name} 11.5\n`)).toBe(11.5);
    expect(cpuSecondsOf('nothing 1')).toBeUndefined();
  });
});

test('predictions are judged on finished generations only', () => {
  const record = (state: string, predictedMs: number, actualMs: number, outputTokens: number) => ({
    state,
    predicted: { latencyMs: predictedMs, energyJ: 1 },
    actual: { latencyMs: actualMs, energyJ: 2, outputTokens },
  });
  const records = [
    record('succeeded', 150, 100, 5),
    record('succeeded', 100, 100, 0),
    record('failed', 900, 100, 5),
    { state: 'succeeded', predicted: null, actual: null },
  ] as unknown as Parameters<typeof predictionTable>[0];
  const table = predictionTable(records);
  expect(table.title).toMatch(/over 1 finished/);
  expect(table.rows[0]?.slice(0, 3)).toEqual(['latency', 1, '0.50']);
  expect(table.rows[2]?.slice(0, 3)).toEqual(['energy', 1, '-0.50']);
});
