import { Socket } from 'node:net';

import { ErrorWithReasonCode, type MqttClient, connect } from 'mqtt';
import { BehaviorSubject, Observable, Subject, distinctUntilChanged } from 'rxjs';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';

import type { BrokerLink, BrokerMessage } from './broker-link.js';
import { isWithoutMqtt5 } from './mqtt-broker-features.js';
import { topicMatcher } from './topic-filter.js';

/** Who the controller is at its broker. */
export interface BrokerLogin {
  readonly username?: string;
  readonly password?: string;
  /** PEM; used with `mqtts://`. `servername` is asked for in place of the host's name. */
  readonly tls?: { readonly key: string; readonly cert: string; readonly ca: string; readonly servername?: string };
}

export interface BrokerLinkOptions extends BrokerLogin {
  /** `mqtt://` or `mqtts://`. */
  readonly url: string;
  readonly clientId: string;
  readonly log: Logger;
  /** 4 is MQTT 3.1.1, which every broker speaks; `newest` is 5, or 4 from when a broker says that it has no 5. */
  readonly protocolVersion?: 4 | 5 | 'newest';
  readonly publishDeadlineMs?: number;
  readonly longestReconnectMs?: number;
}

const PUBLISH_DEADLINE_MS = 10_000;
const MOST_IN_FLIGHT = 4_096;
const MOST_BYTES_IN_FLIGHT = 64 * 2 ** 20;
const FIRST_RECONNECT_MS = 100;
const LONGEST_RECONNECT_MS = 5_000;
const CLOSE_DEADLINE_MS = 1_000;

interface Publication {
  readonly topic: string;
  readonly payload: Buffer;
  readonly retain: boolean;
  readonly settle: (error?: FleetError) => void;
  /** While the client has it. */
  messageId: number | undefined;
}

interface Filter {
  readonly matches: (topic: string) => boolean;
  readonly messages: Subject<BrokerMessage>;
  subscribers: number;
}

/**
 * Connects to the fleet's broker and keeps the connection up, trying again after 0.1 to 5 s for as long as it takes.
 *
 * A publication waits for a connection until its deadline. Beyond 4096 of them, or 64 MiB, unacknowledged, `publish`
 * rejects with `broker.unreachable` at once. A rejected one may still have arrived: what is sent must be idempotent.
 * `messages` fails with `broker.refused` when the broker denies the filter. Where filters overlap, a message may come
 * more than once.
 */
export function connectBrokerLink(options: BrokerLinkOptions): BrokerLink {
  return new MqttBrokerLink(options);
}

class MqttBrokerLink implements BrokerLink {
  readonly connected$: Observable<boolean>;
  readonly #options: BrokerLinkOptions;
  readonly #client: MqttClient;
  readonly #connected = new BehaviorSubject(false);
  readonly #filters = new Map<string, Filter>();
  readonly #unacknowledged = new Set<Publication>();
  /** Of those, the ones not yet handed to the client: there was no connection. */
  readonly #waiting = new Set<Publication>();
  #bytesInFlight = 0;
  #closed = false;

