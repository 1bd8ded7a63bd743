import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ManualClock, systemClock } from '@fleetgate/shared/clock';
import { boardId, deviceId, fleetId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { backoff } from '@fleetgate/shared/backoff';
import { diskEpochs, enrolmentApplication, readIdentity, writeIdentity } from './disk-identity.js';
import { makeKey } from './device-certificate.js';
import { enrol, lookUpBroker } from './http-enrolment.js';
import { brokerUrl, type Identity } from './identity.js';

const IDENTITY: Identity = {
  schema: 'fleetgate-identity/1',
  fleet: fleetId('test'),
  deviceId: deviceId('pi-1'),
  board: boardId('raspberry-pi-5'),
  mqttUrl: 'mqtt://127.0.0.1:1883',
  secret: 's3cret',
};

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-link-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('identity on disk', () => {
  it('comes back as it was written, for its owner only', async () => {
    expect(readIdentity(folder)).toBeUndefined();
    writeIdentity(folder, IDENTITY);
    expect(readIdentity(folder)).toEqual(IDENTITY);
    expect((await stat(join(folder, 'identity.json'))).mode & 0o777).toBe(0o600);
  });

  it.each(['{"schema":"fleet', '{}', '[1]'])('%s is refused as damaged', async (text) => {
    await writeFile(join(folder, 'identity.json'), text);
    expect(() => readIdentity(folder)).toThrow(expect.objectContaining({ code: 'store.corrupt' }));
  });
});

describe('nonce and key of an enrolment', () => {
  const read = (seed: number) => enrolmentApplication(folder, new SeededRandom(seed));

  it('outlive a restart, for their owner only, until there is an identity', async () => {
    const application = read(1);
    expect(application.nonce).toMatch(/^[\w-]{43}$/);
    expect(application.keyPem).toContain('BEGIN PRIVATE KEY');
    expect(read(2)).toEqual(application);
    expect((await stat(join(folder, 'enrolment.json'))).mode & 0o777).toBe(0o600);
    writeIdentity(folder, IDENTITY);
    expect(await readdir(folder)).toEqual(['identity.json']);
  });

  it.each(['{"nonce":"short"}', '{"non'])('%s is replaced', async (text) => {
    await writeFile(join(folder, 'enrolment.json'), text);
    const application = read(1);
    expect(application.nonce).toHaveLength(43);
    expect(read(2)).toEqual(application);
  });

  it('keep a nonce that an earlier release has left without a key', async () => {
    const nonce = 'n'.repeat(43);
    await writeFile(join(folder, 'enrolment.json'), JSON.stringify({ nonce }));
    expect(read(1).nonce).toBe(nonce);
    expect(read(2)).toEqual(read(1));
  });
});

describe('session epochs', () => {
  it('grow over restarts, a clock that went back and a lost file', async () => {
    const late = new ManualClock(2_000_000_000_000);
    const first = diskEpochs(folder, late);
    const [a, b] = [first.next(), first.next()];
    expect(b).toBeGreaterThan(a);
    const early = new ManualClock(1_000_000_000_000);
    const c = diskEpochs(folder, early).next();
    expect(c).toBeGreaterThan(b);
    await writeFile(join(folder, 'epoch.json'), '{"epo');
    late.advance(60_000);
    expect(diskEpochs(folder, late).next()).toBeGreaterThan(c);
    expect(JSON.parse(await readFile(join(folder, 'epoch.json'), 'utf8'))).toHaveProperty('epoch');
  });
});

describe('the broker as seen from the device', () => {
  it.each([
    ['mqtt://127.0.0.1:1883', 'http://192.168.1.10:8080', 'mqtt://192.168.1.10:1883'],
    ['mqtt://0.0.0.0:1883', 'http://hub.local:8080', 'mqtt://hub.local:1883'],
    ['mqtts://broker.example:8883', 'http://192.168.1.10:8080', 'mqtts://broker.example:8883'],
    ['mqtt://127.0.0.1:1883', 'http://127.0.0.1:8080', 'mqtt://127.0.0.1:1883'],
  ])('%s told by %s is %s', (told, controller, expected) => {
    expect(brokerUrl(told, controller)).toBe(expected);
  });
});

describe('backoff', () => {
  it('doubles up to its bound, less up to half by chance', () => {
    const random = new SeededRandom(1);
    for (let attempt = 0; attempt < 50; attempt++) {
      const full = Math.min(1000, 100 * 2 ** attempt);
      const wait = backoff(attempt, milliseconds(100), milliseconds(1000), random);
      expect(wait).toBeGreaterThan(full / 2 - 1);
      expect(wait).toBeLessThanOrEqual(full);
    }
  });
});

describe('enrolment', () => {
  const around = () => ({
    clock: systemClock,
    random: new SeededRandom(1),
    log: silentLogger,
    signal: new AbortController().signal,
  });

  async function answering<T>(
    answers: readonly (readonly [status: number, body: string])[],
    use: (url: string, asked: () => number) => Promise<T>,
    date = new Date().toUTCString(),
  ): Promise<T> {
    let asked = 0;
    const server = createServer((request, response) => {
      if (request.url === '/healthz') {
        response.setHeader('date', date).end();
        return;
      }
      const [status, body] = answers[Math.min(asked++, answers.length - 1)] ?? [500, ''];
      response.writeHead(status).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, () => asked);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }
  const wanted = (controllerUrl: string) => ({
    controllerUrl,
    token: 't',
    name: 'pi-1',
    board: boardId('raspberry-pi-5'),
    nonce: 'the-nonce-of-this-enrolment',
    keyPem: makeKey(),
  });
  const welcome = JSON.stringify({
    fleet: 'test',
    deviceId: 'pi-1',
    mqttUrl: 'mqtt://127.0.0.1:1883',
    secret: 's3cret',
  });

  it('waits for a controller that is overloaded', async () => {
    await answering(
      [
        [503, '{}'],
        [200, welcome],
      ],
      async (url, asked) => {
        expect(await enrol(wanted(url), around())).toEqual({ identity: IDENTITY, certificate: undefined });
        expect(asked()).toBe(2);
      },
    );
  });

  it.each([
    [401, JSON.stringify({ error: { message: 'wrong token', code: 'enrol.bad-token' } }), 'enrol.bad-token'],
    [409, JSON.stringify({ error: { message: 'taken', code: 'enrol.name-taken' } }), 'enrol.name-taken'],
    [404, '<html>', 'usage.invalid'],
    [200, '<html>', 'controller.unreachable'],
    [200, '{"fleet":"Not A Name"}', 'controller.unreachable'],
  ])('an answer %s %s is %s, and not asked for again', async (status, body, code) => {
    await answering([[status, body]], async (url, asked) => {
      await expect(enrol(wanted(url), around())).rejects.toMatchObject({ code });
      expect(asked()).toBe(1);
    });
  });

  it('goes on asking where a person has to approve, and gives up when it is told to stop', async () => {
    const waiting = JSON.stringify({ state: 'waiting', deviceId: 'pi-1', retryAfterMs: 100 });
    await answering(
      [
        [202, waiting],
        [202, waiting],
        [201, welcome],
      ],
      async (url, asked) => {
        expect((await enrol(wanted(url), around())).identity).toEqual(IDENTITY);
        expect(asked()).toBe(3);
      },
    );
    await answering([[202, waiting]], async (url) => {
      const stop = new AbortController();
      const asking = enrol(wanted(url), { ...around(), signal: stop.signal });
      stop.abort();
      await expect(asking).rejects.toMatchObject({ code: 'controller.unreachable' });
    });
    const denied = JSON.stringify({ error: { message: 'no', code: 'enrol.denied' } });
    await answering([[403, denied]], async (url) => {
      await expect(enrol(wanted(url), around())).rejects.toMatchObject({ code: 'enrol.denied' });
    });
  });

  it.each(['Thu, 01 Jan 1970 00:00:10 GMT', 'Fri, 01 Jan 2100 00:00:00 GMT'])(
    'with a clock far from %s it does not ask, and tells both times',
    async (date) => {
      const use = async (url: string, asked: () => number): Promise<void> => {
        await expect(enrol(wanted(url), around())).rejects.toMatchObject({
          code: 'enrol.clock-off',
          message: expect.stringContaining(new Date(date).toISOString()) as string,
        });
        expect(asked()).toBe(0);
      };
      await answering([[201, welcome]], use, date);
    },
  );

  it('does not take an answer without an authority when its token names one', async () => {
    await answering([[201, welcome]], async (url) => {
      const pinned = { ...wanted(url), token: 'fgj.id.secret.pin' };
      await expect(enrol(pinned, around())).rejects.toMatchObject({ code: 'enrol.foreign-authority' });
    });
  });

  it('finds a broker that moved, of the own fleet only', async () => {
    const status = (fleet: string) => JSON.stringify({ fleet, mqttUrl: 'mqtt://127.0.0.1:4242' });
    const { signal } = around();
    await answering(
      [
        [200, status('test')],
        [200, status('other')],
        [401, '{}'],
      ],
      async (url) => {
        expect(await lookUpBroker(url, IDENTITY, 'secret', signal)).toBe('mqtt://127.0.0.1:4242');
        expect(await lookUpBroker(url, IDENTITY, 'secret', signal)).toBeUndefined();
        expect(await lookUpBroker(url, IDENTITY, 'secret', signal)).toBeUndefined();
      },
    );
    expect(await lookUpBroker('http://127.0.0.1:9', IDENTITY, 'secret', signal)).toBeUndefined();
  });
});
