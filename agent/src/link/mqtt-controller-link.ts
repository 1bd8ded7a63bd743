import { Socket } from 'node:net';

import { connect, type IClientOptions, type MqttClient } from 'mqtt';

import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import { decode, encode } from '@fleetgate/shared/protocol/codec';
import { jobCancelSchema, jobSchema } from '@fleetgate/shared/protocol/job';
import type { Presence } from '@fleetgate/shared/protocol/presence';
import {
  desiredTopic,
  eventsTopic,
  jobCancelFilter,
  jobOutTopic,
  jobsTopic,
  parseTopic,
  presenceTopic,
  reportedTopic,
  telemetryTopic,
} from '@fleetgate/shared/protocol/topics';
import { desiredSchema } from '@fleetgate/shared/protocol/twin';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';
import type { Random } from '@fleetgate/shared/random';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import { backoff } from './backoff.js';
import type { ControllerLink, Incoming, LinkListener, LinkState, Outgoing } from './controller-link.js';
import type { Epochs } from './disk-identity.js';
import type { Identity } from './identity.js';

const FIRST_RETRY = milliseconds(500);
const LONGEST_RETRY = milliseconds(15_000);
/**
 * An external broker lets a new device in after its next reload, which may be seconds away; wrong credentials do not heal
 * by themselves, so that the asking becomes seldom.
 */
const LONGEST_REFUSED_RETRY = milliseconds(60_000);
const CLOSE_DEADLINE = milliseconds(2000);
/** Bytes handed to the broker and not yet acknowledged; beyond it the line is too slow for what is said. */
const MOST_WAITING_BYTES = 4 * 1024 * 1024;

export interface MqttLinkOptions {
  readonly identity: Identity;
  /** Asked before every attempt: the broker may have moved. Must settle within seconds. */
  readonly brokerUrl: () => Promise<string>;
  readonly epochs: Epochs;
  readonly agentVersion: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Between the last packet and the ping that proves the line; the broker gives up after 1.5 times as much. */
  readonly keepaliveS?: number;
}

interface Session {
  readonly client: MqttClient;
  readonly epoch: number;
  /** Ends the wait of every message that the broker has not acknowledged. */
  readonly waiting: Set<(error: FleetError) => void>;
  waitingBytes: number;
  refused: boolean;
  reason: string;
}

/**
 * ControllerLink by MQTT 3.1.1.
 *
 * Every session is a client of its own with a fresh epoch, because the will carries the epoch and the broker learns
 * the will when a session opens. Sessions are clean: the desired document is retained and comes anew with every
 * subscription, and a job that waited for a device that was away is late, its controller has gone elsewhere.
 * Order on connect: subscribe, then presence (retained), so that nobody sends a job before we listen.
 */
export class MqttControllerLink implements ControllerLink {
  readonly #options: MqttLinkOptions;
  #listener: LinkListener | undefined;
  #session: Session | undefined;
  #connected = false;
  #epoch = 0;
  #attempt = 0;
  #cancelRetry: (() => void) | undefined;
  #closed = false;

  constructor(options: MqttLinkOptions) {
    this.#options = options;
  }

