import { filter, firstValueFrom, take, toArray } from 'rxjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { silentLogger } from '@fleetgate/shared/logger';

import type { BrokerLink, BrokerMessage } from './broker-link.js';
import { type BrokerLinkOptions, connectBrokerLink } from './mqtt-broker-link.js';

/** A broker that the contract may start and stop, with a `controller` of the fleet `home`, at one port. */
export interface TestBroker {
  readonly url: string;
  readonly password: string;
  start(): Promise<void>;
  stop(): Promise<void>;
}

const topic = (name: string) => `fleetgate/v1/home/${name}/desired`;
const ALL = 'fleetgate/v1/home/+/desired';
const bytes = (value: string) => Buffer.from(value);
const textOf = ({ payload }: BrokerMessage) => Buffer.from(payload).toString();

/** What a link to any broker must do. */
export function brokerLinkContract(
  name: string,
  prepare: () => Promise<TestBroker>,
  options: Partial<BrokerLinkOptions> = {},
): void {
  describe(`broker link: ${name}`, () => {
    let broker: TestBroker;
    const links: BrokerLink[] = [];
    beforeEach(async () => {
      broker = await prepare();
      await broker.start();
    });
    afterEach(async () => {
      for (const link of links.splice(0)) await link.close();
      await broker.stop();
    });

    function aLink(more: Partial<BrokerLinkOptions> = {}): BrokerLink {
      const link = connectBrokerLink({
        url: broker.url,
        username: 'controller',
        password: broker.password,
        clientId: `controller-${links.length}`,
        log: silentLogger,
        longestReconnectMs: 200,
        ...options,
        ...more,
      });
      links.push(link);
      return link;
    }

    /** Collects what comes on `filter`; resolves once the subscription is in force. */
    async function subscribed(link: BrokerLink, to: string) {
      const messages: BrokerMessage[] = [];
      const first = firstValueFrom(link.messages(to).pipe(filter((message) => textOf(message) === 'probe')));
      const subscription = link.messages(to).subscribe((message) => {
        if (textOf(message) !== 'probe') messages.push(message);
      });
      await link.publish(topic('probe'), bytes('probe'));
      await first;
      return { messages, subscription };
    }

    const connected = (link: BrokerLink, state: boolean) =>
      firstValueFrom(link.connected$.pipe(filter((now) => now === state)));

    test('carries bytes as they are, from one link to another', async () => {
      const [sender, receiver] = [aLink(), aLink()];
      const { messages } = await subscribed(receiver, ALL);
      const payload = Uint8Array.from({ length: 256 }, (_, value) => value);
      const next = firstValueFrom(receiver.messages(ALL));
      await sender.publish(topic('pi'), payload.subarray(1, 255));
      expect(Uint8Array.from((await next).payload)).toEqual(payload.subarray(1, 255));
      expect(messages[0]).toMatchObject({ topic: topic('pi'), retained: false });
    });

    test('keeps the order of one topic', async () => {
      const link = aLink();
      await subscribed(link, ALL);
      const received = firstValueFrom(link.messages(ALL).pipe(take(200), toArray()));
      await Promise.all(Array.from({ length: 200 }, (_, n) => link.publish(topic('pi'), bytes(String(n)))));
      expect((await received).map(textOf)).toEqual(Array.from({ length: 200 }, (_, n) => String(n)));
    });

    test('retained messages reach who comes later, until they are cleared', async () => {
      const link = aLink();
      await link.publish(topic('pi'), bytes('kept'), { retain: true });
      const later = aLink();
      const message = await firstValueFrom(later.messages(topic('pi')));
      expect([textOf(message), message.retained]).toEqual(['kept', true]);
      await link.publish(topic('pi'), bytes(''), { retain: true });
      const latest = aLink();
      const { messages } = await subscribed(latest, ALL);
      expect(messages).toEqual([]);
    });

    test('a subscription lasts until its last subscriber has gone', async () => {
      const link = aLink();
      const { messages, subscription } = await subscribed(link, ALL);
      const second = link.messages(ALL).subscribe();
      second.unsubscribe();
      const next = firstValueFrom(link.messages(ALL));
      await link.publish(topic('pi'), bytes('1'));
      await next;
      expect(messages.map(textOf)).toEqual(['1']);
      subscription.unsubscribe();
      await link.publish(topic('pi'), bytes('2'));
      // Another subscription afterwards: what the first one would have got has been delivered by then.
      await subscribed(link, ALL);
      expect(messages.map(textOf)).toEqual(['1']);
    });

    test('finds the broker again, renews its subscriptions and delivers what was published meanwhile', async () => {
      const link = aLink();
      const { messages } = await subscribed(link, ALL);
      await broker.stop();
      await connected(link, false);
      const published = link.publish(topic('pi'), bytes('meanwhile'), { retain: true });
      await broker.start();
      await published;
      await connected(link, true);
      const more = firstValueFrom(link.messages(ALL).pipe(filter((message) => textOf(message) === 'after')));
      await link.publish(topic('pi'), bytes('after'));
      await more;
      expect(messages.map(textOf)).toContain('meanwhile');
      expect(messages.at(-1)).toMatchObject({ retained: false });
    });

    test('a link may be made before its broker is there', async () => {
      await broker.stop();
      const link = aLink();
      const received = firstValueFrom(link.messages(ALL));
      await broker.start();
      await link.publish(topic('pi'), bytes('here'), { retain: true });
      expect(textOf(await received)).toBe('here');
    });

    test('what is not acknowledged in time is refused, and is not sent later', async () => {
      const link = aLink({ publishDeadlineMs: 100 });
      await connected(link, true);
      await broker.stop();
      await connected(link, false);
      await expect(link.publish(topic('pi'), bytes('late'), { retain: true })).rejects.toMatchObject({
        code: 'broker.unreachable',
        retryable: true,
      });
      await broker.start();
      await connected(link, true);
      const { messages } = await subscribed(aLink(), ALL);
      expect(messages).toEqual([]);
    });

    test('what waits is bounded', async () => {
      await broker.stop();
      const link = aLink();
      const waiting = Array.from({ length: 4_096 }, () => link.publish(topic('pi'), bytes('x')));
      const settled = Promise.allSettled(waiting);
      await expect(link.publish(topic('pi'), bytes('one too many'))).rejects.toMatchObject({
        code: 'broker.unreachable',
        message: expect.stringContaining('4096') as string,
      });
      await link.close();
      expect((await settled).every(({ status }) => status === 'rejected')).toBe(true);
      await broker.start();
    });

    test('a closed link completes its messages and takes nothing more', async () => {
      const link = aLink();
      await connected(link, true);
      const ended = firstValueFrom(link.messages(ALL).pipe(toArray()));
      const state = firstValueFrom(link.connected$.pipe(toArray()));
      await link.close();
      await link.close();
      expect(await ended).toEqual([]);
      expect((await state).at(-1)).toBe(false);
      await expect(link.publish(topic('pi'), bytes('x'))).rejects.toMatchObject({ code: 'broker.unreachable' });
      expect(await firstValueFrom(link.messages(ALL).pipe(toArray()))).toEqual([]);
    });

    test('a wrong password connects nobody, and a right one later does', async () => {
      const link = aLink({ password: 'wrong', publishDeadlineMs: 300 });
      await expect(link.publish(topic('pi'), bytes('x'))).rejects.toMatchObject({ code: 'broker.unreachable' });
      await aLink().publish(topic('pi'), bytes('x'));
    });
  });
}
