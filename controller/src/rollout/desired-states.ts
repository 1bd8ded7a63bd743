import type { Clock } from '@fleetgate/shared/clock';
import { messageOf } from '@fleetgate/shared/errors';
import type { DeviceId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { combineLatest, distinctUntilChanged, filter, map, type Observable, Subscription } from 'rxjs';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { FleetChange } from '../fleet/device.js';
import type { Fleet } from '../fleet/fleet.js';
import { ALWAYS, type Leading } from '../platform/leading.js';
import { type DesiredSettings, measuring, nextDesired, type PlannedResidency } from './desired.js';
import type { DesiredStateLink } from './desired-state-link.js';

/** Changes that come together are answered together. */
const GATHER = milliseconds(20);
const RETRY = milliseconds(2000);

export interface DesiredStatesParts {
  readonly fleet: Fleet;
  readonly catalogue: Catalogue & { readonly changes$: Observable<unknown> };
  /** The active plan with what lingers, as it is now. */
  readonly activePlan: () => PlannedResidency | undefined;
  readonly planChanges$: Observable<unknown>;
  readonly link: DesiredStateLink;
  /** Absent: this is the only controller. */
  readonly leading?: Leading;
  readonly settings: DesiredSettings;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Tells every device what it is to have: the plan's variants, and those it still has to measure.
 *
 * Level-triggered: whatever changed, it looks at everything as it is now and publishes what is not yet published. A
 * missed trigger costs a delay, never correctness. After every reconnect all documents go out again, for the embedded
 * broker keeps nothing over a restart; so they do when this controller begins to lead.
 *
 * Of several controllers the one that leads makes documents; the others hear of them from the broker. Should one that led before
 * have spoken late, its older document goes out of the broker again.
 */
export class DesiredStates {
  readonly #parts: DesiredStatesParts;
  readonly #leading: Leading;
  readonly #subscriptions = new Subscription();
  readonly #unpublished = new Set<DeviceId>();
  #cancel: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #again = false;
  /** Leads, and is connected. */
  #mayPublish = false;
  #stopped = false;

  constructor(parts: DesiredStatesParts) {
    this.#parts = parts;
    this.#leading = parts.leading ?? ALWAYS;
  }

  start(): void {
    const { fleet, catalogue, planChanges$, link } = this.#parts;
    this.#subscriptions.add(fleet.changes$.subscribe((change) => this.#onChange(change)));
    this.#subscriptions.add(catalogue.changes$.subscribe(() => this.#soon()));
    this.#subscriptions.add(planChanges$.subscribe(() => this.#soon()));
    const mayPublish$ = combineLatest([link.connected$, this.#leading.changes$]).pipe(
      map((both) => both.every(Boolean)),
    );
    this.#subscriptions.add(
      mayPublish$.pipe(distinctUntilChanged()).subscribe((mayPublish) => {
        this.#mayPublish = mayPublish;
        if (!mayPublish) return;
        for (const id of fleet.view.keys()) this.#unpublished.add(id);
        this.#soon();
      }),
    );
    if (this.#parts.leading !== undefined) this.#subscriptions.add(this.#followOthers());
    this.#soon();
  }

  #followOthers(): Subscription {
    const { fleet, link, clock } = this.#parts;
    return link.told$.pipe(filter(({ deviceId }) => fleet.view.has(deviceId))).subscribe(({ deviceId, desired }) => {
      const known = fleet.view.get(deviceId)?.desired?.generation ?? 0;
      if (desired.generation >= known) fleet.record({ kind: 'desired', deviceId, desired, at: clock.now() });
      else if (this.#mayPublish) {
        this.#unpublished.add(deviceId);
        this.#soon();
      }
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#subscriptions.unsubscribe();
    this.#cancel?.();
    await this.#running;
  }

  #onChange({ event, before, after }: FleetChange): void {
    if (event.kind === 'removed') {
      this.#unpublished.delete(event.deviceId);
      if (!this.#leading.now()) return;
      this.#parts.link.clear(event.deviceId).catch((error: unknown) => {
        this.#parts.log.debug('desired.not-cleared', { deviceId: event.deviceId, reason: messageOf(error) });
      });
    }
    // Renewed leases and telemetry come by the second and change nothing here.
    const matters = before?.presence !== after?.presence || before?.reported !== after?.reported;
    if (matters || before === undefined) this.#soon();
  }

  #soon(): void {
    if (this.#running !== undefined) this.#again = true;
    else this.#later(GATHER);
  }

  #later(delay: ReturnType<typeof milliseconds>): void {
    if (this.#stopped || this.#cancel !== undefined) return;
    this.#cancel = this.#parts.clock.after(delay, () => {
      this.#cancel = undefined;
      this.#running = this.#round().finally(() => {
        this.#running = undefined;
        if (this.#again) this.#later(GATHER);
        else if (this.#unpublished.size > 0 && this.#mayPublish) this.#later(RETRY);
        this.#again = false;
      });
    });
  }

  async #round(): Promise<void> {
    if (!this.#leading.now()) return;
    const { fleet, catalogue, activePlan, settings, clock, log } = this.#parts;
    const plan = activePlan();
    const measured = measuring(fleet.view.values(), catalogue);
    for (const device of fleet.view.values()) {
      const desired = nextDesired(device, plan, measured.get(device.id) ?? [], catalogue, settings);
      if (desired === undefined) continue;
      fleet.record({ kind: 'desired', deviceId: device.id, desired, at: clock.now() });
      this.#unpublished.add(device.id);
      log.info('desired.changed', {
        deviceId: device.id,
        generation: desired.generation,
        planId: desired.planId,
        state: desired.state,
        serves: desired.variants.filter((variant) => variant.purpose === 'serve').length,
        measures: desired.variants.filter((variant) => variant.purpose === 'measure').length,
      });
    }
    // Without a connection there is nothing to try: the reconnect brings us back here.
    if (this.#unpublished.size === 0 || !this.#mayPublish) return;
    try {
      // A generation that a device has seen must not be given to other content after a crash.
      await fleet.flush();
    } catch (error) {
      log.error('desired.not-saved', { reason: messageOf(error) });
      return;
    }
    for (const id of this.#unpublished) if (this.#mayPublish) await this.#publish(id);
  }

  async #publish(id: DeviceId): Promise<void> {
    const { fleet, link, log } = this.#parts;
    const desired = fleet.view.get(id)?.desired;
    try {
      if (desired !== undefined) await link.publish(id, desired);
      // A newer document may have been made meanwhile: it waits for the next round.
      if (fleet.view.get(id)?.desired === desired) this.#unpublished.delete(id);
    } catch (error) {
      log.warn('desired.not-published', { deviceId: id, reason: messageOf(error) });
    }
  }
}
