import { ManualClock } from '@fleetgate/shared/clock';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { TextBatches } from './text-batches.js';

/** A piece of text and the time until the next, ms. */
const pieces = fc.array(fc.record({ text: fc.string(), tokens: fc.integer({ min: 1, max: 3 }), waitMs: fc.nat(60) }));

describe('text on its way out of the engine process', () => {
  it('is whole and in order, its tokens counted once, with at most one message in 25 ms but for the last', () => {
    fc.assert(
      fc.property(pieces, (given) => {
        const clock = new ManualClock();
        const sent: { readonly text: string; readonly tokens: number; readonly at: number }[] = [];
        const out = new TextBatches(clock, (text, tokens) => sent.push({ text, tokens, at: clock.now() }));
        for (const { text, tokens, waitMs } of given) {
          out.push(text, tokens);
          clock.advance(waitMs);
        }
        const between = sent.slice(1).map(({ at }, i) => at - (sent[i]?.at ?? 0));
        out.end();
        expect(sent.map(({ text }) => text).join('')).toBe(given.map(({ text }) => text).join(''));
        const lastWithText = given.findLastIndex(({ text }) => text !== '');
        const told = sent.reduce((sum, { tokens }) => sum + tokens, 0);
        expect(told).toBeGreaterThanOrEqual(given.slice(0, lastWithText + 1).reduce((sum, one) => sum + one.tokens, 0));
        expect(told).toBeLessThanOrEqual(given.reduce((sum, one) => sum + one.tokens, 0));
        for (const gap of between) expect(gap).toBeGreaterThanOrEqual(25);
      }),
    );
  });

  it('sends the first piece at once, and a piece after a pause as well', () => {
    const clock = new ManualClock();
    const sent: string[] = [];
    const out = new TextBatches(clock, (text) => sent.push(text));
    out.push('a', 1);
    expect(sent).toEqual(['a']);
    out.push('b', 1);
    out.push('c', 1);
    expect(sent).toEqual(['a']);
    clock.advance(25);
    expect(sent).toEqual(['a', 'bc']);
    clock.advance(1000);
    out.push('d', 1);
    expect(sent).toEqual(['a', 'bc', 'd']);
    out.push('e', 1);
    out.end();
    clock.advance(1000);
    expect(sent).toEqual(['a', 'bc', 'd', 'e']);
  });
});
