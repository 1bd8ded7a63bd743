import type { Aedes, AedesPublishPacket } from 'aedes';
import { Observable } from 'rxjs';

import type { FleetId } from '@fleetgate/shared/ids';
import { fleetFilter, parseTopic } from '@fleetgate/shared/protocol/topics';

import type { TelemetryMessage, TelemetrySource } from './telemetry-source.js';

/** Telemetry straight from the embedded broker: half the work of a client that connects to it. */
export function aedesTelemetrySource(
  broker: Pick<Aedes, 'subscribe' | 'unsubscribe'>,
  fleet: FleetId,
): TelemetrySource {
  const filter = fleetFilter(fleet, 'telemetry');
  return {
    messages$: new Observable<TelemetryMessage>((subscriber) => {
      const deliver = ({ topic, payload }: AedesPublishPacket, done: () => void): void => {
        const device = parseTopic(topic)?.device;
        if (device !== undefined) {
          subscriber.next({ deviceId: device, payload: typeof payload === 'string' ? Buffer.from(payload) : payload });
        }
        setImmediate(done);
      };
      broker.subscribe(filter, deliver, () => {});
      return () => broker.unsubscribe(filter, deliver, () => {});
    }),
    close: () => Promise.resolve(),
  };
}
