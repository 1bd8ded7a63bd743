import { requestId } from '@fleetgate/shared/ids';
import { unixMs } from '@fleetgate/shared/units/quantity';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { aPrompt } from '../dispatch-fixtures.js';
import { openRecord } from '../request-record.js';
import { whyHeader } from './why-header.js';

const record = openRecord(requestId('req-1'), aPrompt(), 'auto', unixMs(0), false);
const lineOf = (why: string): string => whyHeader({ ...record, why })['x-fleetgate-why'] ?? '';

describe('x-fleetgate-why', () => {
  it('is the reason in one line of ASCII', () => {
    expect(lineOf('math on pi: the only one;\r\n predicted quality 0.6 ±0.05, 5 J')).toBe(
      'math on pi: the only one; predicted quality 0.6 +-0.05, 5 J',
    );
    expect(whyHeader(record)).toEqual({});
  });

  it('says which way of answering together it is', () => {
    const collaboration = { how: 'cascade', quality: null, calls: [] } as const;
    expect(whyHeader({ ...record, why: 'math on pi', collaboration })).toEqual({
      'x-fleetgate-why': 'cascade: math on pi',
    });
  });

  it('is a header whatever the reason is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 2000 }), (why) => {
        expect(lineOf(why)).toMatch(/^[ -~]{0,400}$/);
      }),
    );
  });
});
