import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { DeviceId } from '@fleetgate/shared/ids';

import { nearestFirst, sharedBits } from './peer-order.js';
import { rangesFrom } from './range-plan.js';
import { fullBucket, takeBytes } from './token-bucket.js';

const digestOf = (i: number): string => i.toString(16).padStart(64, '0');

describe('ranges', () => {
  it('cover all from the offset on, once, and begin with the one that holds it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5000 }),
        fc.integer({ min: 1, max: 700 }),
        fc.nat({ max: 5000 }),
        (sizeBytes, rangeBytes, at) => {
          const offset = Math.min(at, sizeBytes);
          const ranges = Array.from({ length: Math.ceil(sizeBytes / rangeBytes) }, (_, i) => digestOf(i));
          const plan = rangesFrom(offset, sizeBytes, { rangeBytes, ranges }) ?? [];
          let next = plan[0]?.start ?? sizeBytes;
          expect(next).toBeLessThanOrEqual(offset);
          expect(offset - next).toBeLessThan(rangeBytes);
          for (const { start, end, sha256 } of plan) {
            expect(start).toBe(next);
            expect(sha256).toBe(digestOf(start / rangeBytes));
            next = end;
          }
          expect(next).toBe(sizeBytes);
          expect(rangesFrom(offset, sizeBytes, { rangeBytes, ranges: [...ranges, digestOf(0)] })).toBeUndefined();
        },
      ),
    );
  });
});

describe('a token bucket', () => {
  it('never lets through more than its rate and one second of it, whatever the clock does', () => {
    const pieces = fc.array(fc.tuple(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: -2000, max: 2000 })), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(pieces, fc.integer({ min: 1, max: 3000 }), (sends, bytesPerS) => {
        let bucket = fullBucket(bytesPerS, 0);
        let [nowMs, forwardMs, sent] = [0, 0, 0];
        for (const [bytes, stepMs] of sends) {
          nowMs += stepMs;
          forwardMs += Math.max(0, stepMs);
          const taken = takeBytes(bucket, bytes, bytesPerS, nowMs);
          bucket = taken.bucket;
          nowMs += taken.waitMs;
          forwardMs += taken.waitMs;
          sent += bytes;
          expect(sent).toBeLessThanOrEqual(bytesPerS + (forwardMs * bytesPerS) / 1000 + 1e-6 * sent);
        }
      }),
    );
  });
});

describe('peers', () => {
  const peerOf = (host: string, i = 0) => ({
    deviceId: `d${i}` as DeviceId,
    url: `http://${host}:7000`,
    token: 'x',
  });

  it('are asked nearest first', () => {
    const peers = ['10.1.2.3', '192.168.1.9', '192.168.7.9', '192.168.1.20'].map(peerOf);
    const order = nearestFirst(peers, ['172.17.0.1', '192.168.1.21'], 'me').map(({ url }) => new URL(url).hostname);
    expect(order).toEqual(['192.168.1.20', '192.168.1.9', '192.168.7.9', '10.1.2.3']);
    expect(sharedBits('192.168.1.20', '192.168.1.20')).toBe(32);
    expect(sharedBits('128.0.0.1', '0.0.0.1')).toBe(0);
    expect(sharedBits('::1', '127.0.0.1')).toBe(0);
  });

  it('come in an order that does not hang on the one they were told in, and differs by device', () => {
    const peers = Array.from({ length: 8 }, (_, i) => peerOf('10.0.0.1', i));
    fc.assert(
      fc.property(fc.shuffledSubarray(peers, { minLength: 8 }), (told) => {
        expect(nearestFirst(told, ['10.0.0.2'], 'me')).toEqual(nearestFirst(peers, ['10.0.0.2'], 'me'));
      }),
    );
    const firsts = new Set(Array.from({ length: 30 }, (_, i) => nearestFirst(peers, [], `me${i}`)[0]?.deviceId));
    expect(firsts.size).toBeGreaterThan(3);
  });
});
