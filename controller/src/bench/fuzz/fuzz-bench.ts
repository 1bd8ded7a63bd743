import { FleetError } from '@fleetgate/shared/errors';
import { deviceId, fleetId } from '@fleetgate/shared/ids';
import { presenceTopic } from '@fleetgate/shared/protocol/topics';
import { SeededRandom } from '@fleetgate/shared/random';

import { type BenchReport, figure, type Progress } from '../bench-report.js';
import { enrolMany } from '../scale/http-enrol-many.js';
import { connectFrame } from '../scale/mqtt-frames.js';
import { LoadDevice, type LoadTally } from '../scale/mqtt-load-device.js';
import { forbiddenFrame, intruderFrames, ownChannelFrame } from './hostile-frames.js';
import { attack } from './mqtt-attacks.js';

/** Attackers at once, each with a device of the fleet that has gone bad. */
const ATTACKERS = 16;
const OWN_FRAMES = 60;
const CANARY_MS = 250;
const SAY_EVERY = 100_000;
const HEALTH_DEADLINE_MS = 10_000;
const LAST_ANSWERS_MS = 1_000;

export interface FuzzParts {
  readonly url: string;
  readonly joinToken: string;
  readonly brokerPid: () => Promise<number>;
  readonly controllerPid: () => number;
}

export interface FuzzSettings {
  readonly frames: number;
  readonly seed: number;
}

interface Count {
  frames: number;
  strangers: number;
  strangersLetIn: number;
  insiders: number;
  foreignTopics: number;
  atDeadline: number;
}

/**
 * Attacks a broker by strangers and by devices of the fleet that have gone bad while one device goes on as ever.
 *
 * Throws `internal.invariant` when somebody got in, heard what is not for him, or something went down.
 */
export async function fuzzBench(
  parts: FuzzParts,
  { frames, seed }: FuzzSettings,
  say: Progress,
  signal: AbortSignal,
): Promise<BenchReport> {
  const [honest, ...bad] = await enrolMany(parts.url, parts.joinToken, ATTACKERS + 1, signal);
  if (honest === undefined) throw new FleetError('internal.invariant', 'nobody was enrolled');
  const url = new URL(honest.mqttUrl);
  const fleet = fleetId(honest.fleet);
  const victim = deviceId(honest.deviceId);
  const tally: LoadTally = {
    ...{ connections: 0, lost: 0, refused: 0 },
    ...{ published: 0, acknowledgedBatches: 0, acknowledgedSamples: 0 },
  };
  const device = new LoadDevice({
    url,
    localAddress: '127.0.0.2',
    fleet,
    device: victim,
    secret: honest.secret,
    tally,
  });
  const before = { broker: await parts.brokerPid(), controller: parts.controllerPid() };
  device.open();
  const canary = setInterval(() => device.sendTelemetry(1), CANARY_MS);
  const count: Count = { frames: 0, strangers: 0, strangersLetIn: 0, insiders: 0, foreignTopics: 0, atDeadline: 0 };
  const began = performance.now();
  let lost = 0;
  const attackAll = (): Promise<unknown> =>
    Promise.all(
      bad.map(async ({ deviceId: user, secret }, at) => {
        const random = new SeededRandom(seed * ATTACKERS + at);
        const own = deviceId(user);
        while (count.frames < frames) {
          signal.throwIfAborted();
          const said = Math.floor(count.frames / SAY_EVERY);
          const strange = intruderFrames(random, fleet, victim);
          const stranger = await attack(url, strange, (received) => received.length > 0);
          count.strangers += 1;
          if (stranger.letIn) count.strangersLetIn += 1;
          const will = { topic: presenceTopic(fleet, own), payload: Buffer.alloc(0) };
          const spoken = Array.from({ length: OWN_FRAMES }, (_, id) => ownChannelFrame(random, fleet, own, id + 1));
          const login = connectFrame({ user, secret, keepaliveS: 10, will });
          const last = forbiddenFrame(random, fleet, own, victim);
          const insider = await attack(url, [login, ...spoken, last], (received) => received.length > OWN_FRAMES);
          count.insiders += 1;
          count.foreignTopics += insider.topics.filter((topic) => !topic.includes(`/${own}/`)).length;
          if (insider.endedBy === 'deadline' || stranger.endedBy === 'deadline') count.atDeadline += 1;
          count.frames += strange.length + spoken.length + 2;
          if (Math.floor(count.frames / SAY_EVERY) > said) say(`${count.frames} packets`);
        }
      }),
    );
  try {
    await attackAll();
    clearInterval(canary);
    await new Promise((resolve) => setTimeout(resolve, LAST_ANSWERS_MS));
  } finally {
    clearInterval(canary);
    lost = tally.lost;
    device.close();
  }
  const s = (performance.now() - began) / 1000;
  const health = await fetch(`${parts.url}/healthz`, { signal: AbortSignal.timeout(HEALTH_DEADLINE_MS) });
  const faults = [
    count.strangersLetIn > 0 ? `${count.strangersLetIn} strangers were let in` : '',
    count.foreignTopics > 0 ? `${count.foreignTopics} messages for others were heard` : '',
    before.broker === (await parts.brokerPid()) ? '' : 'the broker was started again',
    before.controller === parts.controllerPid() ? '' : 'the controller was started again',
    health.ok ? '' : `/healthz answers ${health.status}`,
    lost === 0 && tally.connections === 1 ? '' : `the honest device lost its connection ${lost} times`,
    tally.published > 0 && tally.acknowledgedBatches === tally.published
      ? ''
      : `${tally.acknowledgedBatches} of ${tally.published} messages of the honest device were acknowledged`,
  ].filter(Boolean);
  if (faults.length > 0) {
    throw new FleetError('internal.invariant', `seed ${seed}, ${count.frames} packets: ${faults.join('; ')}`);
  }
  return {
    name: `fuzz, seed ${seed}`,
    figures: [
      figure('hostile packets sent', 'packets', count.frames),
      figure('connections of strangers', 'connections', count.strangers),
      figure('strangers let in', 'connections', count.strangersLetIn, { name: 'bar', value: 0 }),
      figure('connections of devices gone bad', 'connections', count.insiders),
      figure('messages for others that they heard', 'messages', count.foreignTopics, { name: 'bar', value: 0 }),
      figure('messages of the honest device', 'messages', tally.acknowledgedBatches, {
        name: 'sent',
        value: tally.published,
      }),
    ],
    tables: [],
    notes: [
      `${s.toFixed(0)} s; broker and controller are the processes that they were; the honest device never lost its connection`,
      `${count.atDeadline} connections were still open after 5 s: they had announced more than they sent`,
      'of a connection that the broker ends early it has not read what was sent behind',
      'over plain TCP; certificates and TLS handshakes are tested in the suite and not fuzzed here',
    ],
  };
}
