import { describe, expect, test } from 'vitest';

import { gateReport, type ReportedPrompt } from './gate-report.js';

const prompt = (task: string, y: Record<string, number>, predicted: Record<string, number>): ReportedPrompt => ({
  truth: { task, y },
  predicted,
  cost: { small: 1, large: 4 },
});

describe('the report on a gate', () => {
  const prompts = [
    prompt('easy', { small: 1, large: 1 }, { small: 0.9, large: 0.8 }),
    prompt('easy', { small: 1, large: 1 }, { small: 0.9, large: 0.8 }),
    prompt('hard', { small: 0, large: 1 }, { small: 0.2, large: 0.6 }),
    prompt('hard', { small: 1, large: 0 }, { small: 0.2, large: 0.6 }),
  ];
  const report = gateReport(prompts);

  test('sets the gate beside the oracle, the best single model, chance and the cheapest', () => {
    expect(report?.oracle.gate).toEqual({ quality: 0.75, cost: 2.5 });
    // Of two right answers the oracle takes the cheaper.
    expect(report?.oracle.oracle).toEqual({ quality: 1, cost: 1.75 });
    expect(report?.oracle.references).toEqual([
      { name: 'large', quality: 0.75, cost: 4, captured: 0 },
      { name: 'a model at random', quality: 0.75, cost: 2.5, captured: 0 },
      { name: 'cheapest: small', quality: 0.75, cost: 1, captured: 0 },
    ]);
  });

  test('says of each class what each model is worth, costs and is asked', () => {
    expect(report?.classes.map(({ task, prompts: count }) => [task, count])).toEqual([
      ['easy', 2],
      ['hard', 2],
    ]);
    expect(report?.classes[1]?.models[0]).toMatchObject({ model: 'large', quality: 0.5, gain: 0, chosen: 1, cost: 4 });
    expect(report?.specialisation).toHaveLength(2);
  });

  test('leaves models out that some prompts have no outcome of, and costs that are not known', () => {
    const [first, ...rest] = prompts.map((one) => ({ ...one, cost: {} }));
    if (first === undefined) throw new Error('no prompt');
    const more = { ...first, truth: { ...first.truth, y: { ...first.truth.y, rare: 1 } } };
    const partial = gateReport([more, ...rest]);
    expect(partial?.classes[0]?.models.map(({ model }) => model)).toEqual(['large', 'small']);
    expect(partial?.oracle.gate.cost).toBeNull();
    expect(partial?.oracle.references).toHaveLength(2);
    expect(gateReport([])).toBeUndefined();
    expect(gateReport([prompt('x', { a: 1 }, { a: 1 })])).toBeUndefined();
  });
});
