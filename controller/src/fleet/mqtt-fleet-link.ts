import type { Clock } from '@fleetgate/shared/clock';
import { type FleetError, messageOf, unreachable } from '@fleetgate/shared/errors';
import type { DeviceId, FleetId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { decode } from '@fleetgate/shared/protocol/codec';
import { presenceSchema } from '@fleetgate/shared/protocol/presence';
import { type DeviceEvent, deviceEventSchema } from '@fleetgate/shared/protocol/telemetry';
import { fleetFilter, parseTopic } from '@fleetgate/shared/protocol/topics';
import { reportedSchema } from '@fleetgate/shared/protocol/twin';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { type Observable, Subject, Subscription } from 'rxjs';

import type { BrokerLink, BrokerMessage } from '../platform/broker-link.js';
import type { Fleet } from './fleet.js';

/** What a device says outside its documents, and what was wrong with what it said. */
export interface ToldEvent {
  readonly deviceId: DeviceId;
  readonly event: DeviceEvent;
}

/** Counts what comes in; `reason` is `ok` or an error code. */
export type CountMessage = (channel: 'presence' | 'reported' | 'events', reason: string) => void;

/** A device that sends nonsense is shown once in this time, however much it sends; every message is counted. */
const FAULT_PERIOD = milliseconds(10_000);

/**
 * Records into the fleet what devices publish of themselves. Nothing that a device sends can make it throw: malformed,
 * future-version and foreign messages are counted, shown as events of the device, and dropped.
 */
export class MqttFleetLink {
  readonly #told = new Subject<ToldEvent>();
  readonly #faultShownAt = new Map<DeviceId, number>();
  readonly #subscriptions = new Subscription();
  readonly #parts: FleetLinkParts;

  constructor(parts: FleetLinkParts) {
    this.#parts = parts;
  }

  get events$(): Observable<ToldEvent> {
    return this.#told;
  }

  start(): void {
    for (const channel of ['presence', 'reported', 'events'] as const) {
      this.#subscriptions.add(
        this.#parts.broker.messages(fleetFilter(this.#parts.fleetId, channel)).subscribe({
          next: (message) => this.#take(channel, message),
          error: (error: unknown) => this.#parts.log.error('fleet-link.refused', { channel, reason: messageOf(error) }),
        }),
      );
    }
  }

  stop(): void {
    this.#subscriptions.unsubscribe();
    this.#told.complete();
  }

  #take(channel: 'presence' | 'reported' | 'events', message: BrokerMessage): void {
    const { fleet, clock, count } = this.#parts;
    const topic = parseTopic(message.topic);
    // An empty retained payload is how a removed device's documents are cleared.
    if (topic === undefined || message.payload.length === 0) return;
    const deviceId = topic.device;
    if (!fleet.view.has(deviceId)) {
      count(channel, 'device.unknown');
      return;
    }
    const error = this.#record(channel, deviceId, message.payload, clock.now());
    count(channel, error?.code ?? 'ok');
    if (error !== undefined) this.#showFault(channel, deviceId, error);
  }

  #record(
    channel: 'presence' | 'reported' | 'events',
    deviceId: DeviceId,
    payload: Uint8Array,
    at: ReturnType<Clock['now']>,
  ): FleetError | undefined {
    switch (channel) {
      case 'presence': {
        const result = decode(presenceSchema, payload);
        if (!result.ok) return result.error;
        this.#parts.fleet.record({ kind: 'presence', deviceId, presence: result.message, at });
        return undefined;
      }
      case 'reported': {
        const result = decode(reportedSchema, payload);
        if (!result.ok) return result.error;
        this.#parts.fleet.record({ kind: 'reported', deviceId, reported: result.message, at });
        return undefined;
      }
      case 'events': {
        const result = decode(deviceEventSchema, payload);
        if (!result.ok) return result.error;
        this.#told.next({ deviceId, event: result.message });
        return undefined;
      }
      default:
        return unreachable(channel);
    }
  }

  #showFault(channel: string, deviceId: DeviceId, error: FleetError): void {
    const now = this.#parts.clock.now();
    const shownAt = this.#faultShownAt.get(deviceId);
    if (shownAt !== undefined && now - shownAt < FAULT_PERIOD) return;
    this.#faultShownAt.set(deviceId, now);
    this.#parts.log.warn('device.message-refused', { deviceId, channel, code: error.code, reason: error.message });
    const epoch = Math.max(1, this.#parts.fleet.view.get(deviceId)?.epoch ?? 1);
    const message = `${channel} message refused: ${error.message}`.slice(0, 2000);
    this.#told.next({
      deviceId,
      event: { v: PROTOCOL_VERSION, epoch, atMs: now, level: 'warn', code: error.code, message },
    });
  }
}

export interface FleetLinkParts {
  readonly broker: BrokerLink;
  readonly fleet: Fleet;
  readonly fleetId: FleetId;
  readonly clock: Clock;
  readonly log: Logger;
  readonly count: CountMessage;
}
