import { EventEmitter } from 'node:events';

import { ManualClock } from '@fleetgate/shared/clock';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import { EventStream, type ResponseSink, SSE_HEADERS } from './sse.js';

/** A response whose client reads when it is told to. */
class FakeResponse extends EventEmitter implements ResponseSink {
  destroyed = false;
  writableFinished = false;
  reading = true;
  head: unknown;
  text = '';

  writeHead(status: number, headers: Record<string, number | string | string[]>): void {
    this.head = { status, headers };
  }

  write(text: string): boolean {
    this.text += text;
    return this.reading;
  }

  end(): void {
    this.writableFinished = true;
  }

  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

describe('EventStream', () => {
  it('sends its head once, frames, and the end', async () => {
    const response = new FakeResponse();
    const out = new EventStream(response, new ManualClock());
    out.open(() => ({ 'x-request-id': 'r' }));
    out.open(() => ({ 'x-request-id': 'other' }));
    await out.send('{"a":1}', '{"b":2}');
    out.keepAlive();
    await out.end('done', '{"c":3}');
    expect(response.head).toEqual({ status: 200, headers: { 'x-request-id': 'r', ...SSE_HEADERS } });
    expect(response.text).toBe('data: {"a":1}\n\ndata: {"b":2}\n\n: keep-alive\n\ndata: {"c":3}\n\ndata: [DONE]\n\n');
    expect(response.writableFinished).toBe(true);
  });

  it('ends without [DONE] after an error', async () => {
    const response = new FakeResponse();
    const out = new EventStream(response, new ManualClock());
    await out.end('none', '{"error":{}}');
    expect(response.text).toBe('data: {"error":{}}\n\n');
  });

  it('waits for a slow reader, and gives one up that never reads', async () => {
    const clock = new ManualClock();
    const response = new FakeResponse();
    const out = new EventStream(response, clock, milliseconds(1000));
    response.reading = false;
    let sent = false;
    const first = out.send('{}').then(() => (sent = true));
    await Promise.resolve();
    expect(sent).toBe(false);
    response.emit('drain');
    await first;
    expect(response.listenerCount('drain') + response.listenerCount('close')).toBe(0);

    const second = out.send('{}');
    clock.advance(1000);
    await second;
    expect(response.destroyed).toBe(true);
    const before = response.text;
    await out.send('{}');
    out.keepAlive();
    await out.end('done');
    expect(response.text).toBe(before);
  });
});
