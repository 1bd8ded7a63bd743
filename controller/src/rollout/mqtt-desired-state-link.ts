import type { DeviceId, FleetId } from '@fleetgate/shared/ids';
import { decode, encode } from '@fleetgate/shared/protocol/codec';
import { desiredTopic, fleetFilter, parseTopic } from '@fleetgate/shared/protocol/topics';
import { type Desired, desiredSchema } from '@fleetgate/shared/protocol/twin';
import { mergeMap, type Observable } from 'rxjs';

import type { BrokerLink } from '../platform/broker-link.js';
import type { DesiredStateLink } from './desired-state-link.js';

/** Desired documents as retained MQTT messages. */
export class MqttDesiredStateLink implements DesiredStateLink {
  readonly #broker: BrokerLink;
  readonly #fleetId: FleetId;

  constructor(broker: BrokerLink, fleetId: FleetId) {
    this.#broker = broker;
    this.#fleetId = fleetId;
  }

  get connected$(): Observable<boolean> {
    return this.#broker.connected$;
  }

  get told$(): Observable<{ readonly deviceId: DeviceId; readonly desired: Desired }> {
    return this.#broker.messages(fleetFilter(this.#fleetId, 'desired')).pipe(
      mergeMap(({ topic, payload }) => {
        const deviceId = parseTopic(topic)?.device;
        const read = decode(desiredSchema, payload);
        return deviceId === undefined || !read.ok ? [] : [{ deviceId, desired: read.message }];
      }),
    );
  }

  async publish(device: DeviceId, desired: Desired): Promise<void> {
    await this.#broker.publish(desiredTopic(this.#fleetId, device), encode(desired), { retain: true });
  }

  async clear(device: DeviceId): Promise<void> {
    await this.#broker.publish(desiredTopic(this.#fleetId, device), new Uint8Array(0), { retain: true });
  }
}
