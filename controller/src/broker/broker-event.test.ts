import { expect, test } from 'vitest';

import { EventTally } from './broker-event.js';

const failed = (username: string) => ({ kind: 'authentication-failed', username, remote: '::1', count: 1 }) as const;

test('like events are told once, with their number', () => {
  const tally = new EventTally();
  for (const username of ['a', 'b', 'a', 'a']) tally.add(failed(username));
  expect(tally.take()).toEqual([{ ...failed('a'), count: 3 }, failed('b')]);
  expect(tally.take()).toEqual([]);
});

test('a storm of different ones is bounded, in number and in length', () => {
  const tally = new EventTally();
  for (let n = 0; n < 10_000; n += 1) tally.add(failed(`${n}${'x'.repeat(1_000)}`));
  const events = tally.take();
  expect(events).toHaveLength(101);
  expect(events.at(-1)).toEqual({ kind: 'untold', count: 9_900 });
  expect(Math.max(...events.map((event) => JSON.stringify(event).length))).toBeLessThan(400);
});
