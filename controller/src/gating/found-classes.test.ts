import { classId, expertId } from '@fleetgate/shared/ids';
import { type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import { around, axesGate, axis, RIGHT } from './class-tracker.fixture.js';
import { ClassTracker } from './class-tracker.js';
import { withFoundClasses } from './found-classes.js';
import { type Gate, type GateScore, OTHER_CLASS } from './gate.js';
import { startState } from './tracker-state.js';
import { withUnknownExperts } from './unknown-expert.js';

const fresh = classId('new-1');
const sighting = around(axis(9), { classId: OTHER_CLASS, certainty: 0.4 });

/** A gate for which every prompt is one of no class, followed until a class was found. */
function found(): { readonly gate: Gate; readonly tracker: ClassTracker; readonly at: UnixMs } {
  const trained: Gate = { ...axesGate(4), score: (): GateScore => ({ promptTokens: 5, ...sighting() }) };
  const state = startState(trained, unixMs(0));
  if (state === undefined) throw new Error('the gate has centroids');
  const tracker = new ClassTracker(state);
  const gate = withFoundClasses(trained, () => tracker);
  const before = gate.classes;
  for (let count = 1; count <= 40; count++) tracker.observe(gate.score('a prompt'), unixMs(count));
  const at = unixMs(60_000);
  expect(gate.classes).toBe(before);
  tracker.review(at);
  return { gate, tracker, at };
}

describe('a gate with classes found in the traffic', () => {
  it('puts prompts into them and holds them for planning', () => {
    const { gate } = found();
    expect(gate.classes).toContain(fresh);
    expect(gate.classes).toBe(gate.classes);
    const score = gate.score('a prompt');
    expect(score.classId).toBe(fresh);
    expect(score.experts.get(RIGHT)).toEqual({ ...gate.classQuality(fresh, RIGHT), quality: expect.closeTo(0.6) });
    expect(gate.describe?.(fresh)).toMatchObject({ followed: { origin: 'found' } });
  });

  it('does not take its own doubt for a spread of the prompts', () => {
    const { gate, tracker, at } = found();
    const before = gate.classQuality(fresh, RIGHT);
    for (let count = 1; count <= 300; count++) tracker.observe(gate.score('a prompt'), at);
    expect(gate.classQuality(fresh, RIGHT)?.sd).toBeCloseTo(before?.sd ?? NaN);
  });

  it('knows of experts that the gate was not trained on what their cards say', () => {
    const { gate } = found();
    const late = expertId('late');
    const all = withUnknownExperts(gate, () => [{ id: late, domains: [], bitsPerByte: { law: 1 } }]);
    expect(all.classQuality(fresh, late)?.quality).toBeCloseTo(0.5);
    expect(all.score('a prompt').experts.get(late)?.quality).toBeCloseTo(0.5);
    expect(all.describe?.(fresh)).toMatchObject({ followed: { origin: 'found' } });
  });
});
