import { deviceId, expertId, variantId } from '@fleetgate/shared/ids';
import { joules, milliseconds } from '@fleetgate/shared/units/quantity';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { Member } from './members.js';
import { JointCostModel, type Prospects, worthwhile } from './worthwhile.js';

const aMember = (name: string, quality: number, energy: number): Member => ({
  expertId: expertId(name),
  variantId: variantId(`${name}-q8`),
  deviceId: deviceId('a'),
  quality,
  energy: joules(energy),
  latency: milliseconds(100),
  value: quality,
});

const scoreOf = (ensemble: number): Prospects['score'] => ({
  classId: 'any' as never,
  promptTokens: 10,
  experts: new Map([[expertId('ensemble'), { quality: ensemble, sd: 0.1, outputTokens: 20 }]]),
});

const prospects = (more: Partial<Prospects> = {}): Prospects => ({
  members: [aMember('a', 0.6, 1), aMember('b', 0.58, 1)],
  score: undefined,
  prices: { qualityPerJoule: 0, qualityPerSecond: 0 },
  mode: 'auto',
  confidenceOf: () => ({ mean: -1, sd: 0.4, slope: 0 }),
  costOf: () => ({ energyJ: 4, latencyMs: 200 }),
  ...more,
});

describe('whether to answer together', () => {
  it('leaves a prompt to one expert where nothing speaks for more', () => {
    expect(worthwhile(prospects())).toBeUndefined();
    expect(worthwhile(prospects({ score: scoreOf(0.61) }))).toBeUndefined();
  });

  it('takes the ensemble where its gain pays for its joules, and not where they are dear', () => {
    const gain = { score: scoreOf(0.7) };
    expect(worthwhile(prospects(gain))).toBe('ensemble');
    expect(worthwhile(prospects({ ...gain, prices: { qualityPerJoule: 0.05, qualityPerSecond: 0 } }))).toBeUndefined();
    expect(worthwhile(prospects({ ...gain, prices: { qualityPerJoule: 0, qualityPerSecond: 1 } }))).toBeUndefined();
  });

  it('takes more for best, whatever it costs', () => {
    const dear = { score: scoreOf(0.63), costOf: () => ({ energyJ: 50, latencyMs: 9000 }) };
    expect(worthwhile(prospects(dear))).toBeUndefined();
    expect(worthwhile(prospects({ ...dear, mode: 'best' }))).toBe('ensemble');
  });

  it('takes a cascade where the first shows how good its answer is', () => {
    const telling = { confidenceOf: () => ({ mean: -1, sd: 0.5, slope: 0.3 }) };
    expect(worthwhile(prospects(telling))).toBe('cascade');
    expect(worthwhile(prospects({ ...telling, costOf: () => undefined }))).toBeUndefined();
  });

  it('never takes a way that is predicted to be worse than one expert', () => {
    const quality = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(quality, quality, quality, fc.double({ min: 1, max: 20, noNaN: true }), (a, b, ensemble, energyJ) => {
        const members = [aMember('a', a, 1), aMember('b', b, 1)];
        const how = worthwhile(
          prospects({ members, score: scoreOf(ensemble), costOf: () => ({ energyJ, latencyMs: 1 }) }),
        );
        if (how === 'ensemble') expect(ensemble).toBeGreaterThan(Math.max(a, b));
      }),
    );
  });
});

describe('joules of answering together', () => {
  it('are learned from what was used, and stay within what was seen', () => {
    const model = new JointCostModel();
    expect(model.ratio('ensemble')).toBe(2);
    for (let at = 0; at < 200; at++) model.observe('ensemble', 9, 2);
    expect(model.ratio('ensemble')).toBeGreaterThan(4);
    expect(model.ratio('ensemble')).toBeLessThanOrEqual(4.5);
    model.observe('ensemble', NaN, 2);
    model.observe('ensemble', 3, 0);
    expect(model.ratio('brief')).toBe(1);
  });
});
