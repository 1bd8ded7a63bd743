import { classId, expertId } from '@fleetgate/shared/ids';
import { SeededRandom } from '@fleetgate/shared/random';
import { unixMs } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import { correctionOf, fitExpert } from './adaptation.js';
import { type Evidence, evidenceId, type EvidenceSource } from './evidence.js';
import { calibrate } from './source-calibration.js';

const NOW = unixMs(1_700_000_000_000);
const [dialogue, code] = [classId('dialogue'), classId('code')];
const [talker, coder, other] = [expertId('talker'), expertId('coder'), expertId('other')];

interface Said {
  readonly expert: typeof talker;
  readonly of: typeof dialogue;
  readonly predicted: number;
  readonly value: () => number;
}

/** What a source says of answers: some a tenth apart from the rest by chance. */
function said(source: EvidenceSource, count: number, { expert, of, predicted, value }: Said): Evidence[] {
  return Array.from({ length: count }, (_, at) => {
    const subject = `${of}-${expert}-${at}`;
    const known = { predicted, sd: 0.13, gate: 'g', classId: of, source, expert, subject, at: NOW };
    return { ...known, id: evidenceId(source, subject, expert), value: value() };
  });
}

function shiftOf(evidence: readonly Evidence[], expert: typeof talker, of: typeof dialogue): number {
  const own = evidence.filter((one) => one.expert === expert);
  return correctionOf(fitExpert(own, calibrate(evidence), NOW), of, undefined).shift;
}

const random = new SeededRandom(4);
const about = (mean: number) => () => Math.min(1, Math.max(0, mean + 0.1 * (random.uniform() - 0.5)));
const thumbs = (share: number) => () => (random.uniform() < share ? 1 : 0);

describe('what sources say', () => {
  it.each<[EvidenceSource, () => number]>([
    ['logprob', about(0.5)],
    ['agreement', thumbs(0.7)],
    ['feedback', thumbs(0.8)],
  ])('does not draw classes of unlike quality together, however often %s is heard', (source, value) => {
    const evidence = [
      ...said(source, 400, { expert: talker, of: dialogue, predicted: 0.75, value }),
      ...said(source, 400, { expert: coder, of: code, predicted: 0.42, value }),
    ];
    expect(Math.abs(shiftOf(evidence, talker, dialogue))).toBeLessThan(0.04);
    expect(Math.abs(shiftOf(evidence, coder, code))).toBeLessThan(0.04);
  });

  it('hears each expert’s confidence on its own scale', () => {
    const evidence = [
      ...said('logprob', 400, { expert: talker, of: code, predicted: 0.4, value: about(0.8) }),
      ...said('logprob', 400, { expert: coder, of: code, predicted: 0.42, value: about(0.3) }),
    ];
    expect(Math.abs(shiftOf(evidence, talker, code))).toBeLessThan(0.01);
    expect(Math.abs(shiftOf(evidence, coder, code))).toBeLessThan(0.01);
  });

  it('moves experts of one class against each other by their ratings', () => {
    const evidence = [
      ...said('feedback', 300, { expert: coder, of: code, predicted: 0.42, value: thumbs(0.8) }),
      ...said('feedback', 300, { expert: other, of: code, predicted: 0.42, value: thumbs(0.4) }),
    ];
    expect(shiftOf(evidence, coder, code)).toBeGreaterThan(0.1);
    expect(shiftOf(evidence, other, code)).toBeLessThan(-0.1);
  });

  it('learns from answers with references how much confidence tells', () => {
    const pairs = Array.from({ length: 200 }, (_, at): Evidence[] => {
      const sure = (at % 20) / 20;
      const [confident] = said('logprob', 1, { expert: coder, of: code, predicted: 0.5, value: () => sure });
      if (confident === undefined) return [];
      const subject = `both-${at}`;
      const one = { ...confident, subject, id: evidenceId('logprob', subject, coder) };
      const reference = { ...one, source: 'reference' as const, id: evidenceId('reference', subject, coder) };
      return [one, { ...reference, value: 0.3 + 0.4 * sure }];
    }).flat();
    const { logprob } = calibrate(pairs);
    expect(logprob.pairs).toBe(200);
    expect(logprob.slope).toBeCloseTo(0.4, 1);
  });
});