  constructor(options: BrokerLinkOptions) {
    this.#options = options;
    this.connected$ = this.#connected.pipe(distinctUntilChanged());
    const longest = options.longestReconnectMs ?? LONGEST_RECONNECT_MS;
    this.#client = connect(options.url, {
      clientId: options.clientId,
      ...(options.username === undefined ? {} : { username: options.username }),
      ...(options.password === undefined ? {} : { password: options.password }),
      ...(options.url.startsWith('mqtts:') ? options.tls : {}),
      protocolVersion: options.protocolVersion === 'newest' ? 5 : (options.protocolVersion ?? 4),
      clean: true,
      keepalive: 20,
      connectTimeout: 10_000,
      reconnectPeriod: FIRST_RECONNECT_MS,
      // A broker that has just restarted may not know us yet.
      reconnectOnConnackError: true,
      resubscribe: false,
      queueQoSZero: false,
      // A buffer for each of 65,536 numbers: 10 MB, to save an allocation of two bytes.
      writeCache: false,
    });
    const client = this.#client;
    client.on('reconnect', () => {
      client.options.reconnectPeriod = Math.min(2 * (client.options.reconnectPeriod ?? FIRST_RECONNECT_MS), longest);
    });
    client.on('connect', () => {
      // mqtt.js leaves Nagle's algorithm on: a small packet would wait 40 ms for the other side's delayed acknowledgement.
      if (client.stream instanceof Socket) client.stream.setNoDelay(true);
      client.options.reconnectPeriod = FIRST_RECONNECT_MS;
      options.log.info('broker-link.connected', { clientId: options.clientId });
      for (const filter of this.#filters.keys()) this.#subscribe(filter);
      for (const publication of this.#waiting) this.#hand(publication);
      // Last: who hears of it may subscribe and publish at once, by the same way.
      this.#connected.next(true);
    });
    client.on('close', () => {
      if (this.#connected.value) options.log.warn('broker-link.lost', { clientId: options.clientId });
      this.#connected.next(false);
      for (const publication of this.#unacknowledged) {
        this.#takeBack(publication);
        this.#waiting.add(publication);
      }
    });
    client.on('error', (error) => {
      if (options.protocolVersion === 'newest' && isWithoutMqtt5(error)) client.options.protocolVersion = 4;
      options.log.warn('broker-link.failed', { clientId: options.clientId, reason: messageOf(error) });
    });
    client.on('message', (topic, payload, packet) => {
      const message: BrokerMessage = { topic, payload, retained: packet.retain };
      for (const { matches, messages } of this.#filters.values()) if (matches(topic)) messages.next(message);
    });
  }

  messages(filter: string): Observable<BrokerMessage> {
    return new Observable((subscriber) => {
      if (this.#closed) {
        subscriber.complete();
        return undefined;
      }
      const known = this.#filters.get(filter);
      const entry: Filter = known ?? {
        matches: topicMatcher(filter),
        messages: new Subject<BrokerMessage>(),
        subscribers: 0,
      };
      this.#filters.set(filter, entry);
      entry.subscribers += 1;
      const subscription = entry.messages.subscribe(subscriber);
      if (known === undefined && this.#connected.value) this.#subscribe(filter);
      return () => {
        subscription.unsubscribe();
        entry.subscribers -= 1;
        if (entry.subscribers > 0 || this.#filters.get(filter) !== entry) return;
        this.#filters.delete(filter);
        if (this.#connected.value) this.#client.unsubscribe(filter, () => {});
      };
    });
  }

  publish(topic: string, payload: Uint8Array, options: { readonly retain?: boolean } = {}): Promise<void> {
    const full = this.#unacknowledged.size >= MOST_IN_FLIGHT || this.#bytesInFlight >= MOST_BYTES_IN_FLIGHT;
    if (this.#closed || full) {
      const why = this.#closed ? 'the link is closed' : `${this.#unacknowledged.size} messages are unacknowledged`;
      return Promise.reject(this.#unreachable(`cannot publish to ${topic}: ${why}`));
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => publication.settle(this.#unreachable(`${topic} was not acknowledged in time`)),
        this.#options.publishDeadlineMs ?? PUBLISH_DEADLINE_MS,
      );
      const publication: Publication = {
        topic,
        payload: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
        retain: options.retain ?? false,
        messageId: undefined,
        settle: (error) => {
          if (!this.#unacknowledged.delete(publication)) return;
          clearTimeout(timer);
          this.#takeBack(publication);
          this.#waiting.delete(publication);
          this.#bytesInFlight -= payload.byteLength;
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      this.#unacknowledged.add(publication);
      this.#bytesInFlight += payload.byteLength;
      if (this.#connected.value) this.#hand(publication);
      else this.#waiting.add(publication);
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const publication of this.#unacknowledged) publication.settle(this.#unreachable('the link was closed'));
    let cancel = (): void => {};
    const late = new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, CLOSE_DEADLINE_MS);
      cancel = () => clearTimeout(timer);
    });
    await Promise.race([this.#connected.value ? this.#client.endAsync(false) : undefined, late]);
    cancel();
    await this.#client.endAsync(true);
    for (const { messages } of this.#filters.values()) messages.complete();
    this.#filters.clear();
    this.#connected.next(false);
    this.#connected.complete();
  }

  #hand(publication: Publication): void {
    this.#waiting.delete(publication);
    const { topic, payload, retain } = publication;
    this.#client.publish(topic, payload, { qos: 1, retain }, (error) => {
      publication.messageId = undefined;
      // Taken back because the connection broke; it goes out again on the next one.
      if (error && !(error instanceof ErrorWithReasonCode)) return;
      const why = `the broker refused the message to ${topic}`;
      publication.settle(error ? new FleetError('broker.refused', `${why}: ${messageOf(error)}`) : undefined);
    });
    publication.messageId = this.#client.getLastMessageId();
  }

  /** The client would send it again by itself, deadline or not, and before it says that it is connected. */
  #takeBack(publication: Publication): void {
    const { messageId } = publication;
    if (messageId !== undefined) this.#client.removeOutgoingMessage(messageId);
    publication.messageId = undefined;
  }

  #subscribe(filter: string): void {
    const entry = this.#filters.get(filter);
    // The session is clean, so an unacknowledged message is not sent again: acknowledging each token would buy nothing.
    this.#client.subscribe(filter, { qos: 0 }, (error, _granted, suback) => {
      // Without a SUBACK the connection was lost; the next one subscribes anew.
      if (!error || suback === undefined || this.#filters.get(filter) !== entry) return;
      this.#filters.delete(filter);
      entry?.messages.error(
        new FleetError('broker.refused', `the broker refused the subscription to ${filter}`, {
          hint: "check the rights of the controller's user at the broker",
        }),
      );
    });
  }

  #unreachable(message: string): FleetError {
    return new FleetError('broker.unreachable', message, { retryable: true });
  }
}
