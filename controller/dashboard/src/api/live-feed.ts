/**
 * Keeps the page in step with the controller: opens the event stream, reads a whole snapshot, then applies events.
 * Events that arrive while the snapshot is read are applied after it. Whatever ends the stream, a new one is opened
 * after a growing wait, and everything is read again. `EventSource` cannot send an API key, so the stream is a fetch.
 */
import type {
  Budgets,
  DeviceView,
  ExpertView,
  ListBody,
  LiveEvent,
  PlanView,
  RequestView,
  StatusView,
  TelemetryBody,
} from '@fleetgate/shared/api/operations';
import type { Clock } from '@fleetgate/shared/clock';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { type Link, retryWaitMs } from '../state/link.js';
import { HISTORY_MS, MAX_REQUESTS, type Snapshot } from '../state/live.js';
import type { Client } from './client.js';
import { ApiFailure, reasonOf } from './failure.js';
import { parseLiveEvent } from './live-event.js';
import { SseParser } from './sse.js';

const OPEN_DEADLINE_MS = 10_000;
/** After this long without a byte the controller is asked whether it is still there. */
const SILENCE_MS = 20_000;
/** The controller stores telemetry by the minute. */
const HISTORY_STEP_MS = 60_000;
const MAX_HISTORY_DEVICES = 50;

export interface FeedTarget {
  link(link: Link): void;
  snapshot(snapshot: Snapshot): void;
  events(events: readonly LiveEvent[]): void;
  history(body: TelemetryBody): void;
}

export interface LiveFeed {
  /** Tries at once instead of waiting; does nothing while connected. */
  retryNow(): void;
  /** Ends the present connection, as when the browser says that it is offline. */
  drop(reason: string): void;
  stop(): void;
}

export interface FeedOptions {
  readonly client: Client;
  readonly target: FeedTarget;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly chance: () => number;
  readonly hasKey: () => boolean;
}

export function startLiveFeed({ client, target, clock, chance, hasKey }: FeedOptions): LiveFeed {
  const life = new AbortController();
  let attempt = 0;
  let lastLiveMs: number | null = null;
  let connection = new AbortController();
  let wake: () => void = () => undefined;

  const pause = (ms: number | null): Promise<void> =>
    new Promise((resolve) => {
      const cancel = ms === null ? () => undefined : clock.after(milliseconds(ms), resolve);
      wake = () => {
        cancel();
        resolve();
      };
    });

  async function run(): Promise<void> {
    while (!life.signal.aborted) {
      connection = new AbortController();
      let reason: string;
      try {
        await connect(connection);
        reason = 'The controller closed the connection.';
      } catch (error) {
        const cause: unknown = connection.signal.aborted ? connection.signal.reason : error;
        if (cause instanceof ApiFailure && cause.needsKey) {
          target.link({ phase: 'needs-key', refused: hasKey() });
          await pause(null);
          continue;
        }
        reason = reasonOf(cause);
      } finally {
        connection.abort();
      }
      if (life.signal.aborted) return;
      attempt += 1;
      const wait = retryWaitMs(attempt, chance());
      target.link({ phase: 'lost', sinceMs: lastLiveMs, attempt, retryAtMs: clock.now() + wait, reason });
      await pause(wait);
    }
  }

  async function connect(connection: AbortController): Promise<void> {
    const signal = connection.signal;
    const cancelDeadline = clock.after(milliseconds(OPEN_DEADLINE_MS), () =>
      connection.abort(new ApiFailure('The live feed did not open in time.', null)),
    );
    const response = await client
      .open('/api/v1/events', { signal, headers: { accept: 'text/event-stream' } })
      .finally(cancelDeadline);
    if (response.body === null) throw new ApiFailure('The live feed has no body.', response.status);

    let early: LiveEvent[] | null = [];
    const load = async (): Promise<void> => {
      const snapshot = await loadSnapshot(client);
      if (signal.aborted) return;
      target.snapshot(snapshot);
      target.events(early ?? []);
      early = null;
      attempt = 0;
      lastLiveMs = clock.now();
      target.link({ phase: 'live' });
      void loadHistory(snapshot, signal);
    };
    const loaded = load();
    loaded.catch((error: unknown) => connection.abort(error));

    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new SseParser();
    let cancelWatch = watch(connection);
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        cancelWatch();
        cancelWatch = watch(connection);
        const events = parser.push(value).flatMap((frame) => parseLiveEvent(frame) ?? []);
        if (early !== null) early.push(...events);
        else if (events.length > 0) target.events(events);
        lastLiveMs = clock.now();
      }
    } finally {
      cancelWatch();
      await reader.cancel().catch(() => undefined);
    }
    await loaded;
  }

  /** A stream can die without an end (a device asleep, a network gone): silence makes the page ask. */
  function watch(connection: AbortController): () => void {
    return clock.every(milliseconds(SILENCE_MS), () => {
      client.get('/api/v1/status').catch((error: unknown) => connection.abort(error));
    });
  }

  async function loadHistory(snapshot: Snapshot, signal: AbortSignal): Promise<void> {
    const to = clock.now();
    for (const device of snapshot.devices.slice(0, MAX_HISTORY_DEVICES)) {
      if (signal.aborted) return;
      const query = new URLSearchParams({
        device: device.id,
        metric: 'powerW',
        from: String(to - HISTORY_MS),
        to: String(to),
        step: String(HISTORY_STEP_MS),
      });
      try {
        target.history(await client.get<TelemetryBody>(`/api/v1/telemetry?${query.toString()}`));
      } catch {
        // The chart then starts with the live samples: right, only shorter.
        return;
      }
    }
  }

  void run();
  return {
    retryNow: () => wake(),
    drop: (reason) => connection.abort(new ApiFailure(reason, null)),
    stop: () => {
      life.abort();
      connection.abort();
      wake();
    },
  };
}

async function loadSnapshot(client: Client): Promise<Snapshot> {
  const [status, devices, experts, plans, budgets, requests] = await Promise.all([
    client.get<StatusView>('/api/v1/status'),
    client.get<ListBody<DeviceView>>('/api/v1/devices'),
    client.get<ListBody<ExpertView>>('/api/v1/experts'),
    client.get<ListBody<PlanView>>('/api/v1/plans'),
    client.get<Budgets>('/api/v1/budgets'),
    client.get<ListBody<RequestView>>(`/api/v1/requests?limit=${MAX_REQUESTS}`),
  ]);
  return {
    status,
    devices: devices.items,
    experts: experts.items,
    plans: plans.items,
    budgets,
    requests: requests.items,
  };
}
