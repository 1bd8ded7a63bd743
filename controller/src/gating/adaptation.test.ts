import { classId, expertId } from '@fleetgate/shared/ids';
import { unixMs } from '@fleetgate/shared/units/quantity';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { corrected, correctionOf, type ExpertFit, fitExpert, MOST_CORRECTION } from './adaptation.js';
import { withCorrections } from './adapted-gate.js';
import { EVIDENCE_SOURCES, type Evidence, evidenceId } from './evidence.js';
import { anEvidence, GATE, observations } from './evidence.fixture.js';
import type { ExpertScore, Gate } from './gate.js';
import { calibrate } from './source-calibration.js';

const law = classId('law');
const math = classId('math');
const NOW = unixMs(10_000);
const fit = (evidence: readonly Evidence[]): ExpertFit => fitExpert(evidence, calibrate(evidence), NOW);

const unit = fc.double({ min: 0, max: 1, noNaN: true });
const anyEvidence = fc
  .record({
    subject: fc.string({ minLength: 1, maxLength: 8 }),
    source: fc.constantFrom(...EVIDENCE_SOURCES),
    expert: fc.constantFrom(expertId('law'), expertId('math'), expertId('code')),
    classId: fc.constantFrom(law, math),
    value: unit,
    predicted: unit,
    sd: fc.double({ min: 0, max: 0.5, noNaN: true }),
    embedding: fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 3, maxLength: 3 }),
  })
  .map((parts) => anEvidence({ ...parts, id: evidenceId(parts.source, parts.subject, parts.expert) }));

describe('a correction', () => {
  it('moves a prediction towards what references say, the more of them the further', () => {
    const shift = (count: number) =>
      correctionOf(fit(observations(count, 0.5, { from: 0, predicted: 0.3 })), law, undefined).shift;
    expect(shift(2)).toBeGreaterThan(0.05);
    expect(shift(20)).toBeGreaterThan(shift(2));
    expect(shift(200)).toBeCloseTo(0.2, 1);
  });

  it('is learned by class: what is seen of one class moves another less', () => {
    const only = fit(observations(60, 0.5, { from: 0, predicted: 0.3 }));
    expect(correctionOf(only, math, undefined).shift).toBeLessThan(0.6 * correctionOf(only, law, undefined).shift);
  });

  it('is learned by place: prompts near those that were better are taken for better', () => {
    const here = observations(40, 0.5, { from: 0, predicted: 0.3, embedding: [1, 0] });
    const there = observations(40, 0.3, { from: 100, predicted: 0.3, embedding: [0, 1], seed: 2 });
    const both = fit([...here, ...there]);
    expect(correctionOf(both, law, [1, 0]).shift).toBeGreaterThan(correctionOf(both, law, [0, 1]).shift + 0.05);
  });

  it('gives the posterior of the regression: as solved from its normal equations', () => {
    fc.assert(
      fc.property(fc.array(anyEvidence, { minLength: 1, maxLength: 12 }), (evidence) => {
        const own = evidence.filter(({ expert }) => expert === evidence[0]?.expert);
        const learned = fitExpert(own, calibrate(evidence), NOW);
        const dense = (name: string, place: readonly number[]): readonly number[] => [
          1,
          ...learned.classes.map((one) => Number(one === name)),
          ...place,
        ];
        const place = [0.6, 0.8, -0.2];
        const x = dense('law', place);
        const cell = (i: number, j: number): number =>
          learned.settled[(Math.max(i, j) * (Math.max(i, j) + 1)) / 2 + Math.min(i, j)] ?? NaN;
        const settled = x.reduce((sum, a, i) => sum + x.reduce((part, b, j) => part + a * b * cell(i, j), 0), 0);
        const shift = x.reduce((sum, a, i) => sum + a * (learned.mean[i] ?? NaN), 0);
        const given = correctionOf(learned, law, place);
        expect(given.settled).toBeCloseTo(Math.max(0, settled), 9);
        expect(given.shift).toBeCloseTo(Math.min(MOST_CORRECTION, Math.max(-MOST_CORRECTION, shift)), 9);
      }),
    );
  });

  it('counts a thumb for much less than a reference', () => {
    const thumbs = observations(10, 1, { from: 0, source: 'feedback', predicted: 0.3, value: 1 });
    const references = observations(10, 0.7, { from: 0, predicted: 0.3, value: 0.7 });
    expect(correctionOf(fit(thumbs), law, undefined).shift).toBeLessThan(
      0.5 * correctionOf(fit(references), law, undefined).shift,
    );
  });

  it('stays bounded and finite whatever the evidence says, contradictions included', () => {
    fc.assert(
      fc.property(fc.array(anyEvidence, { minLength: 1, maxLength: 40 }), (evidence) => {
        const own = evidence.filter(({ expert }) => expert === evidence[0]?.expert);
        const learned = fitExpert(own, calibrate(evidence), NOW);
        for (const place of [undefined, [1, 0, 0], [-1, 1, 1]]) {
          const { shift, settled } = correctionOf(learned, law, place);
          expect(Math.abs(shift)).toBeLessThanOrEqual(MOST_CORRECTION);
          expect(Number.isFinite(settled)).toBe(true);
        }
      }),
    );
  });

  it('comes to nothing where half of the evidence says one thing and half the opposite', () => {
    const up = observations(50, 0.6, { from: 0, predicted: 0.4, seed: 3 });
    const down = observations(50, 0.2, { from: 100, predicted: 0.4, seed: 3 });
    expect(Math.abs(correctionOf(fit([...up, ...down]), law, undefined).shift)).toBeLessThan(0.02);
  });

  it('makes the error bar and the doubt smaller, never larger', () => {
    const score: ExpertScore = { quality: 0.3, sd: 0.25, doubt: 0.25, outputTokens: 10 };
    const after = corrected(score, correctionOf(fit(observations(24, 0.5, { from: 0, sd: 0.25 })), law, undefined));
    expect(after.sd).toBeLessThan(score.sd);
    expect(after.doubt).toBeLessThan(0.15);
    expect(after.unlearned).toEqual({ quality: 0.3, sd: 0.25, doubt: 0.25 });
  });
});

