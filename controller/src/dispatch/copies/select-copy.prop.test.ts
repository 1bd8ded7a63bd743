import { SeededRandom } from '@fleetgate/shared/random';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { membersOf } from '../collaboration/members.js';
import { decide } from '../decide.js';
import { explore, type ExplorationAccount } from '../explore.js';
import { refusalFor } from '../refusal.js';
import { MOST_RANKED, type Selection } from '../select.js';
import { whyChosen } from '../why.js';
import { decidePlainly } from './plain-decision.fixture.js';
import { RandomFleet } from './random-fleet.fixture.js';

const RICH: ExplorationAccount = { requests: 1e6, earned: 1e6, explored: 0, charged: 0 };

const fleets = fc.record({
  experts: fc.integer({ min: 1, max: 12 }),
  devices: fc.integer({ min: 1, max: 24 }),
  seed: fc.nat(),
});

/** What anybody reads of a selection. */
function readingsOf(selection: Selection) {
  const explored = explore(selection, RICH, () => true, new SeededRandom(1));
  const incumbent = explored.selection;
  return {
    chosen: selection.chosen,
    ranked: selection.ranked.slice(0, MOST_RANKED),
    eligible: selection.eligible,
    members: membersOf(selection),
    why: whyChosen(selection, 1),
    explored: { ...explored, selection: { ...incumbent, ranked: incumbent.ranked.slice(0, MOST_RANKED) } },
  };
}

describe('a decision among copies, whatever the fleet and the request', () => {
  it('is what it would be if every candidate were made and sorted', () => {
    const seen = { chosen: 0, refused: 0, many: 0 };
    fc.assert(
      fc.property(fleets, ({ seed, ...size }) => {
        const fleet = new RandomFleet(new SeededRandom(seed), size);
        for (let at = 0; at < 8; at++) {
          const facts = fleet.facts();
          const decision = decide(facts, 'auto');
          const plain = decidePlainly(facts);
          expect(readingsOf(decision.selection)).toEqual(readingsOf(plain.selection));
          seen[decision.kind] += 1;
          if (plain.selection.eligible > MOST_RANKED) seen.many += 1;
          if (decision.kind === 'refused') {
            expect(plain.selection.chosen).toBeUndefined();
            expect(decision.selection.ranked).toEqual(plain.selection.ranked);
            expect(decision.error).toEqual(refusalFor(plain.candidates, facts, 'auto'));
          }
          fleet.change();
        }
      }),
      { numRuns: 80 },
    );
    expect(Math.min(seen.chosen, seen.refused, seen.many)).toBeGreaterThan(20);
  });
});
