import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { traceParentOf } from './trace-parent.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';

describe('traceparent', () => {
  it.each([
    [`00-${TRACE}-${SPAN}-01`, `00-${TRACE}-${SPAN}-01`],
    [`cc-${TRACE}-${SPAN}-01-what-the-future-will-be-like`, `00-${TRACE}-${SPAN}-01`],
    [`00-${TRACE}-${SPAN}-01-more`, undefined],
    [`ff-${TRACE}-${SPAN}-01`, undefined],
    [`00-${'0'.repeat(32)}-${SPAN}-01`, undefined],
    [`00-${TRACE}-${'0'.repeat(16)}-01`, undefined],
    [`00-${TRACE.toUpperCase()}-${SPAN}-01`, undefined],
    ['', undefined],
  ])('%s is %s', (header, expected) => {
    expect(traceParentOf(header)).toBe(expected);
  });

  it('never takes over more than ids', () => {
    fc.assert(
      fc.property(fc.string(), (header) => {
        expect(traceParentOf(header) ?? '').toMatch(/^(?:00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?$/);
      }),
    );
  });
});
