import { boardProfileSchema, type BoardProfile } from '@fleetgate/shared/catalogue/board';
import { ManualClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { boardId, deviceId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Certification } from '../identity/certification.js';
import { aCertification, DeviceKey } from '../identity/identity.fixture.js';
import { type BrokerUser, secretDigest } from '../broker/broker-user.js';
import { Fleet } from '../fleet/fleet.js';
import { MemoryFleetStore } from '../fleet/fleet-store.js';
import { Admission } from './admission.js';
import { Approvals } from './approvals.js';
import { Enrolment } from './enrolment.js';
import { type EnrolmentStore, MemoryEnrolmentStore } from './enrolment-store.js';
import { JoinTokens } from './join-tokens.js';
import { mqttUrlFor } from './mqtt-url.js';

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
let doors: EnrolmentStore;
let tokens: JoinTokens;
let approvals: Approvals;
let rule: 'token' | 'person';
let certification: Certification | undefined;

async function open(): Promise<void> {
  tokens = await JoinTokens.open({
    store: doors,
    kept: TOKEN,
    authoritySha256: undefined,
    random: new SeededRandom(2),
    clock,
  });
  approvals = await Approvals.open(doors, clock);
  fleet = await Fleet.open({ store, clock, log: silentLogger, settings: { lease: milliseconds(15_000) } });
  enrolment = new Enrolment({
    fleet,
    boards: new Map([board, { ...board, id: boardId('pi-4') }].map((each) => [each.id, each])),
    admission: new Admission({ tokens, approvals, rule, log: silentLogger }),
    certification,
    controller: { username: 'controller', password: 'controller-secret', certificates: [] },
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
  doors = new MemoryEnrolmentStore();
  rule = 'token';
  certification = undefined;
  await open();
});
afterEach(() => fleet.close());

const ask = (parts: object = {}, address = '10.0.0.1') =>
  enrolment.enrol({ token: TOKEN, name: 'pi', board: 'pi-5', ...parts }, address);

async function enrol(parts: object = {}, address = '10.0.0.1') {
  const outcome = await ask(parts, address);
  if (outcome.kind === 'waiting') throw new Error('it waits');
  return outcome;
}

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

describe('join tokens', () => {
  const hour = milliseconds(3_600_000);

  it('let in as many devices as they are for, and no longer than they are for', async () => {
    const { token } = await tokens.create(hour, 2);
    expect(token).toMatch(/^fgj\.[\w-]{12}\.[\w-]{43}$/);
    await enrol({ token, name: 'a' });
    await enrol({ token, name: 'b' });
    await expect(enrol({ token, name: 'c' })).rejects.toMatchObject({ code: 'enrol.bad-token', message: /used/ });
    const late = await tokens.create(hour, 1);
    clock.advance(3_600_000);
    await expect(enrol({ token: late.token, name: 'c' })).rejects.toMatchObject({ message: /has run out/ });
  });

  it('are not spent by a device that is refused, nor twice by one whose answer was lost', async () => {
    const { token } = await tokens.create(hour, 1);
    await enrol({ name: 'taken' });
    await expect(enrol({ token, name: 'taken' })).rejects.toMatchObject({ code: 'enrol.name-taken' });
    await expect(enrol({ token, board: 'toaster' })).rejects.toMatchObject({ code: 'board.unknown' });
    const nonce = 'n'.repeat(43);
    await enrol({ token, nonce });
    await enrol({ token, nonce });
    expect(tokens.list()).toMatchObject([{ usesLeft: 0 }]);
  });

  it('have one use for one of two that come at once', async () => {
    const { token } = await tokens.create(hour, 1);
    const results = await Promise.allSettled([enrol({ token, name: 'a' }), enrol({ token, name: 'b' })]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });

  it('are known and counted after a restart; only a digest is kept; a removed one is dead', async () => {
    const { token, id } = await tokens.create(hour, 2);
    await enrol({ token, name: 'a' });
    expect(JSON.stringify(await doors.tokens())).not.toContain(token.split('.')[2]);
    await fleet.close();
    await open();
    expect(tokens.list()).toMatchObject([{ id, usesLeft: 1 }]);
    expect(await tokens.remove(id)).toBe(true);
    await expect(enrol({ token, name: 'b' })).rejects.toMatchObject({ message: /wrong/ });
    expect(await tokens.remove(id)).toBe(false);
  });

  it('refuses every other text', async () => {
    const { token } = await tokens.create(hour, 1);
    const [mark, id, secret] = token.split('.');
    for (const text of [
      `${mark}.${id}`,
      `${mark}.${id}.`,
      `${mark}..${secret}`,
      `fgj.${id}.${secret}x`,
      `x.${id}.${secret}`,
    ]) {
      expect(tokens.check(text)).toBe('wrong');
    }
    expect(tokens.check(`${token}.pin-of-the-authority`)).toEqual({ kind: 'issued', id });
  });
});

describe('approval by a person', () => {
  const nonce = 'n'.repeat(43);
  beforeEach(async () => {
    rule = 'person';
    await fleet.close();
    await open();
  });

  it('has a device wait until it is let in, over a restart, with one use of its token', async () => {
    const { token } = await tokens.create(milliseconds(1000), 1);
    expect(await ask({ token, nonce })).toEqual({ kind: 'waiting', deviceId: 'pi' });
    expect(fleet.view.size).toBe(0);
    clock.advance(10_000);
    await fleet.close();
    await open();
    expect(await ask({ token, nonce })).toMatchObject({ kind: 'waiting' });
    expect(approvals.list()).toMatchObject([{ name: 'pi', board: 'pi-5', address: '10.0.0.1', verdict: 'none' }]);
    await approvals.decide('pi', 'approved');
    const { secret } = await enrol({ token, nonce });
    expect(enrolment.isDevice('pi', secret)).toBe(true);
    expect(approvals.list()).toEqual([]);
  });

  it('turns a denied device away; another may have its name', async () => {
    await ask({ nonce });
    await approvals.decide('pi', 'denied');
    await expect(ask({ nonce })).rejects.toMatchObject({ code: 'enrol.denied' });
    expect(await ask({ nonce: 'm'.repeat(43) })).toMatchObject({ kind: 'waiting' });
  });

  it('does not let another take the place of one who waits or was approved', async () => {
    certification = (await aCertification({ clock })).certification;
    await fleet.close();
    await open();
    const csr = new DeviceKey().request('pi');
    await ask({ nonce, csr });
    await approvals.decide('pi', 'approved');
    for (const other of [{ nonce: 'm'.repeat(43), csr }, { nonce, csr: new DeviceKey().request('pi') }, { nonce }]) {
      await expect(ask(other)).rejects.toMatchObject({ code: 'enrol.name-taken' });
    }
    expect(fleet.view.size).toBe(0);
    await enrol({ nonce, csr });
  });

  it('refuses one that cannot be known again, and knows nobody who has not asked', async () => {
    await expect(ask()).rejects.toMatchObject({ code: 'request.invalid' });
    await expect(approvals.decide('pi', 'approved')).rejects.toMatchObject({ code: 'device.unknown' });
  });
});

describe('certificates', () => {
  const key = new DeviceKey();
  const certificatesOf = (name: string) => users.find(({ username }) => username === name)?.certificates ?? [];
  beforeEach(async () => {
    clock = new ManualClock(unixMs(Date.now()));
    certification = (await aCertification({ clock })).certification;
    await fleet.close();
    await open();
  });

  it('certifies the key of a device that enrols, and tells the broker', async () => {
    const { certificate } = await enrol({ csr: key.request('pi') });
    expect(certificatesOf('pi')).toEqual([{ serial: certificate?.serial, notAfterMs: certificate?.notAfter }]);
  });

  it('answers one that asks again with its own key alone: a nonce can be overheard', async () => {
    const nonce = 'n'.repeat(43);
    const { secret } = await enrol({ nonce, csr: key.request('pi') });
    await expect(enrol({ nonce, csr: new DeviceKey().request('pi') })).rejects.toMatchObject({
      code: 'enrol.name-taken',
    });
    await expect(enrol({ nonce })).rejects.toMatchObject({ code: 'enrol.name-taken' });
    expect(enrolment.isDevice('pi', secret)).toBe(true);
    const again = await enrol({ nonce, csr: key.request('pi') });
    expect(certificatesOf('pi')).toEqual([
      { serial: again.certificate?.serial, notAfterMs: again.certificate?.notAfter },
    ]);
  });

  it('takes the secret of a device that was removed and enrolled without a key', async () => {
    await enrol({ csr: key.request('pi') });
    await enrolment.remove(deviceId('pi'));
    const { secret } = await enrol();
    await enrolment.renew({ deviceId: 'pi', csr: new DeviceKey().request('pi') }, secret, 'a');
    expect(certificatesOf('pi')).toHaveLength(1);
  });

  it('enrols nobody with a bad request, another name, or the key of another device', async () => {
    await enrol({ csr: key.request('pi') });
    const { token } = await tokens.create(milliseconds(60_000), 1);
    for (const [csr, code] of [
      [key.request('b'), 'enrol.key-reused'],
      [new DeviceKey().request('c'), 'enrol.bad-request'],
      ['no request', 'enrol.bad-request'],
    ]) {
      await expect(enrol({ token, name: 'b', csr })).rejects.toMatchObject({ code });
    }
    expect([...fleet.view.keys()]).toEqual(['pi']);
    expect(tokens.list()).toMatchObject([{ usesLeft: 1 }]);
  });

  it('renews by the present key', async () => {
    const { certificate } = await enrol({ csr: key.request('pi') });
    const next = new DeviceKey().request('pi');
    const proof = key.proof(certificate?.pem ?? '', 'pi', next);
    const renewed = await enrolment.renew({ deviceId: 'pi', csr: next, proof }, undefined, 'a');
    expect(certificatesOf('pi').map(({ serial }) => serial)).toEqual([certificate?.serial, renewed.certificate.serial]);
  });

  it('gives a device that was enrolled with a secret alone its first certificate for it, and no other', async () => {
    certification = (await aCertification({ clock, validity: milliseconds(60_000) })).certification;
    await fleet.close();
    await open();
    const { secret } = await enrol();
    const csr = key.request('pi');
    const renew = (shown: string | undefined, pem = csr) => enrolment.renew({ deviceId: 'pi', csr: pem }, shown, 'a');
    await expect(renew('wrong')).rejects.toMatchObject({ code: 'enrol.certificate-refused' });
    await expect(renew(undefined)).rejects.toMatchObject({ code: 'enrol.certificate-refused' });
    await renew(secret);
    expect(certificatesOf('pi')).toHaveLength(1);
    await expect(renew(secret, new DeviceKey().request('pi'))).rejects.toMatchObject({
      code: 'enrol.certificate-refused',
    });
    clock.advance(120_000);
    await expect(renew(secret, new DeviceKey().request('pi'))).rejects.toMatchObject({
      code: 'enrol.certificate-refused',
    });
  });

  it('lets nobody try renewals without end', async () => {
    await enrol();
    const renew = () => enrolment.renew({ deviceId: 'pi', csr: key.request('pi') }, 'wrong', 'a');
    for (let attempt = 0; attempt < 10; attempt += 1) await expect(renew()).rejects.toThrow(/proof/);
    await expect(renew()).rejects.toMatchObject({ code: 'enrol.too-many-attempts' });
  });

  it('gives none where there is no authority', async () => {
    certification = undefined;
    await fleet.close();
    await open();
    expect((await enrol({ name: 'b', csr: key.request('b') })).certificate).toBeUndefined();
    await expect(enrolment.renew({}, undefined, 'a')).rejects.toMatchObject({ code: 'request.not-found' });
  });

  it('revokes all that lets a device in, for good, and keeps its name', async () => {
    const { secret, certificate } = await enrol({ csr: key.request('pi'), nonce: 'n'.repeat(43) });
    fleet.record({
      kind: 'presence',
      deviceId: deviceId('pi'),
      presence: { v: 1, epoch: 7, agentVersion: '1', state: 'online', reason: 'connected' },
      at: clock.now(),
    });
    expect(enrolment.credentialsOf(deviceId('pi'))).toMatchObject({ state: 'certificate' });
    await enrolment.revoke(deviceId('pi'));
    expect(enrolment.credentialsOf(deviceId('pi'))).toEqual({ state: 'revoked', certificates: [] });
    const isOut = () => {
      expect(enrolment.users().map(({ username }) => username)).toEqual(['controller']);
      expect(enrolment.isDevice('pi', secret)).toBe(false);
      expect(enrolment.isDevice('pi', 'revoked')).toBe(false);
    };
    isOut();
    expect(users.map(({ username }) => username)).toEqual(['controller']);
    expect(fleet.view.get(deviceId('pi'))?.presence).toBe('offline');
    await fleet.close();
    await open();
    isOut();
    const next = new DeviceKey().request('pi');
    const proof = key.proof(certificate?.pem ?? '', 'pi', next);
    await expect(enrolment.renew({ deviceId: 'pi', csr: next, proof }, secret, 'a')).rejects.toMatchObject({
      message: expect.stringContaining('revoked') as string,
    });
    await expect(enrol({ csr: key.request('pi'), nonce: 'n'.repeat(43) })).rejects.toMatchObject({
      code: 'enrol.name-taken',
    });
    await expect(enrolment.revoke(deviceId('nobody'))).rejects.toMatchObject({ code: 'device.unknown' });
    await enrolment.remove(deviceId('pi'));
    await enrol({ csr: new DeviceKey().request('pi') });
  });
});

it('names the broker as the device reached the controller', () => {
  expect(mqttUrlFor('fleet.lan:8080', 'mqtt://127.0.0.1:1883')).toBe('mqtt://fleet.lan:1883');
  expect(mqttUrlFor('[fd00::1]:8080', 'mqtt://127.0.0.1:1883')).toBe('mqtt://[fd00::1]:1883');
  expect(mqttUrlFor(undefined, 'mqtt://127.0.0.1:1883')).toBe('mqtt://127.0.0.1:1883');
});
