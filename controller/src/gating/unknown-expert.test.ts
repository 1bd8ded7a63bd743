import { describe, expect, test } from 'vitest';

import { classId, expertId } from '@fleetgate/shared/ids';

import type { ExpertScore, Gate } from './gate.js';
import { uniformGate } from './live-gate.js';
import { type ExpertProfile, scoreFromCard, withUnknownExperts } from './unknown-expert.js';

const law = classId('law');
const math = classId('math');
const score = (quality: number): ExpertScore => ({ quality, sd: 0.05, outputTokens: 60 });
const peers = new Map([
  [expertId('a'), score(0.2)],
  [expertId('b'), score(0.4)],
  [expertId('c'), score(0.6)],
]);
const profile = (id: string, domains: readonly string[], bitsPerByte: Record<string, number> = {}): ExpertProfile => ({
  id: expertId(id),
  domains,
  bitsPerByte,
});

describe('an expert that the gate was not trained on', () => {
  test('has the quality of its bits per byte on the domain', () => {
    expect(scoreFromCard(profile('new', ['law'], { Law: 1 }), law, peers)).toMatchObject({
      quality: 0.5,
      outputTokens: 60,
    });
  });

  test('is taken for a good one where its card names the domain, a poor one elsewhere, a middling one as a generalist', () => {
    const inside = scoreFromCard(profile('new', ['law']), law, peers);
    const outside = scoreFromCard(profile('new', ['law']), math, peers);
    const generalist = scoreFromCard(profile('new', []), law, peers);
    expect([inside.quality, generalist.quality, outside.quality]).toEqual([0.6, 0.4, 0.2]);
  });

  test('has a wider error bar than any expert that was measured', () => {
    for (const one of [profile('new', ['law'], { law: 1 }), profile('new', ['law']), profile('new', [])]) {
      expect(scoreFromCard(one, law, peers).sd).toBeGreaterThan(0.1);
    }
  });

  test('without any peer still gets a score', () => {
    const alone = scoreFromCard(profile('new', ['law']), law, new Map());
    expect(alone.quality).toBeGreaterThan(0);
    expect(alone.outputTokens).toBeGreaterThan(0);
  });
});

describe('a gate with unknown experts', () => {
  const trained: Gate = {
    experts: [...peers.keys()],
    classes: [law],
    trainedOn: 10,
    score: () => ({ classId: law, promptTokens: 5, experts: peers }),
    classQuality: (_, expert) => peers.get(expert),
  };

  test('scores them too, and leaves the trained ones as they are', () => {
    const profiles = [profile('b', ['law'], { law: 0.1 }), profile('new', ['law'], { law: 2 })];
    const gate = withUnknownExperts(trained, () => profiles);
    expect(gate.experts).toEqual(['a', 'b', 'c', 'new']);
    const { experts } = gate.score('a contract');
    for (const [id, own] of peers) expect(experts.get(id)).toBe(own);
    expect(experts.get(expertId('new'))?.quality).toBeCloseTo(0.25, 9);
    expect(gate.classQuality(law, expertId('new'))?.quality).toBeCloseTo(0.25, 9);
    expect(gate.classQuality(law, expertId('b'))).toBe(peers.get(expertId('b')));
    expect(gate.classQuality(math, expertId('new'))).toBeUndefined();
  });

  test('follows the catalogue as experts come and go', () => {
    const profiles: ExpertProfile[] = [];
    const gate = withUnknownExperts(uniformGate('nothing is known'), () => profiles);
    expect(gate.score('hello').experts.size).toBe(0);
    profiles.push(profile('new', []));
    expect([...gate.score('hello').experts.keys()]).toEqual(['new']);
    profiles.pop();
    expect(gate.experts).toEqual([]);
  });
});
