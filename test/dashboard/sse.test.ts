import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { parseLiveEvent } from '../../controller/dashboard/src/api/live-event.js';
import { type SseFrame, SseParser } from '../../controller/dashboard/src/api/sse.js';
import { retryWaitMs } from '../../controller/dashboard/src/state/link.js';

const parse = (...pieces: readonly string[]): readonly SseFrame[] => {
  const parser = new SseParser();
  return pieces.flatMap((piece) => parser.push(piece));
};

describe('event stream', () => {
  it('reads frames with names, several data lines and any line end; leaves out comments', () => {
    expect(parse(': hello\n\nevent: plan\ndata: a\ndata: b\n\n', 'data:c\r\n\r\n', 'data: d\r\rdata: e\n\n')).toEqual([
      { event: 'plan', data: 'a\nb' },
      { event: 'message', data: 'c' },
      { event: 'message', data: 'd' },
      { event: 'message', data: 'e' },
    ]);
  });

  it('leaves out a frame without data and one that was not finished', () => {
    expect(parse('event: plan\n\ndata: half')).toEqual([]);
  });

  it('gives the same frames however the text is cut', () => {
    const text = 'event: a\r\ndata: {"x": "ü"}\r\n\r\n: c\n\ndata: 1\ndata: 2\n\nid: 4\nretry: 5\ndata\n\n';
    const whole = parse(text);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: text.length }), { maxLength: 12 }), (cuts) => {
        const at = [0, ...cuts, text.length].sort((a, b) => a - b);
        expect(parse(...at.slice(1).map((end, i) => text.slice(at[i], end)))).toEqual(whole);
      }),
    );
  });

  it('refuses a frame that grows without end', () => {
    const parser = new SseParser();
    const lines = 'data: '.padEnd(1024 * 1024, 'x') + '\n';
    expect(() => {
      for (let i = 0; i < 20; i += 1) parser.push(lines);
    }).toThrow(RangeError);
  });
});

describe('live events', () => {
  it('takes the type from the body, else from the frame', () => {
    expect(parseLiveEvent({ event: 'message', data: '{"type":"device-removed","id":"a"}' })).toEqual({
      type: 'device-removed',
      id: 'a',
    });
    expect(parseLiveEvent({ event: 'device-removed', data: '{"id":"a"}' })).toEqual({
      type: 'device-removed',
      id: 'a',
    });
  });

  it('leaves out what is malformed or unknown, and never throws', () => {
    for (const data of ['', '{', 'null', '3', '[]', '{"type":"weather"}', '{"type":"plan"}', '{"type":"toString"}']) {
      expect(parseLiveEvent({ event: 'message', data })).toBeNull();
    }
    fc.assert(
      fc.property(fc.string(), fc.string(), (event, data) => {
        parseLiveEvent({ event, data });
      }),
    );
  });
});

it('waits longer with each failed try, up to 15 s, and a little less by chance', () => {
  expect([1, 2, 3, 4, 5, 6, 7, 50].map((attempt) => retryWaitMs(attempt, 0))).toEqual([
    500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000,
  ]);
  expect(retryWaitMs(6, 0.999)).toBeGreaterThanOrEqual(11_250);
});
