import { expect, test } from 'vitest';

import { evaluateGate } from './evaluate-gate.js';

const pair = (task: string, y: Record<string, number>, quality: Record<string, number>) => ({
  truth: { task, y },
  prediction: { quality, sd: Object.fromEntries(Object.keys(quality).map((name) => [name, 0.1])) },
});

test('a gate that is always right captures the whole gain of the oracle', () => {
  const result = evaluateGate([
    pair('x', { a: 1, b: 0 }, { a: 1, b: 0 }),
    pair('y', { a: 0, b: 0.8 }, { a: 0, b: 0.8 }),
  ]);
  expect(result).toMatchObject({ choice: 0.9, oracle: 0.9, capturedOverBestSingle: 1, meanAbsoluteError: 0, ece: 0 });
  expect(result.bestSingle).toEqual({ model: 'a', quality: 0.5 });
  expect(result.confusion).toEqual({ x: { a: 1 }, y: { b: 1 } });
});

test('calibration counts the mean error of each bin, not of each prompt', () => {
  const result = evaluateGate([pair('x', { a: 1 }, { a: 0.55 }), pair('x', { a: 0 }, { a: 0.55 })]);
  expect(result.models[0]).toMatchObject({ outcomes: 2, meanQuality: 0.5, withinOneSd: 0 });
  expect(result.models[0]?.meanAbsoluteError).toBeCloseTo(0.5, 9);
  expect(result.models[0]?.ece).toBeCloseTo(0.05, 9);
});

test('a model without an outcome on a prompt is no choice there, and no best single when others were always measured', () => {
  const result = evaluateGate([
    pair('x', { a: 0.4 }, { a: 0.4, b: 1 }),
    pair('x', { a: 0.4, b: 1 }, { a: 0.4, b: 0.2 }),
  ]);
  expect(result.choice).toBeCloseTo(0.4, 9);
  expect(result.bestSingle.model).toBe('a');
});

test('without anything to gain the captured share is unknown', () => {
  expect(evaluateGate([pair('x', { a: 0.5 }, { a: 0.5 })]).capturedOverBestSingle).toBeNull();
  expect(evaluateGate([]).prompts).toBe(0);
});
