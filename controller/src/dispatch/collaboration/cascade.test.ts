import { deviceId, expertId, variantId } from '@fleetgate/shared/ids';
import { joules, milliseconds } from '@fleetgate/shared/units/quantity';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { fitConfidence } from '../../gating/confidence.js';
import { backgroundFrom } from './brief.js';
import { planCascade, qualityAfter } from './cascade.js';
import { affordable, affordableTokens, type Member } from './members.js';

const aMember = (name: string, quality: number, energy: number, price = 0.01): Member => ({
  expertId: expertId(name),
  variantId: variantId(`${name}-q8`),
  deviceId: deviceId('a'),
  quality,
  energy: joules(energy),
  latency: milliseconds(100),
  value: quality - price * energy,
});

const quality = fc.double({ min: 0, max: 1, noNaN: true });
const members = fc
  .array(fc.tuple(quality, fc.double({ min: 0.1, max: 10, noNaN: true })), { minLength: 1, maxLength: 6 })
  .map((all) => all.map(([of, energy], at) => aMember(`e${at}`, of, energy)));
const confidence = { mean: -1, sd: 0.5, slope: 0.2 };

describe('cascade', () => {
  it('is worth at least what the best member alone is worth after another was asked first', () => {
    fc.assert(
      fc.property(members, (all) => {
        const plan = planCascade(all, () => confidence);
        expect(plan).toBeDefined();
        if (plan?.next === undefined) return;
        const sunk = plan.first.quality - plan.first.value;
        expect(plan.value + 1e-9).toBeGreaterThanOrEqual(Math.max(plan.first.quality, plan.next.value) - sunk);
      }),
    );
  });

  it('gives the value that playing it out gives', () => {
    const plan = planCascade([aMember('a', 0.5, 1), aMember('b', 0.6, 5)], () => confidence);
    expect(plan).toMatchObject({
      first: { expertId: 'a' },
      next: { expertId: 'b' },
      threshold: expect.closeTo(0.55, 9),
    });
    let sum = 0;
    const rounds = 4000;
    for (let round = 0; round < rounds; round++) {
      // quantiles of a normal distribution, so that no chance is in it
      const u = (round + 0.5) / rounds;
      const z = Math.sign(u - 0.5) * Math.sqrt(-Math.log(1 - (2 * u - 1) ** 2) * (Math.PI / 2));
      const after = 0.5 + confidence.slope * confidence.sd * z;
      sum += after >= 0.55 ? after : 0.55;
    }
    expect(plan?.value).toBeCloseTo(sum / rounds - 0.01, 2);
  });

  it('moves the predicted quality with the sureness of the answer, within 0 and 1', () => {
    expect(qualityAfter(aMember('a', 0.5, 1), confidence, undefined)).toBe(0.5);
    expect(qualityAfter(aMember('a', 0.5, 1), confidence, -0.5)).toBeCloseTo(0.6, 12);
    expect(qualityAfter(aMember('a', 0.1, 1), confidence, -9)).toBe(0);
  });

  it('fits the slope of validation answers, and none where there is none', () => {
    const answers = Array.from({ length: 200 }, (_, at) => {
      const meanLogProb = -1 + 0.01 * (at % 100);
      return { meanLogProb, predicted: 0.5, actual: 0.5 + 0.3 * (meanLogProb + 0.5) };
    });
    const fitted = fitConfidence(answers);
    expect(fitted?.mean).toBeCloseTo(-0.505, 3);
    expect(fitted?.slope).toBeCloseTo(0.28, 1);
    expect(fitConfidence(answers.map((one) => ({ ...one, actual: 1 - one.actual })))?.slope).toBe(0);
    expect(fitConfidence(answers.slice(0, 19))).toBeUndefined();
  });
});

describe('members', () => {
  it('are never more than a request may call, nor of more energy than it may use', () => {
    const caps = fc.record({
      calls: fc.integer({ min: 0, max: 6 }),
      energy: fc.double({ min: 0, max: 20, noNaN: true }),
    });
    fc.assert(
      fc.property(members, caps, (all, { calls, energy }) => {
        const taken = affordable(all, { calls, energy: joules(energy), latency: undefined });
        expect(taken.length).toBeLessThanOrEqual(calls);
        expect(taken.reduce((sum, member) => sum + member.energy, 0)).toBeLessThanOrEqual(energy + 1e-9);
      }),
    );
  });

  it('answer in as many tokens as the joules allow', () => {
    const energyOf = (tokens: number) => joules(1 + 0.1 * tokens);
    expect(affordableTokens(energyOf, undefined, 100)).toBe(100);
    expect(affordableTokens(energyOf, joules(20), 100)).toBe(100);
    expect(affordableTokens(energyOf, joules(6.01), 100)).toBe(50);
    expect(affordableTokens(energyOf, joules(1), 100)).toBe(0);
  });
});

describe('background', () => {
  it('keeps relevant sentences once, in order, within its length', () => {
    const answer = 'Insulin treats diabetes. Dogs bark.\nInsulin treats diabetes. Treating diabetes takes time.';
    const kept = backgroundFrom('How do you treat diabetes?', answer);
    expect(kept).toEqual({
      text: 'Insulin treats diabetes. Treating diabetes takes time.',
      keptSentences: 2,
      droppedSentences: 2,
    });
    expect(backgroundFrom('How do you treat diabetes?', answer, 30).keptSentences).toBe(1);
  });

  it('is bounded and never throws, whatever was written', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 2000 }), fc.string({ maxLength: 200 }), (answer, question) => {
        expect(backgroundFrom(question, answer, 100).text.length).toBeLessThanOrEqual(100);
      }),
    );
  });
});
