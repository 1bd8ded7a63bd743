import { expertId, type VariantId } from '@fleetgate/shared/ids';
import { expect, it } from 'vitest';

import type { PlanRecord } from './plan-record.js';
import { plannedShares } from './planned-shares.js';

const record = {
  problem: {
    classes: [{ id: 'law' }, { id: 'math' }],
    variants: [{ id: 'law-q8' }, { id: 'law-q4' }, { id: 'big-q8' }],
  },
  solution: {
    routing: [
      { k: 0, d: 0, v: 0, rate: 1 },
      { k: 0, d: 1, v: 1, rate: 2 },
      { k: 0, d: 1, v: 2, rate: 1 },
      { k: 1, d: 1, v: 2, rate: 0 },
    ],
  },
} as unknown as PlanRecord;
const expertOf = (variant: VariantId) => expertId(variant.split('-')[0] ?? '');

it('sums what a plan routes to the variants of each expert, as shares of what is served of the class', () => {
  expect(plannedShares(record, expertOf)).toEqual(
    new Map([
      [
        'law',
        new Map([
          [expertId('law'), 0.75],
          [expertId('big'), 0.25],
        ]),
      ],
    ]),
  );
});

it('leaves variants out whose expert is gone', () => {
  const known = (variant: VariantId) => (variant.startsWith('big') ? undefined : expertOf(variant));
  expect(plannedShares(record, known).get('law' as never)).toEqual(new Map([[expertId('law'), 1]]));
});
