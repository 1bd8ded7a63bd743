import { FleetError } from '@fleetgate/shared/errors';
import { BehaviorSubject, type Observable, Observable as Rx, Subject } from 'rxjs';

import type { BrokerLink, BrokerMessage } from './broker-link.js';

/** A broker in memory, with retained messages: for tests. */
export class MemoryBrokerLink implements BrokerLink {
  readonly connected$ = new BehaviorSubject(true);
  /** Everything that was published, in order. */
  readonly published: BrokerMessage[] = [];
  readonly #live = new Subject<BrokerMessage>();
  readonly #retained = new Map<string, BrokerMessage>();

  messages(filter: string): Observable<BrokerMessage> {
    return new Rx((subscriber) => {
      for (const message of this.#retained.values()) {
        if (matches(filter, message.topic)) subscriber.next({ ...message, retained: true });
      }
      return this.#live.subscribe((message) => {
        if (matches(filter, message.topic)) subscriber.next(message);
      });
    });
  }

  publish(topic: string, payload: Uint8Array, options: { readonly retain?: boolean } = {}): Promise<void> {
    if (!this.connected$.value) {
      return Promise.reject(new FleetError('broker.unreachable', 'no connection to the broker', { retryable: true }));
    }
    const message: BrokerMessage = { topic, payload, retained: false };
    this.published.push({ ...message, retained: options.retain === true });
    if (options.retain === true) {
      if (payload.length === 0) this.#retained.delete(topic);
      else this.#retained.set(topic, message);
    }
    this.#live.next(message);
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#live.complete();
    this.connected$.complete();
    return Promise.resolve();
  }
}

function matches(filter: string, topic: string): boolean {
  const wanted = filter.split('/');
  const levels = topic.split('/');
  return wanted.length === levels.length && wanted.every((level, at) => level === '+' || level === levels[at]);
}
