import type { LiveEvent, StatusView } from '@fleetgate/shared/api/operations';
import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { BoardId } from '@fleetgate/shared/ids';
import { distinctUntilChanged, type Observable, Subscription } from 'rxjs';

import type { Ledger } from '../dispatch/ledger.js';
import type { FleetChange } from '../fleet/device.js';
import type { Fleet } from '../fleet/fleet.js';
import type { ToldEvent } from '../fleet/mqtt-fleet-link.js';
import { planView } from '../planning/plan-view.js';
import type { Planner } from '../planning/planner.js';
import type { LiveFeed } from './live-feed.js';
import { deviceView } from './read-model.js';

export interface LiveFeedSources {
  readonly fleet: Fleet;
  readonly boards: ReadonlyMap<BoardId, BoardProfile>;
  readonly deviceEvents$: Observable<ToldEvent>;
  readonly planner: Planner;
  readonly ledger: Pick<Ledger, 'changes$'>;
  readonly status: () => StatusView;
  /** Emits whenever the status may be another. */
  readonly statusChanges$: Observable<unknown>;
}

/** Everything as it is now, as a client's first frames. */
export function* liveSnapshot({ fleet, boards, planner, status }: LiveFeedSources): Iterable<LiveEvent> {
  yield { type: 'status', status: status() };
  for (const device of fleet.view.values()) yield { type: 'device', device: deviceView(device, boards) };
  yield { type: 'budgets', budgets: planner.budgets() };
  const active = planner.plans.active();
  if (active !== undefined) yield { type: 'plan', plan: planView(active) };
}

/** Tells the feed of every change until the subscription ends. */
export function tellLiveFeed(feed: LiveFeed, sources: LiveFeedSources): Subscription {
  const { boards, planner, status } = sources;
  const tellStatus = (): void => feed.tell({ type: 'status', status: status() });
  const subscriptions = new Subscription();
  subscriptions.add(
    sources.fleet.changes$.subscribe((change) => {
      const event = deviceChange(change, boards);
      if (event !== undefined) feed.tell(event);
      if (change.before?.presence !== change.after?.presence) tellStatus();
    }),
  );
  subscriptions.add(
    sources.deviceEvents$.subscribe(({ deviceId, event }) => feed.tell({ type: 'device-event', deviceId, event })),
  );
  subscriptions.add(
    planner.plans.changes$.subscribe((record) => {
      feed.tell({ type: 'plan', plan: planView(record) });
      tellStatus();
    }),
  );
  subscriptions.add(
    planner.budgets$.pipe(distinctUntilChanged()).subscribe((budgets) => feed.tell({ type: 'budgets', budgets })),
  );
  subscriptions.add(
    sources.ledger.changes$.subscribe((request) => {
      // What one of several experts is asked shows in the request that they answer.
      if (request.callOf === undefined) feed.tell({ type: 'request', request });
    }),
  );
  subscriptions.add(sources.statusChanges$.subscribe(tellStatus));
  return subscriptions;
}

/** A renewed lease alone is not told: there is one with every batch of telemetry. */
function deviceChange(
  { event, before, after }: FleetChange,
  boards: ReadonlyMap<BoardId, BoardProfile>,
): LiveEvent | undefined {
  if (after === undefined) return { type: 'device-removed', id: event.deviceId };
  const isTelemetry = event.kind === 'observed' && before?.presence === after.presence;
  if (isTelemetry) return { type: 'telemetry', deviceId: after.id, atMs: event.sampledAt, last: event.last };
  const isRenewal = event.kind === 'presence' && before?.presence === after.presence && before.epoch === after.epoch;
  return isRenewal ? undefined : { type: 'device', device: deviceView(after, boards) };
}
