import { ManualClock } from '@fleetgate/shared/clock';
import { boardId, deviceId, fleetId, planId, variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { encode } from '@fleetgate/shared/protocol/codec';
import { desiredTopic } from '@fleetgate/shared/protocol/topics';
import { type Desired, desiredSchema } from '@fleetgate/shared/protocol/twin';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { BehaviorSubject, Subject } from 'rxjs';
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
const PLAN: PlannedResidency = {
  planId: planId('p1'),
  placements: new Map([[pi, new Set([variantId('math-q8_0')])]]),
  poweredOn: new Set([pi]),
};

let clock: ManualClock;
let store: MemoryFleetStore;
let broker: MemoryBrokerLink;
const stops: (() => Promise<void>)[] = [];

/** One of several controllers, over the same store and broker. */
async function aController(plan?: PlannedResidency) {
  const leads = new BehaviorSubject(false);
  const planChanges = new Subject<void>();
  const settings = { lease: milliseconds(15_000) };
  const fleet = await Fleet.open({ store, clock, log: silentLogger, settings, mayKeep: () => leads.value });
  const registry = new ExpertRegistry();
  registry.add(aRegisteredExpert('math'));
  const rollout = new DesiredStates({
    fleet,
    catalogue: registry,
    activePlan: () => plan,
    planChanges$: planChanges,
    link: new MqttDesiredStateLink(broker, home),
    leading: { now: () => leads.value, changes$: leads },
    settings: { telemetry: { sampleMs: 1000, batchMs: 5000 } },
    clock,
    log: silentLogger,
  });
  rollout.start();
  stops.push(async () => {
    await rollout.stop();
    await fleet.close();
  });
  const presence = { v: 1, state: 'online', epoch: 1, reason: 'connected', agentVersion: '1' } as const;
  fleet.record({ kind: 'presence', deviceId: pi, presence, at: clock.now() });
  fleet.record({ kind: 'reported', deviceId: pi, reported: aReported(), at: clock.now() });
  /** As a take-over does. */
  const lead = async (): Promise<void> => {
    await fleet.reload();
    leads.next(true);
    await settle();
  };
  return { fleet, lead, leads };
}

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 10; turn += 1) {
    clock.advance(25);
    await new Promise((resolve) => setImmediate(resolve));
  }
};
const published = (): readonly Desired[] =>
  broker.published.map(({ payload }) => desiredSchema.parse(JSON.parse(Buffer.from(payload).toString())));

beforeEach(async () => {
  clock = new ManualClock();
  store = new MemoryFleetStore();
  broker = new MemoryBrokerLink();
  const first = await Fleet.open({ store, clock, log: silentLogger, settings: { lease: milliseconds(15_000) } });
  await first.enrol(pi, boardId('raspberry-pi-5'), { secretSha256: 'hash' });
  await first.close();
});
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

describe('DesiredStates of several controllers', () => {
  it('publishes what the one that leads has made; the others know it', async () => {
    const [one, two] = [await aController(), await aController()];
    await settle();
    expect(published()).toEqual([]);
    await one.lead();
    expect(published().map(({ generation }) => generation)).toEqual([1]);
    expect(two.fleet.view.get(pi)?.desired).toEqual(published()[0]);
  });

  it('goes on with greater numbers where another has led, also one that the broker has told nothing of', async () => {
    const [one, two] = [await aController(), await aController(PLAN)];
    await one.lead();
    one.leads.next(false);
    // As if two had heard nothing: it reads what is kept.
    await two.lead();
    const byGeneration = new Map<number, Set<string>>();
    for (const { generation, ...content } of published()) {
      byGeneration.set(generation, (byGeneration.get(generation) ?? new Set()).add(JSON.stringify(content)));
    }
    expect([...byGeneration].map(([generation, contents]) => [generation, contents.size])).toEqual([
      [1, 1],
      [2, 1],
    ]);
    expect(two.fleet.view.get(pi)?.desired).toMatchObject({ generation: 2, planId: 'p1' });
    expect(one.fleet.view.get(pi)?.desired).toMatchObject({ generation: 2, planId: 'p1' });
  });

  it('takes back what one that led before says late', async () => {
    const [one, two] = [await aController(), await aController(PLAN)];
    await one.lead();
    const [late] = published();
    one.leads.next(false);
    await two.lead();
    await broker.publish(desiredTopic(home, pi), encode(late ?? {}), { retain: true });
    await settle();
    expect(published().map(({ generation }) => generation)).toEqual([1, 2, 1, 2]);
  });
});
