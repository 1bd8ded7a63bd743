import type { LiveEvent } from '@fleetgate/shared/api/operations';
import { ManualClock } from '@fleetgate/shared/clock';
import { afterEach, describe, expect, it } from 'vitest';

import { createClient } from '../../controller/dashboard/src/api/client.js';
import { type FeedTarget, type LiveFeed, startLiveFeed } from '../../controller/dashboard/src/api/live-feed.js';
import type { Link } from '../../controller/dashboard/src/state/link.js';
import { type DashboardFixture, startDashboardFixture } from '../support/dashboard-fixture.js';

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of undo.splice(0).toReversed()) await each();
});

/** What the feed told, and a wait for the next thing that it tells. */
class Told implements FeedTarget {
  readonly all: string[] = [];
  last: Link | null = null;
  #waiting: { readonly wanted: string; readonly resolve: () => void }[] = [];

  link(link: Link): void {
    this.last = link;
    this.#tell(`link ${link.phase}`);
  }
  snapshot(): void {
    this.#tell('snapshot');
  }
  events(events: readonly LiveEvent[]): void {
    for (const event of events) this.#tell(event.type);
  }
  history(): void {
    this.#tell('history');
  }
  next(wanted: string): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ wanted, resolve }));
  }
  #tell(what: string): void {
    this.all.push(what);
    const due = this.#waiting.filter((each) => each.wanted === what);
    this.#waiting = this.#waiting.filter((each) => each.wanted !== what);
    for (const each of due) each.resolve();
  }
}

async function open(apiKey?: string) {
  const fixture: DashboardFixture = await startDashboardFixture(apiKey === undefined ? {} : { apiKey });
  undo.push(() => fixture.stop());
  const told = new Told();
  const clock = new ManualClock();
  const key = { value: null as string | null };
  const client = createClient(fixture.url, {
    read: () => key.value,
    write: (next) => {
      key.value = next;
    },
  });
  const feed: LiveFeed = startLiveFeed({
    client,
    target: told,
    clock,
    chance: () => 0,
    hasKey: () => key.value !== null,
  });
  undo.push(() => feed.stop());
  return { fixture, told, clock, feed, key };
}

describe('live feed against a real server', () => {
  it('reads a snapshot, says live, then brings history and events', async () => {
    const { told } = await open();
    await told.next('link live');
    expect(told.all).toEqual(['snapshot', 'link live']);
    await Promise.all([told.next('history'), told.next('telemetry')]);
  });

  it('says when the controller is gone, waits longer each time, and reads everything again when it is back', async () => {
    const { fixture, told, clock } = await open();
    await told.next('link live');
    const lost = told.next('link lost');
    await fixture.stop();
    await lost;
    expect(told.last).toMatchObject({ phase: 'lost', attempt: 1, retryAtMs: clock.now() + 500 });
    const again = told.next('link lost');
    clock.advance(500);
    await again;
    expect(told.last).toMatchObject({ attempt: 2, reason: 'The controller cannot be reached.' });
    await fixture.restart();
    const live = told.next('link live');
    clock.advance(1000);
    await live;
    expect(told.all.filter((each) => each === 'snapshot')).toHaveLength(2);
  });

  it('tries at once when told to', async () => {
    const { fixture, told, feed } = await open();
    await told.next('link live');
    const lost = told.next('link lost');
    feed.drop('This computer is offline.');
    await lost;
    expect(told.last).toMatchObject({ reason: 'This computer is offline.' });
    const live = told.next('link live');
    feed.retryNow();
    await live;
    expect(fixture.unknownPaths).toEqual([]);
  });

  it('asks for a key, says when it is refused, and goes on with the right one', async () => {
    const { told, feed, key } = await open('fg-right');
    await told.next('link needs-key');
    expect(told.last).toEqual({ phase: 'needs-key', refused: false });
    const refused = told.next('link needs-key');
    key.value = 'fg-wrong';
    feed.retryNow();
    await refused;
    expect(told.last).toEqual({ phase: 'needs-key', refused: true });
    const live = told.next('link live');
    key.value = 'fg-right';
    feed.retryNow();
    await live;
  });
});
