import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { topicMatches } from '../platform/topic-filter.js';
import { RetainedMessages } from './retained-messages.js';

const level = fc.constantFrom('a', 'b', '');
const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'));
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, open]) => [...levels, ...(open ? ['#'] : [])].join('/'));

describe('RetainedMessages', () => {
  it('finds by a filter what a comparison with every topic finds', () => {
    const step = fc.record({ topic, kind: fc.constantFrom('set', 'delete') });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), filter, (steps, wanted) => {
        const messages = new RetainedMessages<string>();
        const plain = new Set<string>();
        for (const { topic: at, kind } of steps) {
          if (kind === 'set') messages.set(at, at);
          else messages.delete(at);
          plain[kind === 'set' ? 'add' : 'delete'](at);
        }
        const expected = [...plain].filter((at) => topicMatches(wanted, at));
        expect([...messages.matching(wanted)].sort()).toEqual(expected.sort());
      }),
    );
  });
});
