import { classId } from '@fleetgate/shared/ids';
import { SeededRandom } from '@fleetgate/shared/random';
import { type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import type { ClassChange } from './class-changes.js';
import { fromClassRecord, toClassRecord } from './class-record.js';
import { ClassTracker, MOST_CLASSES, RESERVOIR, type Sighting } from './class-tracker.js';
import { around, axesGate, axis, DIMENSIONS, EXPERTS, LEFT, RIGHT } from './class-tracker.fixture.js';
import { OTHER_CLASS } from './gate.js';
import { displacementOf, MOST_DISPLACEMENT_DEG, type TrackedClass } from './tracked-class.js';
import { startState, type TrackerState } from './tracker-state.js';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

function open(classes = 4): ClassTracker {
  const state = startState(axesGate(classes), unixMs(0));
  if (state === undefined) throw new Error('the gate has centroids');
  return new ClassTracker(state);
}

/** Lets a tracker see prompts a minute apart and reviews after each. */
class Stream {
  at = 0;
  readonly changes: ClassChange[] = [];
  constructor(readonly tracker: ClassTracker) {}

  see(prompt: Sighting): string {
    this.at += MINUTE;
    const id = this.tracker.classOf(prompt);
    this.tracker.observe({ ...prompt, classId: id }, this.now);
    this.review();
    return id;
  }

  review(): void {
    const change = this.tracker.review(this.now);
    if (change !== undefined) this.changes.push(change);
  }

  get now(): UnixMs {
    return unixMs(this.at);
  }
}

const unknown = { classId: OTHER_CLASS, certainty: 0.4 };
const sure = (at: number) => ({ classId: classId(`class-${at}`), certainty: 0.999 });

function ofClass(tracker: ClassTracker, id: string): TrackedClass {
  const own = tracker.state.classes.find((one) => one.id === id);
  if (own === undefined) throw new Error(`there is no class ${id}`);
  return own;
}

describe('classes nobody trained for', () => {
  test('are found among prompts of no class, with what the gate predicts of those', () => {
    const stream = new Stream(open());
    const [fresh, known] = [around(axis(9), unknown), around(axis(1), sure(1), 2)];
    for (let count = 0; count < 30; count++) {
      stream.see(known());
      stream.see(fresh());
    }
    expect(stream.changes).toMatchObject([{ kind: 'found', id: 'new-1' }]);
    const later = Array.from({ length: 40 }, () => stream.see(fresh()));
    expect(later.filter((id) => id === 'new-1').length).toBeGreaterThan(38);
    expect(stream.see(known())).toBe('class-1');
    const quality = stream.tracker.quality(classId('new-1'), RIGHT);
    expect(quality?.quality).toBeCloseTo(0.6);
    expect(quality?.outputTokens).toBeCloseTo(30);
    // No surer than the gate is of one prompt, and than experts are alike on the classes it knows.
    expect(quality?.sd).toBeCloseTo(Math.hypot(0.1, stream.tracker.state.doubt));
    expect(quality?.doubt).toBeCloseTo(stream.tracker.state.doubt);
  });

  test('are not made of prompts that lie half-way between two classes, nor of noise', () => {
    const stream = new Stream(open());
    const between = around(
      axis(0).map((value, at) => value + (axis(1)[at] ?? 0)),
      unknown,
    );
    const random = new SeededRandom(3);
    for (let count = 0; count < 200; count++) {
      stream.see(between());
      stream.see({ ...between(), embedding: Array.from({ length: DIMENSIONS }, () => random.uniform() - 0.5) });
    }
    expect(stream.changes).toEqual([]);
  });

  test('take no prompt that the gate is sure of', () => {
    const stream = new Stream(open());
    const fresh = around(axis(9), unknown);
    for (let count = 0; count < 40; count++) stream.see(fresh());
    expect(stream.tracker.found).toEqual(['new-1']);
    expect(stream.see(around(axis(9), { classId: classId('class-2'), certainty: 1 })())).toBe('class-2');
  });

  test('are forgotten without traffic, and their id is not given again', () => {
    const stream = new Stream(open());
    for (let count = 0, fresh = around(axis(9), unknown); count < 40; count++) stream.see(fresh());
    stream.at += 8 * DAY;
    stream.review();
    expect(stream.changes.at(-1)).toMatchObject({ kind: 'forgotten', id: 'new-1' });
    expect(stream.tracker.quality(classId('new-1'), LEFT)).toBeUndefined();
    for (let count = 0, fresh = around(axis(9), unknown); count < 40; count++) stream.see(fresh());
    expect(stream.tracker.found).toEqual(['new-2']);
  });

  test('become one with a class that they have come to', () => {
    const tracked = open();
    const { state } = tracked;
    const twin = { ...ofClass(tracked, 'class-0'), id: classId('new-1'), origin: 'found' as const };
    const mean = new Float64Array(3 * EXPERTS.length).fill(0.5);
    const tracker = new ClassTracker({
      ...state,
      classes: [...state.classes, twin],
      qualities: new Map([[twin.id, { mean, prompts: 9 }]]),
      births: 1,
    });
    expect(tracker.review(unixMs(MINUTE))).toMatchObject({ kind: 'merged', id: 'new-1', into: 'class-0' });
    expect(tracker.found).toEqual([]);
  });

  test('come no faster than one in ten minutes', () => {
    const stream = new Stream(open());
    const [one, other] = [around(axis(9), unknown), around(axis(11), unknown, 2)];
    for (let count = 0; count < 60; count++) {
      stream.at -= MINUTE;
      stream.tracker.observe(one(), unixMs(stream.at));
      stream.see(other());
      stream.at += 1;
    }
    expect(stream.changes.length).toBeLessThanOrEqual(1);
    stream.at += 11 * MINUTE;
    stream.review();
    expect(stream.tracker.found).toHaveLength(2);
  });
});

describe('a trained class', () => {
  test('is followed as its prompts drift', () => {
    const stream = new Stream(open());
    const drifted = axis(2).map((value, at) => value + 0.3 * (axis(12)[at] ?? 0));
    const prompts = around(drifted, sure(2));
    for (let count = 0; count < 600; count++) stream.see(prompts());
    const followed = ofClass(stream.tracker, 'class-2');
    const still = ofClass(stream.tracker, 'class-1');
    expect(displacementOf(followed)).toBeGreaterThan(8);
    expect(followed.centre[12]).toBeGreaterThan(0.15);
    expect(displacementOf(still)).toBe(0);
  });

  test('never becomes another, however far its prompts are', () => {
    const stream = new Stream(open());
    const prompts = around(axis(12), sure(2));
    for (let count = 0; count < 1500; count++) stream.see(prompts());
    const displacement = displacementOf(ofClass(stream.tracker, 'class-2'));
    expect(displacement).toBeGreaterThan(MOST_DISPLACEMENT_DEG - 0.1);
    expect(displacement).toBeLessThanOrEqual(MOST_DISPLACEMENT_DEG + 1e-6);
  });
});

const sighting: fc.Arbitrary<Sighting> = fc.record({
  classId: fc.constantFrom(OTHER_CLASS, ...[0, 1, 2, 3].map((at) => classId(`class-${at}`)), classId('unheard-of')),
  certainty: fc.constantFrom(0, 0.3, 0.6, 0.95, 1, NaN),
  novelty: fc.constantFrom(0, 0.4, 0.7, 1),
  embedding: fc.oneof(
    fc.nat({ max: DIMENSIONS - 1 }).map((at) => [...axis(at)]),
    fc.array(fc.double(), { minLength: DIMENSIONS, maxLength: DIMENSIONS }),
    fc.constant(Array.from({ length: DIMENSIONS }, () => 0)),
    fc.constant([1, 0]),
  ),
  experts: fc.constantFrom(
    new Map(),
    new Map(EXPERTS.map((expert) => [expert, { quality: 0.5, sd: 0.2, outputTokens: 9 }])),
    new Map(EXPERTS.map((expert) => [expert, { quality: NaN, sd: Infinity, outputTokens: -1 }])),
  ),
});

/** What a stream of prompts, each repeated, leaves. */
function after(prompts: readonly (readonly [Sighting, number])[], check: (state: TrackerState) => void): TrackerState {
  const stream = new Stream(open());
  for (const [prompt, times] of prompts) {
    for (let time = 0; time < times; time++) stream.see(prompt);
    check(stream.tracker.state);
  }
  return stream.tracker.state;
}

test('property: whatever comes, memory is bounded, figures are finite, no trained class leaves its place', () => {
  const stream = fc.array(fc.tuple(sighting, fc.constantFrom(1, 30, 270)), { maxLength: 5 });
  fc.assert(
    fc.property(stream, (prompts) => {
      const once = after(prompts, ({ classes, strays, qualities }) => {
        expect(classes.length).toBeLessThanOrEqual(MOST_CLASSES);
        expect(strays.length).toBeLessThanOrEqual(RESERVOIR);
        expect(qualities.size).toBe(classes.filter(({ origin }) => origin === 'found').length);
        expect(classes.slice(0, 4).map(({ id }) => id)).toEqual(['class-0', 'class-1', 'class-2', 'class-3']);
        for (const one of classes) {
          expect(displacementOf(one)).toBeLessThanOrEqual(MOST_DISPLACEMENT_DEG + 1e-6);
          expect(Number.isFinite(one.cosine + one.cosineSquare + one.weight + one.recent)).toBe(true);
          expect(Math.hypot(...one.centre)).toBeCloseTo(1);
        }
      });
      expect(after(prompts, () => {})).toEqual(once);
      const record = JSON.parse(JSON.stringify(toClassRecord({ gate: 'g', state: once }))) as unknown;
      const { state } = fromClassRecord(record);
      expect(state.classes.map(({ id, seen }) => [id, seen])).toEqual(once.classes.map(({ id, seen }) => [id, seen]));
      state.classes.forEach(({ centre }, at) => {
        centre.forEach((value, k) => expect(value).toBeCloseTo(once.classes[at]?.centre[k] ?? NaN, 4));
      });
    }),
    { numRuns: 25 },
  );
});

test('a record that is damaged or of another version is refused', () => {
  const record = toClassRecord({ gate: 'g', state: open().state });
  for (const wrong of [
    undefined,
    [],
    { ...record, schema: 'fleetgate-classes/2' },
    { ...record, origin: [1] },
    { ...record, classes: [...record.classes, record.classes[0]] },
    { ...record, strays: [{ place: [NaN], predicted: [], at: 0 }] },
  ]) {
    expect(() => fromClassRecord(wrong)).toThrow(/class record/);
  }
});

test('a gate that says nothing of where prompts lie is not followed', () => {
  const silent = { ...axesGate(3), describe: () => undefined };
  expect(startState(silent, unixMs(0))).toBeUndefined();
});
