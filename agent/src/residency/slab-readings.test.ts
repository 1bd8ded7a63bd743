import { describe, expect, it } from 'vitest';

import type { Projection } from '../gguf/slab-layout.js';
import { CUT_OFF, type SlabRead } from './read-queue.js';
import { SlabReadings } from './slab-readings.js';

const EIO = 5;
const ECANCELED = 125;

function readOf(projection: Projection, bytes: number): SlabRead {
  return { address: 0, offset: 0, bytes, projection };
}

/** Slab 7: its up projection in slots 0 and 1, its down projection in slot 2. */
function readings(): SlabReadings {
  const all = new SlabReadings(10);
  all.expect(7, [readOf('up', 15), readOf('down', 8)]);
  all.queued(0, { slab: 7, projection: 'up', bytes: 10 });
  all.queued(1, { slab: 7, projection: 'up', bytes: 5 });
  all.queued(2, { slab: 7, projection: 'down', bytes: 8 });
  return all;
}

describe('SlabReadings', () => {
  it('waits for all of a slab, or for all but one projection', () => {
    const all = readings();
    const awaited = (): readonly boolean[] => [all.isAwaited(7, 'down'), all.isAwaited(7, undefined), all.isReading(7)];
    all.ended(1, 5);
    expect([awaited(), all.bytesLeft]).toEqual([[true, true, true], 18]);
    all.ended(0, 10);
    expect([awaited(), all.bytesLeft]).toEqual([[false, true, true], 8]);
    all.ended(2, 8);
    expect([awaited(), all.bytesRead, all.finished]).toEqual([[false, false, false], 23, 1]);
    expect(all.hasFailures).toBe(false);
  });

  it('waits for the rest of a slab of which a part has failed, and tells once', () => {
    for (const [result, told] of [
      [-EIO, -EIO],
      [3, CUT_OFF],
    ] as const) {
      const all = readings();
      all.ended(0, 10);
      all.ended(1, result);
      expect([all.isAwaited(7, 'down'), all.hasFailures]).toEqual([true, false]);
      all.ended(2, 8);
      expect([all.isReading(7), all.hasFailures, [...all.takeFailures()]]).toEqual([false, true, [[7, told]]]);
      expect([...all.takeFailures()]).toEqual([]);
    }
  });

  it('fails slabs that were given up when what was queued of them has ended', () => {
    const all = new SlabReadings(10);
    all.expect(1, [readOf('up', 10), readOf('down', 10)]);
    all.expect(2, [readOf('up', 10)]);
    all.queued(0, { slab: 1, projection: 'up', bytes: 10 });
    all.giveUp([1, 2, 3]);
    expect([...all.takeFailures()]).toEqual([[2, -ECANCELED]]);
    expect(all.isAwaited(1, 'down')).toBe(true);
    all.ended(0, 10);
    expect([...all.takeFailures()]).toEqual([[1, -ECANCELED]]);
    expect(all.isReading(1)).toBe(false);
  });
});
