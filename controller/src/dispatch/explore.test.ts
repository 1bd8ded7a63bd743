import { deviceId, type ExpertId, expertId, variantId } from '@fleetgate/shared/ids';
import { type Random, SeededRandom } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { Candidate } from './candidates.js';
import { aCost } from './dispatch-fixtures.js';
import { type ExplorationAccount, EXPLORATION_SHARE, explore, NOTHING_EXPLORED } from './explore.js';
import { select, type Selection } from './select.js';
import { whyChosen } from './why.js';

const NO_PRICES = { qualityPerJoule: 0, qualityPerSecond: 0 };
const ANY = (): boolean => true;

function aCandidate(name: string, quality: number, parts: Partial<Candidate> = {}): Candidate {
  return {
    expertId: expertId(name),
    variantId: variantId(`${name}-q8_0`),
    deviceId: deviceId('pi'),
    quality,
    qualitySd: 0.1,
    cost: aCost(1000, 5),
    wait: milliseconds(0),
    progress: undefined,
    excluded: undefined,
    ...parts,
  };
}

const selectionOf = (...candidates: readonly Candidate[]): Selection => select(candidates, NO_PRICES);
/** An account in which there is room for anything. */
const RICH: ExplorationAccount = { requests: 1e6, earned: 1e6, explored: 0, charged: 0 };
/** Draws that make the last expert in doubt win. */
const hopeful: Random = { uniform: () => 0.999, token: () => '' };

describe('exploring', () => {
  const incumbent = aCandidate('old', 0.4);
  const fresh = aCandidate('new', 0.3, { doubt: 0.25 });

  it('asks an expert that might be better than the best known one', () => {
    const { account, selection } = explore(selectionOf(incumbent, fresh), RICH, ANY, hopeful);
    expect(selection.chosen?.candidate.expertId).toBe('new');
    expect(selection.exploring?.instead.candidate.expertId).toBe('old');
    expect(selection.ranked[0]).toBe(selection.chosen);
    expect(account.explored).toBe(1);
    expect(whyChosen(selection, 1)).toMatch(
      /^new on pi: asked to learn how good it is .* instead of old on pi .* at most 2\.00 %/,
    );
  });

  it('never asks one that is known well enough, is excluded, or is on trial without leave', () => {
    for (const other of [
      aCandidate('new', 0.39, { doubt: 0.01 }),
      aCandidate('new', 0.39),
      { ...fresh, excluded: 'over-energy-budget' as const },
      { ...fresh, excluded: 'queue-full' as const },
    ]) {
      expect(explore(selectionOf(incumbent, other), RICH, ANY, hopeful).selection.exploring).toBeUndefined();
    }
    const onTrial = selectionOf(incumbent, { ...fresh, excluded: 'on-trial' });
    expect(explore(onTrial, RICH, () => false, hopeful).selection.exploring).toBeUndefined();
    expect(explore(onTrial, RICH, ANY, hopeful).selection.exploring).toBeDefined();
  });

  it('prefers a surer expert to one that is predicted a little better, and says so', () => {
    const promising = aCandidate('new', 0.45, { doubt: 0.12 });
    const { selection } = explore(selectionOf(incumbent, promising), NOTHING_EXPLORED, ANY, new SeededRandom(1));
    expect(selection.chosen?.candidate.expertId).toBe('old');
    expect(selection.ranked[0]).toBe(selection.chosen);
    expect(whyChosen(selection, 1)).toMatch(/ new on pi \(quality 0\.450, .*\) is known to ±0\.12 only\.$/);
    const clearly = aCandidate('new', 0.55, { doubt: 0.12 });
    const better = explore(selectionOf(incumbent, clearly), NOTHING_EXPLORED, ANY, new SeededRandom(1)).selection;
    expect(better.chosen?.candidate.expertId).toBe('new');
    expect(better.passedOver).toBeUndefined();
  });

  it('spends nothing before something was earned', () => {
    const { account, selection } = explore(selectionOf(incumbent, fresh), NOTHING_EXPLORED, ANY, hopeful);
    expect(selection.chosen?.candidate.expertId).toBe('old');
    expect(account).toEqual({ requests: 1, earned: 0.4, explored: 0, charged: 0 });
  });

  it('answers the same for the same chance', () => {
    const run = () => {
      const random = new SeededRandom(5);
      let account = NOTHING_EXPLORED;
      const asked: (ExpertId | undefined)[] = [];
      for (let round = 0; round < 500; round++) {
        const next = explore(selectionOf(incumbent, fresh), account, ANY, random);
        account = next.account;
        asked.push(next.selection.chosen?.candidate.expertId);
      }
      return asked;
    };
    expect(run()).toEqual(run());
    expect(run()).toContain('new');
  });

  it('never may have cost more than its share, at any moment, whatever the experts are', () => {
    const unit = fc.double({ min: 0, max: 1, noNaN: true });
    const expert = fc.record({ quality: unit, doubt: fc.double({ min: 0, max: 0.5, noNaN: true }), price: unit });
    const rounds = fc.array(fc.array(expert, { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(rounds, fc.integer(), (kinds, seed) => {
        const random = new SeededRandom(seed);
        let account = NOTHING_EXPLORED;
        for (let round = 0; round < 2000; round++) {
          const experts = kinds[round % kinds.length] ?? [];
          const candidates = experts.map(({ quality, doubt, price }, at) =>
            aCandidate(`e${at}`, quality, { doubt, cost: aCost(1000, 10 * price) }),
          );
          const selection = select(candidates, { qualityPerJoule: 0.02, qualityPerSecond: 0 });
          const before = account;
          const next = explore(selection, account, ANY, random);
          account = next.account;
          expect(account.charged).toBeLessThanOrEqual(EXPLORATION_SHARE * account.earned);
          expect(account.charged).toBeGreaterThanOrEqual(before.charged);
        }
      }),
      { numRuns: 20 },
    );
  });

  it('costs no more than its share even where every expert it tries turns out to be worth nothing', () => {
    const random = new SeededRandom(11);
    let account = NOTHING_EXPLORED;
    let [best, got] = [0, 0];
    for (let round = 0; round < 20_000; round++) {
      // The adversary promises as much as the incumbent has, each time by another name.
      const liar = aCandidate(`liar${round}`, 0.4, { doubt: 0.25, excluded: 'on-trial' });
      const next = explore(selectionOf(incumbent, liar), account, ANY, random);
      account = next.account;
      best += 0.4;
      got += next.selection.exploring === undefined ? 0.4 : 0;
      expect(best - got).toBeLessThanOrEqual(EXPLORATION_SHARE * best + 1e-9);
    }
    expect(account.explored).toBeGreaterThan(100);
  });
});
