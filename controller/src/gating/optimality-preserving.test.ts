import { fileURLToPath } from 'node:url';

import * as fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';

import { readOutcomes } from './disk-outcomes.js';
import { LinearScorer } from './linear-scorer.js';
import type { Outcome } from './outcomes.js';
import { trainGate } from './train-gate.js';

const BUNDLED = fileURLToPath(new URL('../../../experts/outcomes/bundled.jsonl.gz', import.meta.url));
const TRAINED_ON = 120;
const HELD_OUT = 60;
const TOLERANCE = 1e-9;

let trained: readonly Outcome[] = [];
let heldOut: readonly Outcome[] = [];
let names: readonly string[] = [];
let full: Predictor;
beforeAll(async () => {
  const all: Outcome[] = [];
  for await (const outcome of readOutcomes(BUNDLED)) all.push(outcome);
  const step = Math.floor(all.length / (TRAINED_ON + HELD_OUT));
  const sample = all.filter((_, at) => at % step === 0).slice(0, TRAINED_ON + HELD_OUT);
  trained = sample.filter((_, at) => at % 3 !== 0);
  heldOut = sample.filter((_, at) => at % 3 === 0);
  names = Object.keys(sample[0]?.y ?? {}).sort();
  full = predictorOf(trained);
});

/** What a gate says of a prompt, by expert: [quality, sd, answer length]. */
type Predictor = (prompt: string) => ReadonlyMap<string, readonly number[]>;

function predictorOf(outcomes: readonly Outcome[]): Predictor {
  const model = trainGate(outcomes);
  const scorer = new LinearScorer(model);
  return (prompt) => {
    const { quality, sd, outputTokens } = scorer.score(prompt);
    return new Map(
      model.experts.map(({ name }, at) => [name, [quality[at] ?? NaN, sd[at] ?? NaN, outputTokens[at] ?? NaN]]),
    );
  };
}

/** The same prompts and tasks with the outcomes of `selection` alone. */
function onlyOf(outcomes: readonly Outcome[], selection: readonly string[]): Outcome[] {
  const kept = new Set(selection);
  const pick = <T>(values: Readonly<Record<string, T>>) =>
    Object.fromEntries(Object.entries(values).filter(([name]) => kept.has(name)));
  return outcomes.map((outcome) => ({ ...outcome, y: pick(outcome.y), out_tok: pick(outcome.out_tok ?? {}) }));
}

/** The member of `selection` that is predicted best; ties go to the first name. */
function choiceOf(predictor: Predictor, prompt: string, selection: readonly string[]) {
  const predictions = predictor(prompt);
  const quality = (name: string) => predictions.get(name)?.[0] ?? -Infinity;
  const name = selection.reduce((best, one) => (quality(one) > quality(best) ? one : best), selection[0] ?? '');
  return { name, quality: quality(name) };
}

/** F(S): the best routing's predicted quality, mean over the held-out prompts. */
const valueOf = (predictor: Predictor, selection: readonly string[]) =>
  heldOut.reduce((sum, { prompt }) => sum + choiceOf(predictor, prompt, selection).quality, 0) / heldOut.length;

function expectSameGate(masked: Predictor, retrained: Predictor, selection: readonly string[]): void {
  for (const { prompt } of heldOut) {
    const [all, own] = [masked(prompt), retrained(prompt)];
    expect([...own.keys()].sort()).toEqual([...selection].sort());
    for (const name of selection) {
      own
        .get(name)
        ?.forEach((value, at) => expect(Math.abs(value - (all.get(name)?.[at] ?? NaN))).toBeLessThan(TOLERANCE));
    }
    expect(choiceOf(retrained, prompt, selection).name).toBe(choiceOf(masked, prompt, selection).name);
  }
  expect(Math.abs(valueOf(masked, selection) - valueOf(retrained, selection))).toBeLessThan(TOLERANCE);
}

const selections = () => fc.subarray([...names], { minLength: 1 });

describe('the optimality-preserving property', () => {
  test('the gate of all experts, masked to any selection, is the gate trained on that selection', () => {
    fc.assert(
      fc.property(selections(), (selection) =>
        expectSameGate(full, predictorOf(onlyOf(trained, selection)), selection),
      ),
      { numRuns: 6, seed: 11 },
    );
  });

  test('also where experts were measured on different prompts', () => {
    const partial = trained.map((outcome, row) => ({
      ...outcome,
      y: Object.fromEntries(Object.entries(outcome.y).filter((_, at) => (row + at) % 4 !== 0)),
    }));
    const gate = predictorOf(partial);
    fc.assert(
      fc.property(selections(), (selection) =>
        expectSameGate(gate, predictorOf(onlyOf(partial, selection)), selection),
      ),
      { numRuns: 3, seed: 12 },
    );
  });

  test("changing one expert's outcomes changes no other expert's predictions", () => {
    const [changed = '', ...others] = names;
    const other = predictorOf(
      trained.map((one) => ({ ...one, y: { ...one.y, [changed]: 1 - (one.y[changed] ?? 0) } })),
    );
    for (const { prompt } of heldOut) {
      for (const name of others) expect(other(prompt).get(name)).toEqual(full(prompt).get(name));
    }
    expect(heldOut.some(({ prompt }) => other(prompt).get(changed)?.[0] !== full(prompt).get(changed)?.[0])).toBe(true);
  });

  test('F(S) = best routing never falls when an expert is added', () => {
    fc.assert(
      fc.property(selections(), fc.nat(names.length - 1), (selection, at) => {
        const more = [...new Set([...selection, names[at] ?? ''])];
        expect(valueOf(full, more)).toBeGreaterThanOrEqual(valueOf(full, selection) - TOLERANCE);
      }),
      { numRuns: 25, seed: 13 },
    );
  });
});
