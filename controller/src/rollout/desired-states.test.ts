import { ManualClock } from '@fleetgate/shared/clock';
import { boardId, deviceId, fleetId, planId, variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { desiredSchema } from '@fleetgate/shared/protocol/twin';
import { desiredTopic } from '@fleetgate/shared/protocol/topics';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { Subject } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { aRegisteredExpert } from '../catalogue/expert.fixture.js';
import { ExpertRegistry } from '../catalogue/expert-registry.js';
import { aReported } from '../fleet/device.fixture.js';
import { Fleet } from '../fleet/fleet.js';
import { MemoryFleetStore } from '../fleet/fleet-store.js';
import { MemoryBrokerLink } from '../platform/memory-broker-link.js';
import type { PlannedResidency } from './desired.js';
import { MqttDesiredStateLink } from './mqtt-desired-state-link.js';
import { DesiredStates } from './desired-states.js';

const home = fleetId('home');
const pi = deviceId('pi');

let clock: ManualClock;
let store: MemoryFleetStore;
let fleet: Fleet;
let broker: MemoryBrokerLink;
let registry: ExpertRegistry;
let plan: PlannedResidency | undefined;
let planChanges: Subject<void>;
let rollout: DesiredStates;

/** Lets timers and promises run until nothing moves any more. */
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 10; turn += 1) {
    clock.advance(25);
    await new Promise((resolve) => setImmediate(resolve));
  }
};
const documents = () =>
  broker.published.map(({ topic, payload, retained }) => ({
    topic,
    retained,
    desired: payload.length === 0 ? undefined : desiredSchema.parse(JSON.parse(Buffer.from(payload).toString())),
  }));

beforeEach(async () => {
  clock = new ManualClock();
  store = new MemoryFleetStore();
  fleet = await Fleet.open({ store, clock, log: silentLogger, settings: { lease: milliseconds(15_000) } });
  broker = new MemoryBrokerLink();
  registry = new ExpertRegistry();
  registry.add(aRegisteredExpert('math'));
  plan = undefined;
  planChanges = new Subject();
  rollout = new DesiredStates({
    fleet,
    catalogue: registry,
    activePlan: () => plan,
    planChanges$: planChanges,
    link: new MqttDesiredStateLink(broker, home),
    settings: { telemetry: { sampleMs: 1000, batchMs: 5000 } },
    clock,
    log: silentLogger,
  });
  rollout.start();
  await fleet.enrol(pi, boardId('raspberry-pi-5'), { secretSha256: 'hash' });
  const presence = { v: 1, state: 'online', epoch: 1, reason: 'connected', agentVersion: '1' } as const;
  fleet.record({ kind: 'presence', deviceId: pi, presence, at: clock.now() });
  fleet.record({ kind: 'reported', deviceId: pi, reported: aReported(), at: clock.now() });
  await settle();
});
afterEach(async () => {
  await rollout.stop();
  await fleet.close();
});

describe('DesiredStates', () => {
  it('publishes a retained document to a device that joins, after it is in the store', async () => {
    expect(documents()).toHaveLength(1);
    expect(documents()[0]).toMatchObject({
      topic: desiredTopic(home, pi),
      retained: true,
      desired: { generation: 1, variants: [{ variantId: 'math-q8_0', purpose: 'measure' }] },
    });
    expect((await store.load())[0]?.device.desired?.generation).toBe(1);
  });

  it('publishes nothing while nothing changes', async () => {
    fleet.record({ kind: 'reported', deviceId: pi, reported: aReported({ observedGeneration: 1 }), at: clock.now() });
    registry.add(aRegisteredExpert('hungry', { sizeBytes: 1e12 }));
    planChanges.next();
    await settle();
    expect(documents()).toHaveLength(1);
  });

  it('follows a new plan', async () => {
    plan = {
      planId: planId('p1'),
      placements: new Map([[pi, new Set([variantId('math-q8_0')])]]),
      poweredOn: new Set([pi]),
    };
    planChanges.next();
    await settle();
    expect(documents().at(-1)?.desired).toMatchObject({
      generation: 2,
      planId: 'p1',
      variants: [{ variantId: 'math-q8_0', purpose: 'serve' }],
    });
  });

  it('publishes everything again after a reconnect, unchanged', async () => {
    broker.connected$.next(false);
    await settle();
    broker.connected$.next(true);
    await settle();
    expect(documents().map(({ desired }) => desired?.generation)).toEqual([1, 1]);
  });

  it('keeps what could not be published for the reconnect', async () => {
    broker.connected$.next(false);
    registry.add(aRegisteredExpert('code'));
    await settle();
    expect(documents()).toHaveLength(1);
    broker.connected$.next(true);
    await settle();
    expect(documents().at(-1)?.desired).toMatchObject({ generation: 2 });
  });

  it('publishes nothing that could not be saved', async () => {
    const save = store.save.bind(store);
    store.save = () => Promise.reject(new Error('disk full'));
    registry.add(aRegisteredExpert('code'));
    await settle();
    expect(documents()).toHaveLength(1);
    store.save = save;
    clock.advance(5000);
    await settle();
    expect(documents().at(-1)?.desired?.generation).toBe(2);
  });

  it('makes the broker forget a removed device', async () => {
    await fleet.remove(pi);
    await settle();
    expect(documents().at(-1)).toEqual({ topic: desiredTopic(home, pi), retained: true, desired: undefined });
  });
});
