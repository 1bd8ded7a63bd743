import { classId, expertId } from '@fleetgate/shared/ids';
import { unixMs } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import { correctionOf } from './adaptation.js';
import type { Evidence } from './evidence.js';
import { GATE, observations } from './evidence.fixture.js';
import { type Adaptation, type CycleResult, emptyAdaptation, learningCycle } from './learning-cycle.js';

const law = classId('law');

/** Batches one after the other; what was dropped is gone for those that follow. */
function learn(batches: readonly (readonly Evidence[])[]): {
  readonly results: readonly CycleResult[];
  readonly adaptation: Adaptation;
} {
  let adaptation = emptyAdaptation(GATE);
  let evidence: readonly Evidence[] = [];
  const results = batches.map((batch) => {
    evidence = [...evidence, ...batch];
    const result = learningCycle(evidence, adaptation, GATE, unixMs((evidence.at(-1)?.at ?? 0) + 1));
    adaptation = result.adaptation;
    evidence = evidence.filter(({ id }) => !result.dropped.includes(id));
    return result;
  });
  return { results, adaptation };
}

const kinds = (result: CycleResult | undefined): readonly string[] => (result?.events ?? []).map(({ kind }) => kind);
const shiftOf = (adaptation: Adaptation): number => {
  const fit = adaptation.experts['law']?.fit;
  return fit === undefined ? 0 : correctionOf(fit, law, undefined).shift;
};
const good = (from: number, count = 60): readonly Evidence[] =>
  observations(count, 0.5, { from, predicted: 0.3, seed: from + 1 });
/** Every label wrong. */
const poison = (from: number, count = 60): readonly Evidence[] =>
  observations(count, 0.02, { from, predicted: 0.3, seed: from + 2 });

describe('a batch of evidence', () => {
  it('goes live where it predicts the held-back window better', () => {
    const { results, adaptation } = learn([good(0)]);
    expect(kinds(results[0])).toEqual(['gate.updated']);
    expect(results[0]?.events[0]?.errorAfter).toBeLessThan(results[0]?.events[0]?.errorBefore ?? 0);
    expect(adaptation.version).toBe(1);
    expect(shiftOf(adaptation)).toBeGreaterThan(0.12);
  });

  it('waits while too little is held back to judge it', () => {
    const { results, adaptation } = learn([good(0, 6)]);
    expect(kinds(results[0])).toEqual([]);
    expect(adaptation.version).toBe(0);
  });

  it('is rejected when all its labels are wrong, and dropped once the next one agrees with what was known', () => {
    const { results, adaptation } = learn([good(0), good(1000), poison(2000), good(3000)]);
    expect(results.map(kinds)).toEqual([['gate.updated'], ['gate.updated'], ['gate.rejected'], ['gate.updated']]);
    expect(results[3]?.dropped).toHaveLength(60);
    expect(shiftOf(adaptation)).toBeGreaterThan(0.15);
  });

  it('is taken for a change of the world when three in a row say the same', () => {
    const later = [2000, 3000, 4000].map((from) => observations(90, 0.42, { from, predicted: 0.3, seed: from }));
    const { results, adaptation } = learn([good(0, 200), ...later]);
    expect(results.slice(1).map(kinds)).toEqual([['gate.rejected'], ['gate.rejected'], ['gate.updated']]);
    expect(shiftOf(adaptation)).toBeLessThan(shiftOf(learn([good(0, 200)]).adaptation) - 0.02);
  });

  it('concerns only the experts it is of', () => {
    const other = observations(60, 0.1, { from: 5000, predicted: 0.3, expert: expertId('math'), seed: 9 });
    const { adaptation } = learn([good(0), other]);
    const alone = learn([good(0)]).adaptation;
    expect(adaptation.experts['law']).toEqual(alone.experts['law']);
  });

  it('is of its own trained gate: a new gate begins anew and keeps counting versions', () => {
    const first = learn([good(0)]).adaptation;
    const { adaptation } = learningCycle(good(0), first, 'gate-b', unixMs(9000));
    expect(adaptation).toMatchObject({ gate: 'gate-b', version: 2, experts: {} });
  });
});

describe('a correction in use', () => {
  it('is rolled back when what comes later speaks against it', () => {
    // The expert is worse than the trained gate says from now on.
    const { results, adaptation } = learn([good(0), poison(5000), poison(6000)]);
    expect(results.slice(1).map(kinds)).toEqual([['gate.rejected'], ['gate.rolled-back']]);
    expect(adaptation.experts['law']?.fit).toBeUndefined();
    const [event] = results[2]?.events ?? [];
    expect(event?.errorAfter).toBeLessThan(event?.errorBefore ?? 0);
  });

  it('is learned anew after that, when the world stays as it is', () => {
    const { adaptation } = learn([good(0), poison(5000), poison(6000), poison(7000, 300), poison(8000, 300)]);
    expect(shiftOf(adaptation)).toBeLessThan(-0.1);
  });

  it('stays where later evidence agrees', () => {
    const { results } = learn([good(0), good(1000), good(2000), good(3000)]);
    expect(results.flatMap(kinds)).not.toContain('gate.rolled-back');
  });
});
