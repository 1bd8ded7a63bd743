import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { afterAll, describe, expect, it } from 'vitest';

import { gateOf } from '../gating/linear-gate.js';
import { DOMAINS, syntheticOutcomes } from '../gating/outcomes.fixture.js';
import { trainGate } from '../gating/train-gate.js';
import { HighsSolver } from '../optimiser/highs-solver.js';
import { DEFAULT_BUDGETS } from '../planning/budgets.js';
import { InlineOptimiser } from '../planning/placement-optimiser.js';
import { catalogueOf, simulatedExperts } from './simulated-catalogue.js';
import { boardSpecs } from './simulated-fleet.js';
import { simulate, type SimulationOptions } from './simulate.js';
import type { Arrival, ChurnEvent } from './trace.js';

const optimiser = new InlineOptimiser({ exact: new HighsSolver() });
afterAll(() => optimiser.close());

const outcomes = syntheticOutcomes(240);
const experts = simulatedExperts([...DOMAINS, 'generalist']);
const NO_FAULTS = { loss: 0, duplicate: 0, reorder: 0, slow: 0, hot: 0, restarts: 0 };

function poisson(rate: number, seconds: number): readonly Arrival[] {
  const random = new SeededRandom(7);
  const arrivals: Arrival[] = [];
  for (let atMs = 0; ;) {
    atMs += (-Math.log(1 - random.uniform()) / rate) * 1000;
    if (atMs > seconds * 1000) return arrivals;
    arrivals.push({ atMs, promptTokens: 60, outputTokens: 20 + Math.floor(80 * random.uniform()) });
  }
}

function options(more: Partial<SimulationOptions> = {}): SimulationOptions {
  return {
    policy: 'fleetgate',
    devices: boardSpecs(8, experts, new SeededRandom(1)),
    arrivals: poisson(0.4, 300),
    churn: [],
    catalogue: catalogueOf(experts),
    gate: gateOf(trainGate(outcomes.filter((_, at) => at % 2 === 0))),
    prompts: outcomes.filter((_, at) => at % 2 === 1),
    budgets: DEFAULT_BUDGETS,
    faults: NO_FAULTS,
    seed: 1,
    optimiser,
    log: silentLogger,
    realMs: () => 0,
    ...more,
  };
}

describe('simulate', { timeout: 120_000 }, () => {
  it('answers everything on a fleet with room, near the best expert of each prompt, and again the same', async () => {
    const report = await simulate(options());
    expect(report).toMatchObject({ lost: 0, failed: 0, cancelled: 0, budget: null });
    expect(report.succeeded + report.refused).toBe(report.requests);
    expect(report.succeeded / report.requests).toBeGreaterThan(0.98);
    expect(report.qualityOfAnswers).toBeGreaterThan(0.62);
    expect(report.energyJ.requests).toBeGreaterThan(0);
    expect(report.energyJ.total).toBeGreaterThan(report.energyJ.requests);
    expect(await simulate(options())).toEqual(report);
  });

  it('keeps the power budget where it binds, and serves what is worth most within it', async () => {
    const free = await simulate(options());
    const powerW = 0.8 * free.meanW;
    const bound = await simulate(options({ budgets: { ...DEFAULT_BUDGETS, fleetPowerW: powerW } }));
    expect(bound.lost).toBe(0);
    // Five minutes: the backlog that makes the price is a hundredth of them.
    expect(bound.budget?.meanOver).toBeLessThan(0.02);
    expect(bound.quality).toBeLessThanOrEqual(free.quality);
  });

  it('loses no request to devices that come and go, and to messages that are lost, doubled or late', async () => {
    const churn: ChurnEvent[] = Array.from({ length: 8 }, (_, n): ChurnEvent => ({
      atMs: 0,
      kind: 'add',
      node: `n${n}`,
    }));
    for (let n = 0; n < 8; n++) {
      churn.push({ atMs: 20_000 + 30_000 * n, kind: 'remove', node: `n${n}` });
      churn.push({ atMs: 50_000 + 30_000 * n, kind: 'add', node: `n${n}` });
    }
    churn.sort((a, b) => a.atMs - b.atMs);
    const faults = { loss: 0.01, duplicate: 0.05, reorder: 0.05, slow: 0.25, hot: 0.25, restarts: 2 };
    const report = await simulate(options({ churn, faults }));
    expect(report.lost).toBe(0);
    expect(report.succeeded + report.failed + report.refused + report.cancelled).toBe(report.requests);
    expect(report.retried).toBeGreaterThan(0);
    expect(report.failed).toBe(0);
    expect(report.succeeded / report.requests).toBeGreaterThan(0.9);
  });

  it('answers better within its energy than who sees no prices', async () => {
    const greedy = await simulate(options({ policy: 'least-loaded' }));
    const ours = await simulate(options({ budgets: { ...DEFAULT_BUDGETS, fleetPowerW: greedy.meanW } }));
    expect(greedy.lost).toBe(0);
    expect(ours.quality).toBeGreaterThan(greedy.quality);
  });
});
