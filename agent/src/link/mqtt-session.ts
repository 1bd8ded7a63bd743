import { Socket } from 'node:net';

import { connect, type IClientOptions, type MqttClient } from 'mqtt';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { encode } from '@fleetgate/shared/protocol/codec';
import type { Presence } from '@fleetgate/shared/protocol/presence';
import {
  desiredTopic,
  jobCancelFilter,
  jobNextFilter,
  jobsTopic,
  presenceTopic,
} from '@fleetgate/shared/protocol/topics';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';

import type { DeviceCertificate } from './device-certificate.js';
import type { Identity } from './identity.js';

/** Bytes handed to the broker and not yet acknowledged; beyond it the line is too slow for what is said. */
const MOST_WAITING_BYTES = 4 * 1024 * 1024;

export interface MqttSessionOptions {
  readonly url: string;
  readonly identity: Identity;
  /** For a broker that is reached by `mqtts://`; in place of the secret. */
  readonly certificate: DeviceCertificate | undefined;
  readonly epoch: number;
  readonly agentVersion: string;
  /** Between the last packet and the ping that proves the line; the broker gives up after 1.5 times as much. */
  readonly keepaliveS: number;
}

export interface MqttSessionEvents {
  /** The device's topics are subscribed, and its presence is published. */
  onOpen(): void;
  onMessage(topic: string, payload: Uint8Array): void;
  /** Called once, whoever ended it. `refused`: the broker does not take these credentials. */
  onEnd(reason: string, why: 'unreachable' | 'refused'): void;
}

/**
 * One session of a device at its broker, by MQTT 3.1.1: opened once, ended once.
 *
 * It is a client of its own, because its will carries its epoch and the broker learns the will when a session opens.
 * Order on connect: subscribe, then presence (retained), so that nobody sends a job before we listen.
 */
export class MqttSession {
  readonly epoch: number;
  readonly #options: MqttSessionOptions;
  readonly #events: MqttSessionEvents;
  readonly #client: MqttClient;
  /** Ends the wait of every message that the broker has not acknowledged. */
  readonly #waiting = new Set<(error: FleetError) => void>();
  #waitingBytes = 0;
  #reason = 'closed';
  #why: 'unreachable' | 'refused' = 'unreachable';
  #ended = false;

  constructor(options: MqttSessionOptions, events: MqttSessionEvents) {
    this.epoch = options.epoch;
    this.#options = options;
    this.#events = events;
    this.#client = connect(options.url, this.#clientOptions());
    this.#client.on('connect', () => {
      // mqtt.js leaves Nagle's algorithm on: a small packet would wait 40 ms for the other side's delayed acknowledgement.
      if (this.#client.stream instanceof Socket) this.#client.stream.setNoDelay(true);
      void this.#greet();
    });
    this.#client.on('message', (topic, payload) => events.onMessage(topic, payload));
    this.#client.on('error', (error) => {
      this.#reason = messageOf(error);
      // CONNACK 4 and 5: bad user name or password, not authorised.
      if ('code' in error && (error.code === 4 || error.code === 5)) this.#why = 'refused';
    });
    this.#client.on('close', () => this.end());
  }

  /**
   * Resolves when the broker has the message. Rejects with `broker.unreachable` (retryable) when the session ends
   * first or more than a few MiB wait already; with `protocol.too-large` for a message that no broker would take.
   */
  async publish(topic: string, message: object, retain: 'retain' | 'pass'): Promise<void> {
    const payload = encode(message);
    if (this.#waitingBytes + payload.length <= MOST_WAITING_BYTES) return this.#hand(topic, payload, retain);
    const full = `${this.#waitingBytes} bytes wait for the broker, expected at most ${MOST_WAITING_BYTES}`;
    throw new FleetError('broker.unreachable', full, { retryable: true });
  }

  /** Says goodbye (presence `offline`, reason `shutdown`) and lets the broker close; whatever fails, it is over. */
  async leave(): Promise<void> {
    try {
      await this.#publishPresence('offline', 'shutdown');
      await this.#client.endAsync(false);
    } catch {
      // The broker then tells of us by our will.
    }
  }

  /** Ends the session at once. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#client.end(true);
    const error = new FleetError('broker.unreachable', `the session ended: ${this.#reason}`, { retryable: true });
    for (const fail of this.#waiting) fail(error);
    this.#events.onEnd(this.#reason, this.#why);
  }

  #clientOptions(): IClientOptions {
    const { identity, keepaliveS } = this.#options;
    return {
      protocolVersion: 4,
      clientId: identity.deviceId,
      username: identity.deviceId,
      ...this.#proof(),
      clean: true,
      keepalive: keepaliveS,
      connectTimeout: 10_000,
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
      // The cache holds every 16-bit number as a buffer of its own: 7 MB to save a device a few microseconds a message.
      writeCache: false,
      will: {
        topic: presenceTopic(identity.fleet, identity.deviceId),
        payload: encode(this.#presence('offline', 'will')),
        qos: 1,
        retain: true,
      },
    };
  }

  /** A secret is for a broker that asks for one; who has a key shows that, and takes no broker but that of its fleet. */
  #proof(): Pick<IClientOptions, 'password' | 'key' | 'cert' | 'ca' | 'servername'> {
    const { url, identity, certificate } = this.#options;
    if (certificate === undefined || !url.startsWith('mqtts:')) return { password: identity.secret };
    const { keyPem, certificate: cert, authority, brokerName } = certificate;
    return { key: keyPem, cert, ca: authority, servername: brokerName };
  }

  async #greet(): Promise<void> {
    const { fleet, deviceId } = this.#options.identity;
    try {
      const filters = [desiredTopic, jobsTopic, jobCancelFilter, jobNextFilter].map((of) => of(fleet, deviceId));
      const granted = await this.#client.subscribeAsync(filters, { qos: 1 });
      const refused = granted.filter((grant) => grant.qos >= 128).map((grant) => grant.topic);
      if (refused.length > 0) throw new Error(`the broker refused to let us read ${refused.join(', ')}`);
      await this.#publishPresence('online', 'connected');
    } catch (error) {
      this.#reason = messageOf(error);
      this.end();
    }
    if (!this.#ended) this.#events.onOpen();
  }

  #publishPresence(state: Presence['state'], reason: Presence['reason']): Promise<void> {
    const { fleet, deviceId } = this.#options.identity;
    return this.publish(presenceTopic(fleet, deviceId), this.#presence(state, reason), 'retain');
  }

  #presence(state: Presence['state'], reason: Presence['reason']): Presence {
    return { v: PROTOCOL_VERSION, state, epoch: this.epoch, reason, agentVersion: this.#options.agentVersion };
  }

  #hand(topic: string, payload: Buffer, retain: 'retain' | 'pass'): Promise<void> {
    this.#waitingBytes += payload.length;
    return new Promise<void>((resolve, reject) => {
      const fail = (error: FleetError): void => {
        if (this.#waiting.delete(fail)) this.#waitingBytes -= payload.length;
        reject(error);
      };
      this.#waiting.add(fail);
      this.#client.publish(topic, payload, { qos: 1, retain: retain === 'retain' }, (cause) => {
        if (cause !== null && cause !== undefined) {
          fail(new FleetError('broker.unreachable', messageOf(cause), { retryable: true, cause }));
        } else if (this.#waiting.delete(fail)) {
          this.#waitingBytes -= payload.length;
          resolve();
        }
      });
    });
  }
}
