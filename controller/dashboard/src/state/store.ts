/** The page's state as signals, and the few things that change it. One per page. */
import { computed, type ReadonlySignal, signal } from '@preact/signals';
import type { Clock } from '@fleetgate/shared/clock';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { FeedTarget } from '../api/live-feed.js';
import type { Link } from './link.js';
import { applyEvents, applyHistory, applySnapshot, emptyFleet, type FleetState } from './live.js';

export interface Store extends FeedTarget {
  readonly fleet: ReadonlySignal<FleetState>;
  readonly connection: ReadonlySignal<Link>;
  /** Whether a snapshot was ever read: before, there is nothing to show. */
  readonly loaded: ReadonlySignal<boolean>;
  /** Ticks once a second, for ages and countdowns. */
  readonly nowMs: ReadonlySignal<number>;
}

export function createStore(clock: Clock): Store {
  const fleet = signal<FleetState>(emptyFleet);
  const connection = signal<Link>({ phase: 'connecting' });
  const nowMs = signal<number>(clock.now());
  clock.every(milliseconds(1000), () => {
    nowMs.value = clock.now();
  });
  return {
    fleet,
    connection,
    nowMs,
    loaded: computed(() => fleet.value.status !== null),
    link: (next) => {
      connection.value = next;
    },
    snapshot: (snapshot) => {
      fleet.value = applySnapshot(fleet.value, snapshot);
    },
    events: (events) => {
      fleet.value = applyEvents(fleet.value, events);
    },
    history: (body) => {
      fleet.value = applyHistory(fleet.value, body);
    },
  };
}
