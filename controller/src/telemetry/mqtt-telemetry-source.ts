import { filter, map, retry, tap, timer } from 'rxjs';

import { parseTopic } from '@fleetgate/shared/protocol/topics';

import type { BrokerLink } from '../platform/broker-link.js';
import type { TelemetryMessage, TelemetrySource } from './telemetry-source.js';

const RETRY_MS = 30_000;

/** Telemetry on `topics` of a broker that runs elsewhere, over a link of its own (which it closes). */
export function mqttTelemetrySource(link: BrokerLink, topics: string, onRefused: () => void): TelemetrySource {
  const messages = link.messages(topics);
  return {
    messages$: messages.pipe(
      // Refused by the broker's rights: told, and tried again, because an operator may set them right.
      tap({ error: onRefused }),
      retry({ delay: () => timer(RETRY_MS) }),
      map(({ topic, payload }): TelemetryMessage | undefined => {
        const device = parseTopic(topic)?.device;
        return device === undefined ? undefined : { deviceId: device, payload };
      }),
      filter((message) => message !== undefined),
    ),
    close: () => link.close(),
  };
}
