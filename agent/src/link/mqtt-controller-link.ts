import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import { eventsTopic, jobOutTopic, reportedTopic, telemetryTopic } from '@fleetgate/shared/protocol/topics';
import type { Random } from '@fleetgate/shared/random';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import { backoff } from '@fleetgate/shared/backoff';
import type { ControllerLink, LinkListener, LinkState, Outgoing } from './controller-link.js';
import { decodeIncoming } from './decode-incoming.js';
import type { DeviceCertificate } from './device-certificate.js';
import type { Epochs } from './disk-identity.js';
import type { Identity } from './identity.js';
import { MqttSession } from './mqtt-session.js';

const FIRST_RETRY = milliseconds(500);
const LONGEST_RETRY = milliseconds(15_000);
/**
 * An external broker lets a new device in after its next reload, which may be seconds away; wrong credentials do not heal
 * by themselves, so that the asking becomes seldom.
 */
const LONGEST_REFUSED_RETRY = milliseconds(60_000);
const CLOSE_DEADLINE = milliseconds(2000);

export interface MqttLinkOptions {
  readonly identity: Identity;
  /** Asked at the begin of every session: it is renewed meanwhile. */
  readonly certificate?: () => DeviceCertificate | undefined;
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

/**
 * ControllerLink by MQTT 3.1.1.
 *
 * Makes sessions, one after the other, each with a fresh epoch. They are clean: the desired document is retained and
 * comes anew with every subscription, and a job that waited for a device that was away is late, its controller has gone
 * elsewhere.
 */
export class MqttControllerLink implements ControllerLink {
  readonly #options: MqttLinkOptions;
  #listener: LinkListener | undefined;
  #session: MqttSession | undefined;
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
        return this.#publish(jobOutTopic(fleet, deviceId, message.job), message.out, 'pass');
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelRetry?.();
    const session = this.#session;
    if (session === undefined) return;
    if (this.#connected) await this.#within(CLOSE_DEADLINE, session.leave());
    session.end();
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
    this.#epoch = epoch;
    this.#session = new MqttSession(
      { url, identity, certificate: this.#options.certificate?.(), epoch, agentVersion, keepaliveS },
      {
        onOpen: () => this.#onOpen(),
        onMessage: (topic, payload) => {
          const message = decodeIncoming(topic, payload);
          if (message !== undefined) this.#listener?.onMessage(message);
        },
        onEnd: (reason, why) => this.#onEnd(reason, why),
      },
    );
    log.debug('broker.connecting', { url, epoch });
  }

  #onOpen(): void {
    if (this.#closed) return;
    this.#connected = true;
    this.#attempt = 0;
    this.#options.log.info('broker.connected', { epoch: this.#epoch });
    this.#listener?.onState(this.state());
  }

  #onEnd(reason: string, why: 'unreachable' | 'refused'): void {
    const wasConnected = this.#connected;
    this.#session = undefined;
    this.#connected = false;
    if (wasConnected) this.#listener?.onState(this.state());
    this.#retry(reason, why);
  }

  #retry(reason: string, why: 'unreachable' | 'refused'): void {
    if (this.#closed) return;
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

  #publish(topic: string, message: object, retain: 'retain' | 'pass'): Promise<void> {
    const session = this.#session;
    if (session !== undefined && this.#connected) return session.publish(topic, message, retain);
    return Promise.reject(new FleetError('broker.unreachable', 'there is no session', { retryable: true }));
  }

  #within(deadline: Milliseconds, work: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(deadline, resolve);
      void work.finally(() => (cancel(), resolve()));
    });
  }
}
