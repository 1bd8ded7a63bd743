import { deviceId, fleetId, jobId, replicaId, type ReplicaId, variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { encode } from '@fleetgate/shared/protocol/codec';
import type { Job, JobOut } from '@fleetgate/shared/protocol/job';
import * as fc from 'fast-check';
import { of, Subject, type Observable } from 'rxjs';
import { describe, expect, it } from 'vitest';

import type { BrokerLink, BrokerMessage } from '../platform/broker-link.js';
import { MqttExpertLink } from './mqtt-expert-link.js';

/** A broker of one client: what is published is remembered, what is said is delivered. */
class LoopBroker implements BrokerLink {
  readonly connected$ = of(true);
  readonly published: { readonly topic: string; readonly text: string }[] = [];
  readonly filters: string[] = [];
  readonly #messages = new Subject<BrokerMessage>();

  messages(filter: string): Observable<BrokerMessage> {
    this.filters.push(filter);
    return this.#messages;
  }

  async publish(topic: string, payload: Uint8Array): Promise<void> {
    this.published.push({ topic, text: Buffer.from(payload).toString() });
  }

  say(topic: string, payload: Uint8Array): void {
    this.#messages.next({ topic, payload, retained: false });
  }

  async close(): Promise<void> {}
}

const pi = deviceId('pi');
const job: Job = {
  v: 1,
  kind: 'complete',
  jobId: jobId('j1'),
  variantId: variantId('math-q8_0'),
  timeoutMs: 1000,
  prompt: 'x',
  sampling: { maxTokens: 1, temperature: 0, topP: 1, stop: [] },
};
const out: JobOut = { v: 1, jobId: job.jobId, seq: 0, kind: 'tokens', text: 'é', tokens: 1 };

function linked(replica?: ReplicaId) {
  const broker = new LoopBroker();
  const link = new MqttExpertLink(broker, fleetId('f'), silentLogger, replica);
  const heard: unknown[] = [];
  link.out$.subscribe((message) => heard.push(message));
  return { broker, link, heard };
}

describe('MqttExpertLink', () => {
  it('sends, continues and cancels on the topics of the device', async () => {
    const { broker, link } = linked();
    await link.send(pi, job);
    link.next(pi, job.jobId, 3, 17);
    link.cancel(pi, job.jobId, 'r'.repeat(500));
    expect(broker.filters).toEqual(['fleetgate/v1/f/+/jobs/+/out']);
    expect(broker.published.map(({ topic }) => topic)).toEqual([
      'fleetgate/v1/f/pi/jobs',
      'fleetgate/v1/f/pi/jobs/j1/next',
      'fleetgate/v1/f/pi/jobs/j1/cancel',
    ]);
    expect(JSON.parse(broker.published[0]?.text ?? '')).toEqual(job);
    expect(JSON.parse(broker.published[1]?.text ?? '')).toEqual({ v: 1, jobId: 'j1', step: 3, token: 17 });
    expect(JSON.parse(broker.published[2]?.text ?? '')).toMatchObject({ jobId: 'j1', reason: 'r'.repeat(200) });
  });

  it('names one of several controllers in its jobs, and hears of these', async () => {
    const { broker, link } = linked(replicaId('one'));
    await link.send(pi, job);
    expect(broker.filters).toEqual(['fleetgate/v1/f/+/jobs/+/out', 'fleetgate/v1/f/+/jobs/+/out/one']);
    expect(JSON.parse(broker.published[0]?.text ?? '')).toEqual({ ...job, replica: 'one' });
  });

  it('refuses a job that is larger than a message may be', async () => {
    const { link } = linked();
    await expect(link.send(pi, { ...job, prompt: 'x'.repeat(300_000) })).rejects.toMatchObject({
      code: 'protocol.too-large',
    });
  });

  it('hears what devices say of their jobs', () => {
    const { broker, heard } = linked();
    broker.say('fleetgate/v1/f/pi/jobs/j1/out', encode(out));
    expect(heard).toEqual([{ deviceId: 'pi', out }]);
  });

  it('drops what is malformed, of another version, or under another job, and hears the next', () => {
    const { broker, heard, link } = linked();
    broker.say('fleetgate/v1/f/pi/jobs/j2/out', encode(out));
    broker.say('fleetgate/v1/f/pi/jobs/j1/out', encode({ ...out, v: 2 }));
    broker.say('fleetgate/v1/f/pi/jobs/j1/out', Buffer.from([0xff, 0xfe]));
    broker.say('elsewhere', encode(out));
    expect(link.refused).toBe(4);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.string(), (payload, topic) => broker.say(topic, payload)),
    );
    broker.say('fleetgate/v1/f/pi/jobs/j1/out', encode(out));
    expect(heard).toHaveLength(1);
  });
});