describe('a gate with corrections', () => {
  const names = ['law', 'math', 'code'].map(expertId);
  const scores = new Map(
    names.map((name): [typeof name, ExpertScore] => [name, { quality: 0.3, sd: 0.1, outputTokens: 9 }]),
  );
  const gate: Gate = {
    experts: names,
    classes: [law, math],
    trainedOn: 1,
    score: () => ({ classId: law, promptTokens: 3, experts: scores, embedding: [1, 0, 0] }),
    classQuality: (_, expert) => scores.get(expert),
  };
  const adapted = (fits: readonly ExpertFit[], fingerprint = GATE): Gate =>
    withCorrections(
      gate,
      () => fingerprint,
      () => ({ gate: GATE, revision: 0, fits: new Map(fits.map((one) => [one.expert, one])) }),
    );

  it('lets the evidence of one expert never change what it says of another', () => {
    fc.assert(
      fc.property(fc.array(anyEvidence, { minLength: 1, maxLength: 30 }), (evidence) => {
        const calibrations = calibrate(evidence);
        const ownOf = (expert: string) => evidence.filter((one) => one.expert === expert);
        const fits = names.flatMap((name) =>
          ownOf(name).length === 0 ? [] : [fitExpert(ownOf(name), calibrations, NOW)],
        );
        const all = adapted(fits).score('x');
        for (const fit of fits) {
          const alone = adapted([fit]);
          expect(alone.score('x').experts.get(fit.expert)).toEqual(all.experts.get(fit.expert));
          expect(alone.classQuality(law, fit.expert)).toEqual(adapted(fits).classQuality(law, fit.expert));
        }
      }),
    );
  });

  it('corrects what planning sees of a class as well', () => {
    const learned = fit(observations(60, 0.5, { from: 0, predicted: 0.3 }));
    expect(adapted([learned]).classQuality(law, expertId('law'))?.quality).toBeCloseTo(0.5, 1);
    expect(adapted([learned]).classQuality(law, expertId('math'))?.quality).toBe(0.3);
  });

  it('leaves another trained gate alone', () => {
    const learned = fit(observations(60, 0.5, { from: 0, predicted: 0.3 }));
    expect(adapted([learned], 'gate-b').score('x').experts).toBe(scores);
  });
});
