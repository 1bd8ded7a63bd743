import { classId, expertId } from '@fleetgate/shared/ids';
import { describe, expect, it } from 'vitest';

import { type Gate, type GateScore, OTHER_CLASS } from './gate.js';
import { pilotClasses, pilots } from './pilot-classes.js';
import { withUnknownExperts } from './unknown-expert.js';

const code = classId('code');
const known = new Map([[expertId('a'), { quality: 0.4, sd: 0.05, outputTokens: 9 }]]);
/** Knows what Python is about, is not sure of snakes, and abstains from the rest. */
function gate(classes: readonly ReturnType<typeof classId>[] = [code, OTHER_CLASS]): Gate & { asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    experts: [...known.keys()],
    classes,
    trainedOn: 1,
    score: (text): GateScore => {
      asked.push(text);
      const novelty = /python/i.test(text) ? 0.1 : /snake/i.test(text) ? 0.45 : 0.9;
      const abstained = novelty > 0.5 ? { abstained: { reason: 'unfamiliar' } } : {};
      return { classId: novelty < 0.5 ? code : OTHER_CLASS, promptTokens: 2, experts: known, novelty, ...abstained };
    },
    classQuality: (_, expert) => known.get(expert),
  };
}
const card = (title: string, domains: readonly string[]) => ({ id: expertId('new'), title, domains, bitsPerByte: {} });

describe('a card whose words name no class', () => {
  it('is about the classes that its title and domains are put into', () => {
    expect(pilotClasses(card('Python functions', ['programming']), gate())).toEqual(new Set([code]));
  });

  it('is about none where the gate is not sure, or it is that of a generalist', () => {
    expect(pilotClasses(card('Snakes', ['reptiles']), gate()).size).toBe(0);
    expect(pilotClasses(card('Anything, Python too', []), gate()).size).toBe(0);
  });

  it('starts its expert as one of that domain', () => {
    const qualityOf = (title: string) =>
      withUnknownExperts(gate(), () => [card(title, ['programming'])]).classQuality(code, expertId('new'))?.quality;
    expect(qualityOf('Python functions')).toBe(0.4);
    const unrelated = withUnknownExperts(gate(), () => [
      { ...card('Tales', ['tales']), bitsPerByte: { tales: 1, law: 4 } },
    ]);
    expect(unrelated.classQuality(code, expertId('new'))?.quality).toBe(2 ** -4);
  });

  it('is read once for each trained gate', () => {
    const trained = gate();
    const pilotOf = pilots(trained);
    for (let time = 0; time < 3; time++) pilotOf(card('Python functions', ['x']));
    expect(trained.asked).toHaveLength(2);
  });
});
