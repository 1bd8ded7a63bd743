import { SeededRandom } from '@fleetgate/shared/random';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { drawFaults, FAULT_KINDS } from './faults.js';

const victims = { devices: ['jetson', 'pi', 'phone'], cuttable: ['phone'] };

describe('drawFaults', () => {
  it('lets every kind befall before one comes again, and somebody each time', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 100 }), (seed, rounds) => {
        const faults = drawFaults(new SeededRandom(seed), rounds, FAULT_KINDS, victims);
        expect(faults).toHaveLength(rounds);
        for (let from = 0; from < rounds; from += FAULT_KINDS.length) {
          const cycle = faults.slice(from, from + FAULT_KINDS.length);
          expect(new Set(cycle.map(({ kind }) => kind)).size).toBe(cycle.length);
        }
        for (const { kind, victim } of faults) {
          expect(victim).not.toBe('');
          if (kind === 'cut-agent') expect(victims.cuttable).toContain(victim);
        }
      }),
    );
  });

  it('says the same again from the same seed, and nothing where nothing can befall', () => {
    const draw = (seed: number) => drawFaults(new SeededRandom(seed), 30, FAULT_KINDS, victims);
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
    expect(drawFaults(new SeededRandom(1), 10, [], victims)).toEqual([]);
  });
});
