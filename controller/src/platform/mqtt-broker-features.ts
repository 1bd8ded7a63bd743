import { connect, ErrorWithReasonCode, type IConnackPacket } from 'mqtt';

import { FleetError } from '@fleetgate/shared/errors';

import type { BrokerLinkOptions } from './mqtt-broker-link.js';

/** What a broker says of itself when it lets a client in. */
export interface BrokerFeatures {
  readonly protocolVersion: 4 | 5;
  /** MQTT 5, 3.2.2.3.13: there unless it says that it has none. */
  readonly sharedSubscriptions: boolean;
}

const DEADLINE_MS = 5_000;
/** MQTT 3.1.1, 3.2.2.3, and MQTT 5, 3.2.2.2: which of them a broker answers with is its own choice. */
const UNACCEPTABLE_VERSION: ReadonlySet<number> = new Set([0x01, 0x84]);

/** Whether a broker refused a connection because it does not speak MQTT 5. */
export function isWithoutMqtt5(error: unknown): boolean {
  return error instanceof ErrorWithReasonCode && UNACCEPTABLE_VERSION.has(error.code);
}

type Login = Pick<BrokerLinkOptions, 'url' | 'clientId' | 'username' | 'password' | 'tls'>;

/**
 * For one of several controllers. Rejects with `broker.cannot-share`; a broker that cannot be asked now is taken
 * to have them, for it may come later.
 */
export async function requireSharedSubscriptions(login: Login): Promise<void> {
  const features = await askBrokerFeatures(login);
  if (features?.sharedSubscriptions !== false) return;
  const has = features.protocolVersion === 4 ? 'MQTT 3.1.1 only' : 'MQTT 5 without shared subscriptions';
  throw new FleetError(
    'broker.cannot-share',
    `the broker ${login.url} speaks ${has}: several controllers cannot share out what it carries`,
    { hint: 'take a broker with MQTT 5 (mosquitto 2, EMQX 5), or run one controller, without --replica' },
  );
}

/** Connects once and goes. Undefined when the broker does not let us in within 5 s, for whatever other reason. */
export function askBrokerFeatures(options: Login): Promise<BrokerFeatures | undefined> {
  const { url, tls, ...login } = options;
  const client = connect(url, {
    ...login,
    ...(url.startsWith('mqtts:') ? tls : {}),
    protocolVersion: 5,
    reconnectPeriod: 0,
    connectTimeout: DEADLINE_MS,
  });
  return new Promise((resolve) => {
    const end = (features: BrokerFeatures | undefined): void => {
      client.end(true);
      resolve(features);
    };
    client.once('connect', ({ properties }: IConnackPacket) =>
      end({ protocolVersion: 5, sharedSubscriptions: properties?.sharedSubscriptionAvailable !== false }),
    );
    client.once('close', () => end(undefined));
    client.on('error', (error) => {
      if (isWithoutMqtt5(error)) end({ protocolVersion: 4, sharedSubscriptions: false });
    });
  });
}
