import { boardProfileSchema, type BoardProfile } from '@fleetgate/shared/catalogue/board';
import { ManualClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { boardId, deviceId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type BrokerUser, secretDigest } from '../broker/broker-user.js';
import { Fleet } from '../fleet/fleet.js';
import { MemoryFleetStore } from '../fleet/fleet-store.js';
import { Enrolment, mqttUrlFor } from './enrolment.js';

const TOKEN = 'the-join-token';
const board: BoardProfile = boardProfileSchema.parse({
  schema: 'fleetgate-board/1',
  id: 'pi-5',
  title: 'Pi',
  kind: 'raspberry-pi',
  arch: ['arm64'],
  detect: {},
  memoryBytes: { value: 8e9, source: 'test' },
  reservedBytes: 1e9,
  slots: 4,
  engineThreads: 4,
  power: {
    idleW: { value: 3, source: 'test' },
    loadW: { value: 10, source: 'test' },
    standbyW: { value: 2, source: 'test' },
  },
  decodeBandwidthBytesPerS: { value: 1e10, source: 'test' },
  sensors: [],
});

let clock: ManualClock;
let fleet: Fleet;
let store: MemoryFleetStore;
let users: readonly BrokerUser[];
let brokerDown: boolean;
let enrolment: Enrolment;

async function open(): Promise<void> {
  fleet = await Fleet.open({ store, clock, log: silentLogger, settings: { lease: milliseconds(15_000) } });
  enrolment = new Enrolment({
    fleet,
    boards: new Map([board, { ...board, id: boardId('pi-4') }].map((each) => [each.id, each])),
    joinToken: TOKEN,
    controller: { username: 'controller', password: 'controller-secret' },
    setUsers: (next) => {
      if (brokerDown) return Promise.reject(new FleetError('broker.unreachable', 'down'));
      users = next;
      return Promise.resolve();
    },
    random: new SeededRandom(1),
    clock,
    log: silentLogger,
  });
}

beforeEach(async () => {
  clock = new ManualClock();
  store = new MemoryFleetStore();
  users = [];
  brokerDown = false;
  await open();
});
afterEach(() => fleet.close());

const enrol = (parts: object = {}, address = '10.0.0.1') =>
  enrolment.enrol({ token: TOKEN, name: 'pi', board: 'pi-5', ...parts }, address);

describe('Enrolment', () => {
  it('gives a secret once, keeps its digest alone, and lets the device to the broker', async () => {
    const { deviceId: id, secret } = await enrol();
    expect(secret).toMatch(/^[\w-]{43}$/);
    expect(JSON.stringify(await store.load())).not.toContain(secret);
    expect(fleet.view.get(id)).toMatchObject({ board: 'pi-5', presence: 'never-seen' });
    expect(users).toMatchObject([
      { username: 'controller', secretSha256: secretDigest('controller-secret'), role: 'controller' },
      { username: 'pi', secretSha256: secretDigest(secret), role: 'device' },
    ]);
    expect(enrolment.isDevice('pi', secret)).toBe(true);
    expect(enrolment.isDevice('pi', `${secret}x`)).toBe(false);
    expect(enrolment.isDevice('nobody', '')).toBe(false);
  });

  it.each([
    [{ token: 'wrong' }, 'enrol.bad-token'],
    [{ board: 'toaster' }, 'board.unknown'],
    [{ name: 'controller' }, 'enrol.name-taken'],
    [{ name: 'No Name' }, 'request.invalid'],
    [{ name: 5 }, 'request.invalid'],
    [{ token: '' }, 'request.invalid'],
    [{ token: 'x'.repeat(5000) }, 'request.invalid'],
  ])('refuses %j as %s', async (parts, code) => {
    await expect(enrol(parts)).rejects.toMatchObject({ code, hint: expect.any(String) as string });
    expect(fleet.view.size).toBe(0);
  });

  it.each([undefined, null, 'text', [], {}])('refuses the body %j', async (body) => {
    await expect(enrolment.enrol(body, 'a')).rejects.toMatchObject({ code: 'request.invalid' });
  });

  it('gives a name to one of two that ask for it at once', async () => {
    const results = await Promise.allSettled([enrol(), enrol()]);
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    await expect(enrol()).rejects.toMatchObject({ code: 'enrol.name-taken' });
    const { secret } = (
      results.find(({ status }) => status === 'fulfilled') as PromiseFulfilledResult<{ secret: string }>
    ).value;
    expect(enrolment.isDevice('pi', secret)).toBe(true);
  });

  describe('asked again because its answer was lost', () => {
    const nonce = 'n'.repeat(43);

    it('gives a fresh secret; the old one is dead', async () => {
      const lost = await enrol({ nonce });
      const { deviceId: id, secret } = await enrol({ nonce });
      expect(secret).not.toBe(lost.secret);
      expect(enrolment.isDevice(id, lost.secret)).toBe(false);
      expect(enrolment.isDevice(id, secret)).toBe(true);
      expect(users.find(({ username }) => username === 'pi')?.secretSha256).toBe(secretDigest(secret));
      expect((await store.load()).map(({ credentials }) => credentials.secretSha256)).toEqual([secretDigest(secret)]);
    });

    it('does so after a restart of the controller, and keeps only a digest of the nonce', async () => {
      await enrol({ nonce });
      expect(JSON.stringify(await store.load())).not.toContain(nonce);
      await fleet.close();
      await open();
      const { secret } = await enrol({ nonce });
      expect(enrolment.isDevice('pi', secret)).toBe(true);
    });

    it('does so while the first asking is still under way', async () => {
      const answers = await Promise.all([enrol({ nonce }), enrol({ nonce })]);
      expect(answers.map(({ secret }) => enrolment.isDevice('pi', secret))).toEqual([false, true]);
    });

    it.each([
      ['another nonce', { nonce: 'm'.repeat(43) }],
      ['no nonce', {}],
      ['another board', { nonce, board: 'pi-4' }],
    ])('refuses %s', async (_what, parts) => {
      const { secret } = await enrol({ nonce });
      await expect(enrol(parts)).rejects.toMatchObject({ code: 'enrol.name-taken' });
      expect(enrolment.isDevice('pi', secret)).toBe(true);
    });

    it('refuses one that gives no nonce, like the first', async () => {
      await enrol();
      await expect(enrol()).rejects.toMatchObject({ code: 'enrol.name-taken' });
    });

    it('refuses even the right nonce once the device has connected: its name cannot be stolen', async () => {
      const { deviceId: id, secret } = await enrol({ nonce });
      const presence = { v: 1 as const, epoch: 1, agentVersion: '1' };
      fleet.record({
        kind: 'presence',
        deviceId: id,
        presence: { ...presence, state: 'online', reason: 'connected' },
        at: clock.now(),
      });
      await expect(enrol({ nonce })).rejects.toMatchObject({ code: 'enrol.name-taken' });
      fleet.record({
        kind: 'presence',
        deviceId: id,
        presence: { ...presence, state: 'offline', reason: 'shutdown' },
        at: clock.now(),
      });
      await expect(enrol({ nonce })).rejects.toMatchObject({ code: 'enrol.name-taken' });
      expect(enrolment.isDevice(id, secret)).toBe(true);
    });
  });

  it('lets nobody guess the token, and hinders nobody else', async () => {
    for (let attempt = 0; attempt < 10; attempt += 1) {
      await expect(enrol({ token: 'guess' })).rejects.toMatchObject({ code: 'enrol.bad-token' });
    }
    await expect(enrol()).rejects.toMatchObject({ code: 'enrol.too-many-attempts' });
    await enrol({ name: 'other' }, '10.0.0.2');
    clock.advance(60_000);
    await enrol();
  });

  it('enrols while the broker is down: it takes its users when it is back', async () => {
    brokerDown = true;
    await enrol();
    expect(enrolment.users().map(({ username }) => username)).toEqual(['controller', 'pi']);
  });

  it('takes a removed device from the broker and frees its name', async () => {
    const { secret } = await enrol();
    await enrolment.remove(deviceId('pi'));
    expect(users.map(({ username }) => username)).toEqual(['controller']);
    expect(enrolment.isDevice('pi', secret)).toBe(false);
    await expect(enrolment.remove(deviceId('pi'))).rejects.toMatchObject({ code: 'device.unknown' });
    await enrol();
  });
});

it('names the broker as the device reached the controller', () => {
  expect(mqttUrlFor('fleet.lan:8080', 'mqtt://127.0.0.1:1883')).toBe('mqtt://fleet.lan:1883');
  expect(mqttUrlFor('[fd00::1]:8080', 'mqtt://127.0.0.1:1883')).toBe('mqtt://[fd00::1]:1883');
  expect(mqttUrlFor(undefined, 'mqtt://127.0.0.1:1883')).toBe('mqtt://127.0.0.1:1883');
});
