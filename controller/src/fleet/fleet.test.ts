import { ManualClock } from '@fleetgate/shared/clock';
import { boardId, deviceId, fleetId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { encode } from '@fleetgate/shared/protocol/codec';
import type { Presence } from '@fleetgate/shared/protocol/presence';
import { eventsTopic, presenceTopic, reportedTopic } from '@fleetgate/shared/protocol/topics';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { MemoryBrokerLink } from '../platform/memory-broker-link.js';
import { aReported } from './device.fixture.js';
import type { FleetChange } from './device.js';
import { Fleet } from './fleet.js';
import { MemoryFleetStore } from './fleet-store.js';
import { MqttFleetLink, type ToldEvent } from './mqtt-fleet-link.js';

const id = deviceId('pi');
const home = fleetId('home');
const online = (epoch: number): Presence => ({ v: 1, state: 'online', epoch, reason: 'connected', agentVersion: '1' });

let clock: ManualClock;
let store: MemoryFleetStore;
let fleet: Fleet;
const open = (): Promise<Fleet> =>
  Fleet.open({ store, clock, log: silentLogger, settings: { lease: milliseconds(15_000) } });

beforeEach(async () => {
  clock = new ManualClock();
  store = new MemoryFleetStore();
  fleet = await open();
  await fleet.enrol(id, boardId('raspberry-pi-5'), { secretSha256: 'hash' });
});
afterEach(() => fleet.close());

describe('Fleet', () => {
  it('tells of every change once, in order, also when a listener records in turn', () => {
    const seen: string[] = [];
    let answered = false;
    fleet.changes$.subscribe((change) => {
      if (answered) return;
      answered = true;
      const desired = {
        v: 1 as const,
        generation: 1,
        planId: null,
        state: 'active' as const,
        variants: [],
        telemetry: { sampleMs: 100, batchMs: 100 },
      };
      fleet.record({ kind: 'desired', deviceId: change.event.deviceId, desired, at: clock.now() });
    });
    fleet.changes$.subscribe((change) => seen.push(change.event.kind));
    fleet.record({ kind: 'presence', deviceId: id, presence: online(1), at: clock.now() });
    fleet.record({ kind: 'presence', deviceId: id, presence: online(1), at: clock.now() });
    expect(seen).toEqual(['presence', 'desired']);
  });

  it('takes up who came and went at another controller, and newer documents', async () => {
    const other = await open();
    const desired = {
      v: 1 as const,
      generation: 7,
      planId: null,
      state: 'active' as const,
      variants: [],
      telemetry: { sampleMs: 100, batchMs: 100 },
    };
    const phone = deviceId('phone');
    await other.enrol(phone, boardId('android-phone'), { secretSha256: 'other' });
    other.record({ kind: 'desired', deviceId: phone, desired, at: clock.now() });
    await other.remove(id);
    await other.close();
    const seen: string[] = [];
    fleet.changes$.subscribe(({ event }) => seen.push(`${event.kind} ${event.deviceId}`));
    await fleet.reload();
    await fleet.reload();
    expect(seen).toEqual(['removed pi', 'enrolled phone', 'desired phone']);
    expect(fleet.credentials(id)).toBeUndefined();
    expect(fleet.credentials(phone)).toEqual({ secretSha256: 'other' });
  });

  it('takes a device offline when its lease runs out', () => {
    fleet.record({ kind: 'presence', deviceId: id, presence: online(1), at: clock.now() });
    clock.advance(14_000);
    expect(fleet.view.get(id)?.presence).toBe('online');
    clock.advance(2000);
    expect(fleet.view.get(id)?.presence).toBe('offline');
  });

  it('survives a restart, and gives what was online one more lease', async () => {
    fleet.record({ kind: 'presence', deviceId: id, presence: online(3), at: clock.now() });
    await fleet.close();
    clock.advance(3_600_000);
    fleet = await open();
    expect(fleet.view.get(id)).toMatchObject({ presence: 'online', epoch: 3 });
    expect(fleet.credentials(id)?.secretSha256).toBe('hash');
    clock.advance(15_000);
    expect(fleet.view.get(id)?.presence).toBe('offline');
  });

  it('forgets a removed device for good', async () => {
    const changes: FleetChange[] = [];
    fleet.changes$.subscribe((change) => changes.push(change));
    expect(await fleet.remove(id)).toBe(true);
    expect(await fleet.remove(id)).toBe(false);
    fleet.record({ kind: 'presence', deviceId: id, presence: online(9), at: clock.now() });
    expect(changes.map((change) => [change.event.kind, change.after])).toEqual([['removed', undefined]]);
    expect(fleet.credentials(id)).toBeUndefined();
  });

  it('keeps what it could not save and saves it later', async () => {
    const save = store.save.bind(store);
    store.save = () => Promise.reject(new Error('disk full'));
    fleet.record({ kind: 'presence', deviceId: id, presence: online(4), at: clock.now() });
    await expect(fleet.flush()).rejects.toThrow('disk full');
    store.save = save;
    await fleet.flush();
    expect((await store.load())[0]?.device.epoch).toBe(4);
  });
});

describe('MqttFleetLink', () => {
  let broker: MemoryBrokerLink;
  let link: MqttFleetLink;
  let told: ToldEvent[];
  let counts: string[];

  beforeEach(() => {
    broker = new MemoryBrokerLink();
    told = [];
    counts = [];
    const count = (channel: string, reason: string): number => counts.push(`${channel} ${reason}`);
    link = new MqttFleetLink({ broker, fleet, fleetId: home, clock, log: silentLogger, count });
    link.events$.subscribe((event) => told.push(event));
    link.start();
  });
  afterEach(() => link.stop());

  it('records presence and reported documents, and passes events on', async () => {
    await broker.publish(presenceTopic(home, id), encode(online(2)));
    await broker.publish(reportedTopic(home, id), encode(aReported({ epoch: 2 })));
    const event = { v: 1, epoch: 2, atMs: 1, level: 'info', code: 'engine.restarted', message: 'again' };
    await broker.publish(eventsTopic(home, id), encode(event));
    expect(fleet.view.get(id)).toMatchObject({ presence: 'online', epoch: 2, reported: { epoch: 2 } });
    expect(told).toEqual([{ deviceId: id, event }]);
  });

  it.each([
    ['text', Buffer.from('hello'), 'protocol.malformed'],
    ['bytes that are not UTF-8', Buffer.from([0xff, 0xfe, 0x7b]), 'protocol.malformed'],
    ['a future version', Buffer.from(JSON.stringify({ ...online(2), v: 2 })), 'protocol.unsupported-version'],
    ['another shape', Buffer.from('{"v":1,"state":"gone"}'), 'protocol.malformed'],
    ['too many bytes', Buffer.alloc(300_000, 0x20), 'protocol.too-large'],
  ])('counts %s, shows it once, and goes on', async (_, payload, code) => {
    await broker.publish(presenceTopic(home, id), payload);
    await broker.publish(presenceTopic(home, id), payload);
    expect(counts).toEqual([`presence ${code}`, `presence ${code}`]);
    expect(told.map(({ event }) => event.code)).toEqual([code]);
    expect(fleet.view.get(id)?.presence).toBe('never-seen');
  });

  it('counts messages of devices that are not enrolled', async () => {
    await broker.publish(presenceTopic(home, deviceId('stranger')), encode(online(1)));
    expect(counts).toEqual(['presence device.unknown']);
    expect(told).toEqual([]);
  });
});
