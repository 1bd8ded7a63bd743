import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { AnswerText } from './answer-text.js';
import { Slots } from './slots.js';
import { SseLines } from './sse-lines.js';
import { StopFilter } from './stop-filter.js';
import { TokenText } from './token-text.js';

/** Cuts at the given fractions of the length. */
function cut<T extends { slice(from: number, until?: number): T; readonly length: number }>(
  whole: T,
  cuts: readonly number[],
): T[] {
  const places = [0, ...cuts.map((part) => Math.floor(part * whole.length)).toSorted((a, b) => a - b), whole.length];
  return places.slice(1).map((end, i) => whole.slice(places[i] ?? 0, end));
}
const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });

describe('StopFilter', () => {
  const small = fc.string({ unit: fc.constantFrom('a', 'b', '\n'), maxLength: 30 });
  const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', '\n'), minLength: 1, maxLength: 4 }), {
    maxLength: 3,
  });

  it('lets out the text before the first stop string, however it is cut', () => {
    fc.assert(
      fc.property(small, stops, cuts, (text, stops, cuts) => {
        const filter = new StopFilter(stops);
        let out = '';
        let end = text.length;
        let seen = '';
        for (const piece of cut(text, cuts)) {
          if (filter.stopped) break;
          out += filter.push(piece);
          seen += piece;
          // Nothing of a stop string may be out, nor of what may still become one.
          for (const stop of stops) expect(out).not.toContain(stop);
        }
        out += filter.flush();
        const ends = stops.map((stop) => seen.indexOf(stop)).filter((at) => at >= 0);
        end = ends.length > 0 ? Math.min(...ends) : seen.length;
        expect(out).toBe(seen.slice(0, end));
      }),
    );
  });

  it('holds back only what may become a stop string', () => {
    const filter = new StopFilter(['\nQuestion:']);
    expect(filter.push('7\nQuest')).toBe('7');
    expect(filter.push('s are many')).toBe('\nQuests are many');
    expect(filter.push(' end\nQuestion: more')).toBe(' end');
    expect(filter.stopped).toBe(true);
    expect(filter.push('more')).toBe('');
    expect(filter.flush()).toBe('');
  });
});

describe('TokenText', () => {
  // A tokenizer whose tokens are pieces of UTF-8, as byte-level ones are.
  const detokenise = (tokens: readonly Buffer[]): string => Buffer.concat(tokens).toString('utf8');

  it('gives the text of any cut of its bytes, whole characters only', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 20 }), cuts, (text, cuts) => {
        const tokens = new TokenText<Buffer>(detokenise, []);
        const pieces = cut(Buffer.from(text), cuts).map((token) => tokens.push(token));
        if (!text.includes('\uFFFD')) for (const piece of pieces) expect(piece).not.toContain('\uFFFD');
        expect(pieces.join('') + tokens.flush()).toBe(text);
      }),
    );
  });

  it('gives up on bytes that are no character, without losing what follows', () => {
    const tokens = new TokenText<Buffer>(detokenise, []);
    const pieces = [[0xc3], [0x41], [0xe6, 0x9d], [0xb1], [0xf0]].map((bytes) => tokens.push(Buffer.from(bytes)));
    expect(pieces).toEqual(['', '\uFFFDA', '', '東', '']);
    expect(tokens.flush()).toBe('\uFFFD');
  });
});

describe('AnswerText', () => {
  it('leaves out one leading space of a chat answer and counts tokens of held text with the next', () => {
    const sent: [string, number][] = [];
    const answer = new AnswerText(['STOP'], 'chat', (text, tokens) => sent.push([text, tokens]));
    for (const text of [' ', ' two', '', ' S', 'T', 'AR']) answer.push(text);
    answer.flush();
    expect(sent).toEqual([
      [' two', 2],
      [' ', 2],
      ['STAR', 2],
    ]);
  });

  it('leaves a completion as it is', () => {
    let text = '';
    const answer = new AnswerText([], 'complete', (piece) => (text += piece));
    answer.push(' a');
    expect(text).toBe(' a');
  });
});

describe('SseLines', () => {
  it('finds the same values however the bytes are cut', () => {
    const value = fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => JSON.stringify(text));
    fc.assert(
      fc.property(fc.array(value, { maxLength: 6 }), fc.constantFrom('\n', '\r\n'), cuts, (values, end, cuts) => {
        const stream = values.map((text) => `: comment${end}event: x${end}data: ${text}${end}${end}`).join('');
        const lines = new SseLines(1000);
        const found = cut(Buffer.from(stream), cuts).flatMap((bytes) => lines.push(bytes));
        expect([...found, ...lines.flush()]).toEqual(values);
      }),
    );
  });

  it('takes a last line without its end, and refuses an endless one', () => {
    const lines = new SseLines(100);
    expect(lines.push(Buffer.from('data:a'))).toEqual([]);
    expect(lines.flush()).toEqual(['a']);
    expect(() => new SseLines(100).push(Buffer.alloc(200, 'x'))).toThrow(RangeError);
  });
});

describe('Slots', () => {
  it('lends in the order asked, passing over those that gave up', async () => {
    const slots = new Slots(['only']);
    const never = new AbortController().signal;
    expect(await slots.acquire(never)).toBe('only');
    const abort = new AbortController();
    const gaveUp = slots.acquire(abort.signal);
    const next = slots.acquire(never);
    abort.abort();
    expect(await gaveUp).toBeUndefined();
    slots.release('only');
    expect(await next).toBe('only');
    slots.release('only');
    expect(await slots.acquire(never)).toBe('only');
    expect(await slots.acquire(AbortSignal.abort())).toBeUndefined();
  });
});
