import { type DeviceId, type FleetId, jobId } from '@fleetgate/shared/ids';
import {
  desiredTopic,
  eventsTopic,
  fleetFilter,
  jobOutTopic,
  jobsTopic,
  presenceTopic,
  reportedTopic,
  telemetryTopic,
} from '@fleetgate/shared/protocol/topics';
import { PROTOCOL_VERSION as v } from '@fleetgate/shared/protocol/version';
import type { Random } from '@fleetgate/shared/random';

import { connectFrame, publishFrame, subscribeFrame } from '../scale/mqtt-frames.js';

const JOB = jobId('a-job');
const TOPICS = {
  presence: presenceTopic,
  reported: reportedTopic,
  telemetry: telemetryTopic,
  events: eventsTopic,
  out: (fleet: FleetId, device: DeviceId) => jobOutTopic(fleet, device, { jobId: JOB }),
  desired: desiredTopic,
  jobs: jobsTopic,
} as const;
type Spoken = keyof typeof TOPICS;
/** Channels on which a device may speak. */
const OWN_CHANNELS = ['presence', 'reported', 'telemetry', 'events', 'out'] as const;
const HUGE_BYTES = 3 * 1024 * 1024;
const ODD_VALUES: readonly unknown[] = [
  ...[null, true, -1, 0, 1e308, 2 ** 53, 0.1, '', 'x', '__proto__', '\u0000', '\ud800', [], {}, [[[[]]]]],
  { __proto__: { polluted: true } },
];

/** Who does not belong to the fleet: what it sends first. */
export function intruderFrames(random: Random, fleet: FleetId, victim: DeviceId): readonly Buffer[] {
  const will = { topic: topicOf(fleet, victim, 'presence'), payload: payloadOf(random, 'presence') };
  const login = { user: pick(random, [victim, 'controller', 'nobody', '', '../x']), keepaliveS: 10, will };
  const connect = connectFrame({ ...login, secret: random.token(43) });
  const publish = publishFrame(1, topicOf(fleet, victim, 'telemetry'), payloadOf(random, 'telemetry'));
  switch (Math.floor(random.uniform() * 5)) {
    case 0:
      return [connect, publish];
    case 1:
      return [mutated(random, connect), publish];
    case 2:
      return [publish, connect];
    case 3:
      // Announces more than it may: the greatest length that there is.
      return [Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]), Buffer.alloc(4096, 1)];
    default:
      return [randomBytes(random, 1 + Math.floor(random.uniform() * 400))];
  }
}

/** A device of the fleet that has gone bad: well-formed packets on its own channels with payloads that are not. */
export function ownChannelFrame(random: Random, fleet: FleetId, device: DeviceId, packetId: number): Buffer {
  const channel = pick(random, OWN_CHANNELS);
  return publishFrame(packetId, topicOf(fleet, device, channel), payloadOf(random, channel));
}

/** What such a device may not send at all; its connection ends with it, or the packet is refused. */
export function forbiddenFrame(random: Random, fleet: FleetId, device: DeviceId, victim: DeviceId): Buffer {
  const own = publishFrame(9, topicOf(fleet, device, 'telemetry'), payloadOf(random, 'telemetry'));
  switch (Math.floor(random.uniform() * 6)) {
    case 0:
      return publishFrame(
        9,
        topicOf(fleet, victim, pick<Spoken>(random, [...OWN_CHANNELS, 'desired', 'jobs'])),
        Buffer.from('{}'),
      );
    case 1:
      return publishFrame(9, pick(random, ['$SYS/x', '#', '+', '', '/', 'a/'.repeat(40)]), Buffer.from('x'));
    case 2:
      return subscribeFrame(9, [
        pick(random, ['#', '$SYS/#', fleetFilter(fleet, 'desired'), topicOf(fleet, victim, 'jobs')]),
      ]);
    case 3:
      return publishFrame(9, topicOf(fleet, device, 'telemetry'), Buffer.alloc(HUGE_BYTES));
    case 4:
      return randomBytes(random, 1 + Math.floor(random.uniform() * 200));
    default:
      return mutated(random, own);
  }
}

function payloadOf(random: Random, channel: string): Buffer {
  const text = Buffer.from(JSON.stringify(oddly(random, documentOf(channel))), 'utf8');
  return random.uniform() < 0.3 ? mutated(random, text) : text;
}

function documentOf(channel: string): Record<string, unknown> {
  const session = { v, epoch: 1 };
  switch (channel) {
    case 'presence':
      return { ...session, state: 'online', reason: 'connected', agentVersion: '1' };
    case 'telemetry':
      return { ...session, seq: 1, t0Ms: 1, dtMs: 1000, n: 2, sentAtMs: 2, columns: { powerW: [1, 2] } };
    case 'events':
      return { ...session, atMs: 1, level: 'info', code: 'x', message: 'y' };
    case 'reported':
      return { ...session, observedGeneration: 0, settled: true, state: 'active', variants: [], measurements: [] };
    default:
      return { v, jobId: JOB, seq: 0, kind: 'done', finishReason: 'stop', usage: {} };
  }
}

/** With one field replaced, left out or added. */
function oddly(random: Random, document: Record<string, unknown>): object {
  const key = pick(random, [...Object.keys(document), 'another']);
  const { [key]: _, ...rest } = document;
  return random.uniform() < 0.2 ? rest : { ...rest, [key]: pick(random, ODD_VALUES) };
}

/** With some bytes flipped, or cut short, or with a piece twice. */
function mutated(random: Random, frame: Buffer): Buffer {
  const at = Math.floor(random.uniform() * frame.length);
  switch (Math.floor(random.uniform() * 3)) {
    case 0:
      return frame.subarray(0, at);
    case 1:
      return Buffer.concat([frame.subarray(0, at), frame.subarray(Math.floor(at / 2))]);
    default: {
      const copy = Buffer.from(frame);
      for (let flips = 1 + Math.floor(random.uniform() * 4); flips > 0; flips--) {
        copy[Math.floor(random.uniform() * copy.length)] = Math.floor(random.uniform() * 256);
      }
      return copy;
    }
  }
}

function topicOf(fleet: FleetId, device: DeviceId, channel: Spoken): string {
  return TOPICS[channel](fleet, device);
}

function randomBytes(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => Math.floor(random.uniform() * 256)));
}

function pick<T>(random: Random, items: readonly T[]): T {
  return items[Math.floor(random.uniform() * items.length)] as T;
}
