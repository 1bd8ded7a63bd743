import { Observable, Subject, type Subscription, exhaustMap, filter, map, share, takeUntil } from 'rxjs';

import type { Clock } from '@fleetgate/shared/clock';
import { messageOf } from '@fleetgate/shared/errors';
import { type Milliseconds, milliseconds, unixMs } from '@fleetgate/shared/units/quantity';

import { TelemetryIngest } from './ingest.js';
import type { TelemetryEvent, TelemetryObservation } from './telemetry-event.js';
import type { TelemetrySource } from './telemetry-source.js';
import type { TelemetryStore } from './telemetry-store.js';

export interface TelemetryIngestionOptions {
  /** What is stored. */
  readonly source: TelemetrySource;
  /** Where newest values come from, if not from there: several controllers share out what they store. */
  readonly live?: TelemetrySource;
  /** Called until it succeeds: a full or unwritable disk must not stop the broker. */
  readonly openStore: () => Promise<TelemetryStore>;
  readonly retention: Milliseconds;
  readonly clock: Clock;
  readonly onEvent: (event: TelemetryEvent) => void;
}

const OBSERVE_EVERY = milliseconds(250);
const STORE_EVERY = milliseconds(10_000);
const EXPIRE_EVERY = milliseconds(3_600_000);

/**
 * Runs telemetry from its source to its store.
 *
 * Newest values are told at most every 250 ms. Rollups are stored every 10 s and at the stop; while the store fails they
 * wait, within bounds, and what a killed process had not stored yet is lost.
 */
export class TelemetryIngestion {
  readonly observations$: Observable<readonly TelemetryObservation[]>;
  readonly #options: TelemetryIngestionOptions;
  readonly #ingest: TelemetryIngest;
  /** Of the newest values. */
  readonly #newest: TelemetryIngest;
  readonly #stopped = new Subject<void>();
  readonly #subscriptions: readonly Subscription[];
  #store: TelemetryStore | undefined;
  #storeState: 'well' | 'failing' = 'well';
  #storing: Promise<void> = Promise.resolve();

  constructor(options: TelemetryIngestionOptions) {
    const { source, live, clock, retention, onEvent } = options;
    this.#options = options;
    this.#ingest = new TelemetryIngest({
      retention,
      onRefused: (deviceId, reason) => onEvent({ kind: 'telemetry-refused', deviceId, reason, count: 1 }),
    });
    // What is wrong with a message is told once, by whoever stores it.
    this.#newest =
      live === undefined ? this.#ingest : new TelemetryIngest({ retention, onRefused: () => {}, wanted: 'newest' });
    const every = (period: Milliseconds) => ticks(clock, period).pipe(takeUntil(this.#stopped));
    this.observations$ = every(OBSERVE_EVERY).pipe(
      map(() => this.#newest.takeObservations()),
      filter((observations) => observations.length > 0),
      share(),
    );
    this.#subscriptions = [
      source.messages$.subscribe(({ deviceId, payload }) => this.#ingest.accept(deviceId, payload, clock.now())),
      ...(live === undefined
        ? []
        : [live.messages$.subscribe(({ deviceId, payload }) => this.#newest.accept(deviceId, payload, clock.now()))]),
      every(STORE_EVERY)
        .pipe(exhaustMap(() => this.storeNow()))
        .subscribe(),
      every(EXPIRE_EVERY)
        .pipe(exhaustMap(() => this.#expire()))
        .subscribe(),
    ];
    // Opens the store at once, so that readers find it, and expires what became too old while nothing ran.
    void this.#expire();
  }

  /** Stores what has come so far. Never rejects: a failure is told as an event, and what failed waits for the next time. */
  storeNow(): Promise<void> {
    return this.#inTurn(async (store) => {
      const rollups = this.#ingest.takeRollups();
      try {
        await store.add(rollups);
      } catch (error) {
        const lost = this.#ingest.restoreRollups(rollups);
        if (lost > 0) this.#tell('lost', `no room for ${lost} rollups of telemetry`, lost);
        throw error;
      }
    });
  }

  /** Takes in nothing more, stores the rest and closes sources and store. */
  async stop(): Promise<void> {
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    this.#stopped.next();
    await Promise.all([this.#options.source.close(), this.#options.live?.close()]);
    await this.storeNow();
    await this.#store?.close();
    this.#store = undefined;
  }

  #expire(): Promise<void> {
    return this.#inTurn(async (store) => {
      const { clock, retention } = this.#options;
      await store.expire(unixMs(clock.now() - retention));
    });
  }

  #inTurn(work: (store: TelemetryStore) => Promise<void>): Promise<void> {
    const turn = async (previous: Promise<void>): Promise<void> => {
      await previous;
      try {
        this.#store ??= await this.#options.openStore();
        await work(this.#store);
        if (this.#storeState === 'failing') this.#tell('recovered', 'telemetry is stored again', 1);
        this.#storeState = 'well';
      } catch (error) {
        this.#storeState = 'failing';
        this.#tell('failing', messageOf(error), 1);
      }
    };
    this.#storing = turn(this.#storing);
    return this.#storing;
  }

  #tell(state: 'failing' | 'recovered' | 'lost', message: string, count: number): void {
    this.#options.onEvent({ kind: 'telemetry-store', state, message, count });
  }
}

function ticks(clock: Clock, period: Milliseconds): Observable<void> {
  return new Observable((subscriber) => clock.every(period, () => subscriber.next()));
}
