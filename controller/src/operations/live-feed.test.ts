import type { LiveEvent } from '@fleetgate/shared/api/operations';
import { ManualClock } from '@fleetgate/shared/clock';
import { describe, expect, it } from 'vitest';

import { type LiveClient, LiveFeed } from './live-feed.js';

class RecordingClient implements LiveClient {
  text = '';
  pending = 0;
  closed = false;
  write(frame: string): boolean {
    this.text += frame;
    return this.pending === 0;
  }
  pendingBytes(): number {
    return this.pending;
  }
  close(): void {
    this.closed = true;
  }
  events(): readonly LiveEvent[] {
    return [...this.text.matchAll(/^data: (.*)$/gm)].map((match) => JSON.parse(match[1] ?? '') as LiveEvent);
  }
}

const removed = (id: string): LiveEvent => ({ type: 'device-removed', id });
const telemetry = (deviceId: string, powerW: number): LiveEvent => ({
  type: 'telemetry',
  deviceId,
  atMs: powerW,
  last: { powerW },
});

describe('LiveFeed', () => {
  it('sends how everything is, then what changes', () => {
    const feed = new LiveFeed(() => [removed('a'), removed('b')], new ManualClock());
    const client = new RecordingClient();
    feed.add(client);
    feed.tell(removed('c'));
    expect(client.events()).toEqual([removed('a'), removed('b'), removed('c')]);
    expect(client.text).toContain('event: device-removed\ndata: ');
  });

  it('tells telemetry once a second and device, with the newest of each metric', () => {
    const clock = new ManualClock();
    const feed = new LiveFeed(() => [], clock);
    const client = new RecordingClient();
    feed.add(client);
    for (let powerW = 1; powerW <= 5; powerW += 1) feed.tell(telemetry('pi', powerW));
    feed.tell({ type: 'telemetry', deviceId: 'pi', atMs: 9, last: { temperatureC: 50 } });
    expect(client.events()).toEqual([]);
    clock.advance(1000);
    expect(client.events()).toEqual([
      { type: 'telemetry', deviceId: 'pi', atMs: 9, last: { powerW: 5, temperatureC: 50 } },
    ]);
  });

  it('closes a client that does not read, and serves the others', () => {
    const feed = new LiveFeed(() => [], new ManualClock());
    const [slow, quick] = [new RecordingClient(), new RecordingClient()];
    feed.add(slow);
    feed.add(quick);
    slow.pending = 3 * 1024 * 1024;
    feed.tell(removed('a'));
    feed.tell(removed('b'));
    expect(slow).toMatchObject({ closed: true });
    expect(feed.size).toBe(1);
    expect(quick.events()).toHaveLength(2);
  });

  it('keeps connections warm, takes at most a hundred, and closes all', () => {
    const clock = new ManualClock();
    const feed = new LiveFeed(() => [], clock);
    const clients = Array.from({ length: 100 }, () => new RecordingClient());
    expect(clients.every((client) => feed.add(client))).toBe(true);
    expect(feed.add(new RecordingClient())).toBe(false);
    clock.advance(15_000);
    expect(clients[0]?.text).toContain(': heartbeat');
    feed.close();
    expect(clients.every((client) => client.closed)).toBe(true);
  });
});
