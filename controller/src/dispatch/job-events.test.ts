import { jobId } from '@fleetgate/shared/ids';
import type { JobOut } from '@fleetgate/shared/protocol/job';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { JobEvents } from './job-events.js';

const base = { v: 1, jobId: jobId('job-1') } as const;

/** accepted, `texts` tokens, failed. */
function story(texts: number): JobOut[] {
  const middle = Array.from({ length: texts }, (_, at): JobOut => {
    return { ...base, seq: at + 1, kind: 'tokens', text: String(at), tokens: 1 };
  });
  const error = { code: 'engine.crashed', message: '', retryable: true };
  return [
    { ...base, seq: 0, kind: 'accepted', queuePosition: 0 },
    ...middle,
    { ...base, seq: texts + 1, kind: 'failed', error },
  ];
}

describe('JobEvents', () => {
  it('delivers every message once and in order, however they come', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 20 }).chain((texts) => {
          const all = story(texts);
          const copies = fc.array(fc.constantFrom(...all), { maxLength: 20 });
          return copies.chain((more) =>
            fc.shuffledSubarray([...all, ...more], { minLength: all.length + more.length }),
          );
        }),
        (arrivals) => {
          const events = new JobEvents();
          const delivered = arrivals.flatMap((out) => events.take(out).deliver);
          const last = Math.max(...arrivals.map(({ seq }) => seq));
          expect(delivered.map(({ seq }) => seq)).toEqual(Array.from({ length: last + 1 }, (_, seq) => seq));
          expect(events.ended).toBe(true);
          expect(events.hasGap).toBe(false);
        },
      ),
    );
  });

  it('holds what comes before its turn, and says that something is missing', () => {
    const [accepted, first, second] = story(2);
    if (accepted === undefined || first === undefined || second === undefined) throw new Error('no story');
    const events = new JobEvents();
    events.take(accepted);
    expect(events.take(second).deliver).toEqual([]);
    expect(events.hasGap).toBe(true);
    expect(events.take(first).deliver).toEqual([first, second]);
    expect(events.take(second).ignored).toBe('duplicate');
  });

  it('takes nothing after the end, and holds no more than its bound', () => {
    const events = new JobEvents();
    for (const out of story(0)) events.take(out);
    expect(events.take({ ...base, seq: 7, kind: 'tokens', text: 'x', tokens: 1 }).ignored).toBe('late');
    const flooded = new JobEvents();
    const ignored = Array.from({ length: 300 }, (_, at) =>
      flooded.take({ ...base, seq: at + 1, kind: 'tokens', text: 'x', tokens: 1 }),
    ).filter((intake) => intake.ignored === 'overflow');
    expect(ignored).toHaveLength(300 - 256);
  });
});