  start(listener: LinkListener): void {
    if (this.#listener !== undefined) throw new FleetError('internal.invariant', 'the link was started twice');
    this.#listener = listener;
    void this.#open();
  }

  state(): LinkState {
    return { state: this.#connected ? 'connected' : 'disconnected', epoch: this.#epoch };
  }

  send(message: Outgoing): Promise<void> {
    const { fleet, deviceId } = this.#options.identity;
    switch (message.kind) {
      case 'reported':
        return this.#publish(reportedTopic(fleet, deviceId), message.reported, 'retain');
      case 'telemetry':
        return this.#publish(telemetryTopic(fleet, deviceId), message.telemetry, 'pass');
      case 'event':
        return this.#publish(eventsTopic(fleet, deviceId), message.event, 'pass');
      case 'job-out':
        return this.#publish(jobOutTopic(fleet, deviceId, message.jobId), message.out, 'pass');
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelRetry?.();
    const session = this.#session;
    if (session === undefined) return;
    if (this.#connected) {
      const goodbye = this.#publishPresence(session, 'offline', 'shutdown').catch(() => {});
      await this.#within(CLOSE_DEADLINE, goodbye);
      await this.#within(
        CLOSE_DEADLINE,
        session.client.endAsync(false).catch(() => {}),
      );
    }
    session.client.end(true);
    this.#end(session);
  }

  async #open(): Promise<void> {
    const { epochs } = this.#options;
    this.#cancelRetry = undefined;
    try {
      const url = await this.#options.brokerUrl();
      if (!this.#closed) this.#openSession(url, epochs.next());
    } catch (error) {
      this.#retry(messageOf(error), 'unreachable');
    }
  }

  #openSession(url: string, epoch: number): void {
    const { identity, agentVersion, log, keepaliveS = 10 } = this.#options;
    const will: Presence = { v: PROTOCOL_VERSION, state: 'offline', epoch, reason: 'will', agentVersion };
    const options: IClientOptions = {
      protocolVersion: 4,
      clientId: identity.deviceId,
      username: identity.deviceId,
      password: identity.secret,
      clean: true,
      keepalive: keepaliveS,
      connectTimeout: 10_000,
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
      will: { topic: presenceTopic(identity.fleet, identity.deviceId), payload: encode(will), qos: 1, retain: true },
    };
    this.#epoch = epoch;
    const client = connect(url, options);
    const session: Session = { client, epoch, waiting: new Set(), waitingBytes: 0, refused: false, reason: 'closed' };
    this.#session = session;
    client.on('connect', () => {
      // mqtt.js leaves Nagle's algorithm on: a small packet would wait 40 ms for the other side's delayed acknowledgement.
      if (client.stream instanceof Socket) client.stream.setNoDelay(true);
      void this.#greet(session);
    });
    client.on('message', (topic, payload) => this.#receive(topic, payload));
    client.on('error', (error) => {
      session.reason = messageOf(error);
      // CONNACK 4 and 5: bad user name or password, not authorised.
      session.refused = 'code' in error && (error.code === 4 || error.code === 5);
    });
    client.on('close', () => this.#end(session));
    log.debug('broker.connecting', { url, epoch });
  }

  async #greet(session: Session): Promise<void> {
    const { fleet, deviceId } = this.#options.identity;
    try {
      const filters = [desiredTopic(fleet, deviceId), jobsTopic(fleet, deviceId), jobCancelFilter(fleet, deviceId)];
      const granted = await session.client.subscribeAsync(filters, { qos: 1 });
      const refused = granted.filter((grant) => grant.qos >= 128).map((grant) => grant.topic);
      if (refused.length > 0) throw new Error(`the broker refused to let us read ${refused.join(', ')}`);
      await this.#publishPresence(session, 'online', 'connected');
    } catch (error) {
      session.reason = messageOf(error);
      session.client.end(true);
      this.#end(session);
      return;
    }
    if (this.#session !== session || this.#closed) return;
    this.#connected = true;
    this.#attempt = 0;
    this.#options.log.info('broker.connected', { epoch: session.epoch });
    this.#listener?.onState(this.state());
  }

  #end(session: Session): void {
    if (this.#session !== session) return;
    const wasConnected = this.#connected;
    session.client.end(true);
    this.#session = undefined;
    this.#connected = false;
    const error = new FleetError('broker.unreachable', `the session ended: ${session.reason}`, { retryable: true });
    for (const fail of session.waiting) fail(error);
    if (wasConnected) this.#listener?.onState(this.state());
    if (!this.#closed) this.#retry(session.reason, session.refused ? 'refused' : 'unreachable');
  }

  #retry(reason: string, why: 'unreachable' | 'refused'): void {
    const { clock, random, log, identity } = this.#options;
    const longest = why === 'refused' ? LONGEST_REFUSED_RETRY : LONGEST_RETRY;
    const wait = backoff(this.#attempt, FIRST_RETRY, longest, random);
    this.#attempt += 1;
    if (why === 'refused') {
      const hint =
        'has an external broker read its files again since the device enrolled (reload)? or was the device removed? ' +
        'then delete identity.json in its data directory and enrol again with a token';
      log.error('broker.refused', { deviceId: identity.deviceId, reason, retryMs: wait, hint });
    } else {
      log.warn('broker.unreachable', { reason, attempt: this.#attempt, retryMs: Math.round(wait) });
    }
    this.#cancelRetry = clock.after(wait, () => void this.#open());
  }

  #receive(topic: string, payload: Uint8Array): void {
    const parsed = parseTopic(topic);
    if (parsed === undefined) return;
    const message = decodeIncoming(parsed.channel, payload);
    if (message !== undefined) this.#listener?.onMessage(message);
  }

  #publishPresence(session: Session, state: Presence['state'], reason: Presence['reason']): Promise<void> {
    const { identity, agentVersion } = this.#options;
    const presence: Presence = { v: PROTOCOL_VERSION, state, epoch: session.epoch, reason, agentVersion };
    return this.#hand(session, presenceTopic(identity.fleet, identity.deviceId), encode(presence), 'retain');
  }

  #publish(topic: string, message: object, retain: 'retain' | 'pass'): Promise<void> {
    const session = this.#session;
    if (session === undefined || !this.#connected) {
      return Promise.reject(new FleetError('broker.unreachable', 'there is no session', { retryable: true }));
    }
    try {
      const payload = encode(message);
      if (session.waitingBytes + payload.length <= MOST_WAITING_BYTES) {
        return this.#hand(session, topic, payload, retain);
      }
      const full = `${session.waitingBytes} bytes wait for the broker, expected at most ${MOST_WAITING_BYTES}`;
      return Promise.reject(new FleetError('broker.unreachable', full, { retryable: true }));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #hand(session: Session, topic: string, payload: Buffer, retain: 'retain' | 'pass'): Promise<void> {
    session.waitingBytes += payload.length;
    return new Promise<void>((resolve, reject) => {
      const fail = (error: FleetError): void => {
        if (session.waiting.delete(fail)) session.waitingBytes -= payload.length;
        reject(error);
      };
      session.waiting.add(fail);
      session.client.publish(topic, payload, { qos: 1, retain: retain === 'retain' }, (cause) => {
        if (cause !== null && cause !== undefined) {
          fail(new FleetError('broker.unreachable', messageOf(cause), { retryable: true, cause }));
        } else if (session.waiting.delete(fail)) {
          session.waitingBytes -= payload.length;
          resolve();
        }
      });
    });
  }

  #within(deadline: Milliseconds, work: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(deadline, resolve);
      void work.finally(() => (cancel(), resolve()));
    });
  }
}

function decodeIncoming(
  channel: NonNullable<ReturnType<typeof parseTopic>>['channel'],
  payload: Uint8Array,
): Incoming | undefined {
  switch (channel) {
    case 'desired': {
      // An empty retained message is how a broker is told to forget one.
      if (payload.length === 0) return undefined;
      const result = decode(desiredSchema, payload);
      return result.ok
        ? { kind: 'desired', desired: result.message }
        : { kind: 'refused', channel, error: result.error };
    }
    case 'jobs': {
      const result = decode(jobSchema, payload);
      return result.ok ? { kind: 'job', job: result.message } : { kind: 'refused', channel, error: result.error };
    }
    case 'job-cancel': {
      const result = decode(jobCancelSchema, payload);
      return result.ok ? { kind: 'cancel', cancel: result.message } : { kind: 'refused', channel, error: result.error };
    }
    case 'presence':
    case 'reported':
    case 'telemetry':
    case 'events':
    case 'job-out':
      return undefined;
  }
}
