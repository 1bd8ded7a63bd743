import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ChatStreamReader } from './chat-stream.js';

const STREAM = [
  'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}',
  ': keep-alive',
  'data: {"choices":[{"delta":{"content":"zwei\\n\\n"}}]}',
  'data: {"choices":[{"delta":{"content":" und"}}]}',
  'data: {"choices":[{"delta":{}}],"fleetgate":{"why":"w"}}',
  'data: {"choices":[],"usage":{"energy_joules":2}}',
  'data: [DONE]',
  '',
].join('\n\n');

describe('ChatStreamReader', () => {
  it('reads an answer however it is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(STREAM.length), { maxLength: 20 }), (cuts) => {
        const reader = new ChatStreamReader();
        const at = [0, ...cuts.toSorted((a, b) => a - b), STREAM.length];
        const events = at.slice(1).flatMap((end, index) => reader.read(STREAM.slice(at[index], end)));
        expect(events.map(({ text }) => text).join('')).toBe('zwei\n\n und');
        expect(events.flatMap(({ fleetgate }) => fleetgate ?? [])).toEqual([{ why: 'w' }]);
        expect(reader.done).toBe(true);
      }),
    );
  });

  it('shows an error frame, and no end', () => {
    const reader = new ChatStreamReader();
    expect(reader.read('data: {"error":{"message":"m","code":"device_lost"}}\n\n')).toEqual([
      { text: '', error: { message: 'm', code: 'device_lost' } },
    ]);
    expect(reader.done).toBe(false);
  });
});
