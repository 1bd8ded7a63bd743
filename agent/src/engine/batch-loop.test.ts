import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { BatchLoop } from './batch-loop.js';
import type { BatchToken } from './token-batch.js';

interface Evaluated {
  readonly group: string | undefined;
  readonly tokens: readonly BatchToken[];
}

describe('BatchLoop', () => {
  it('evaluates every token once and in order, groups apart and by turns', async () => {
    const feeds = fc.array(
      fc.record({ length: fc.integer({ min: 1, max: 30 }), group: fc.option(fc.constantFrom('a', 'b', 'c')) }),
      { minLength: 1, maxLength: 6 },
    );
    await fc.assert(
      fc.asyncProperty(feeds, async (wanted) => {
        const turns: Evaluated[] = [];
        const loop = new BatchLoop<string>(
          {
            batchTokens: 8,
            mostOutputs: 4,
            evaluate: (tokens, group) => void turns.push({ group, tokens: [...tokens] }),
            forget: () => true,
          },
          () => {},
        );
        const { signal } = new AbortController();
        const ended = await Promise.all(
          wanted.map(({ length, group }, sequence) =>
            loop.feed({
              sequence,
              group: group ?? undefined,
              tokens: Array.from({ length }, (_, i) => i),
              from: 0,
              wants: (i) => i === length - 1,
              onOutput: () => {},
              signal,
            }),
          ),
        );
        expect(ended.every((outcome) => outcome === 'done')).toBe(true);
        for (const [sequence, { length, group }] of wanted.entries()) {
          const mine = turns.filter(({ tokens }) => tokens.some((token) => token.sequence === sequence));
          expect(mine.every((turn) => turn.group === (group ?? undefined))).toBe(true);
          const positions = mine.flatMap(({ tokens }) => tokens.filter((token) => token.sequence === sequence));
          expect(positions.map(({ position }) => position)).toEqual(Array.from({ length }, (_, i) => i));
        }
        for (const [at, { group }] of turns.entries()) {
          const next = turns.findIndex((turn, i) => i > at && turn.group === group);
          if (next < 0) continue;
          const between = turns.slice(at + 1, next).map((turn) => turn.group);
          const counts = [...new Set(between)].map((one) => between.filter((other) => other === one).length);
          expect(Math.max(0, ...counts)).toBeLessThanOrEqual(2);
        }
      }),
    );
  });
});
