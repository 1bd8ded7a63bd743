import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { systemClock } from '@fleetgate/shared/clock';
import type { DeviceId } from '@fleetgate/shared/ids';
import { type Logger, silentLogger } from '@fleetgate/shared/logger';
import type { Peer } from '@fleetgate/shared/protocol/artefact-sources';

import { DiskArtefactStore } from './disk-artefact-store.js';
import { digestOf } from './disk-digest.js';
import { httpArtefactSource } from './http-artefact-source.js';
import { fetchRange } from './http-peer-range.js';
import { type SeedServer, startSeedServer } from './http-seed-server.js';
import { UNLIMITED } from './pace.js';
import { peerSource } from './peer-source.js';

const RANGE = 64 * 1024;
const CONTENT = randomBytes(10 * RANGE + 1234);
const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const ARTEFACT = { sha256: sha256Of(CONTENT), sizeBytes: CONTENT.length };
const RANGES = Array.from({ length: 11 }, (_, i) => sha256Of(CONTENT.subarray(i * RANGE, (i + 1) * RANGE)));
const never = (): AbortSignal => new AbortController().signal;

let folder: string;
let ending: (() => Promise<unknown>)[];
let dropped: string[];
let fetched: { peersBytes: number; controllerBytes: number };
let log: Logger;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-peers-'));
  ending = [];
  dropped = [];
  fetched = { peersBytes: 0, controllerBytes: 0 };
  log = { ...silentLogger, warn: (_, fields) => void dropped.push(String(fields?.['peer'])) };
});
afterEach(async () => {
  for (const end of ending) await end();
  await rm(folder, { recursive: true, force: true });
});

async function listen(answer: RequestListener): Promise<string> {
  const server: Server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ending.push(() => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve))));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function seed(content = CONTENT): Promise<SeedServer> {
  const path = join(folder, `seeded-${sha256Of(content)}`);
  await writeFile(path, content);
  const server = await startSeedServer({
    ...{ host: '127.0.0.1', port: 0, tls: () => undefined, token: 'secret', pace: UNLIMITED },
    find: (sha256) => (sha256 === ARTEFACT.sha256 ? { path, sizeBytes: content.length } : undefined),
    ...{ clock: systemClock, log },
  });
  ending.push(() => server.close());
  return server;
}
const peerOf = (name: string, { url, token }: { readonly url: string; readonly token: string }): Peer => ({
  deviceId: name as DeviceId,
  url,
  token,
});
const peerAt = async (name: string, answer: RequestListener): Promise<Peer> =>
  peerOf(name, { url: await listen(answer), token: 'secret' });

/** A store that fetches from these peers and from a controller that has the file, too. */
async function storeOf(peers: readonly Peer[]): Promise<DiskArtefactStore> {
  const controllerUrl = await listen((request, response) => {
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (start > 0)
      response.writeHead(206, { 'content-range': `bytes ${start}-${CONTENT.length - 1}/${CONTENT.length}` });
    response.end(CONTENT.subarray(start));
  });
  const source = peerSource({
    sources: () => Promise.resolve({ rangeBytes: RANGE, ranges: RANGES, peers: [...peers] }),
    order: (told) => told,
    fetchRange: (peer, sha256, range, signal) => fetchRange(peer, sha256, range, { tls: undefined, nowMs: 0, signal }),
    controller: httpArtefactSource(controllerUrl, 'me:secret'),
    pace: UNLIMITED,
    fetched,
    log,
  });
  return DiskArtefactStore.open({ folder: join(folder, 'mine'), source, log: silentLogger, headroomBytes: 0 });
}

async function expectFetched(store: DiskArtefactStore): Promise<void> {
  await store.fetch(ARTEFACT, never(), () => {});
  expect(await digestOf(store.path(ARTEFACT.sha256), never())).toBe(ARTEFACT.sha256);
}

const DIES: RequestListener = (_, response) => {
  response.writeHead(206, { 'content-length': RANGE });
  response.write(CONTENT.subarray(0, 1000), () => setImmediate(() => response.destroy()));
};

describe('an artefact that peers have', () => {
  it('comes from them alone', async () => {
    await expectFetched(await storeOf([peerOf('a', (await seed()).seed), peerOf('b', (await seed()).seed)]));
    expect(fetched).toEqual({ peersBytes: CONTENT.length, controllerBytes: 0 });
  });

  it.each([
    ['lies', (_, response) => void response.writeHead(206).end(Buffer.alloc(RANGE))],
    ['dies in the middle of a range', DIES],
    ['sends more than it was asked for', (_, response) => void response.writeHead(206).end(Buffer.alloc(2 * RANGE))],
    ['does not have it any more', (_, response) => void response.writeHead(404).end()],
  ] as [string, RequestListener][])(
    'comes right beside a peer that %s, which is named and asked no more',
    async (_, bad) => {
      await expectFetched(await storeOf([await peerAt('bad', bad), peerOf('good', (await seed()).seed)]));
      expect(dropped).toEqual(['bad']);
      expect(fetched).toEqual({ peersBytes: CONTENT.length, controllerBytes: 0 });
    },
  );

  it('comes from the controller from where the last peer was lost', async () => {
    const good = await seed();
    let asked = 0;
    const leaving = await peerAt('leaving', (request, response) => {
      if (++asked > 4) return void response.destroy();
      const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
      response.writeHead(206).end(CONTENT.subarray(Number(start), Number(end) + 1));
    });
    await good.close();
    ending.pop();
    await expectFetched(await storeOf([peerOf('gone', good.seed), leaving]));
    expect(dropped.toSorted()).toEqual(['gone', 'leaving']);
    expect(fetched.peersBytes).toBeGreaterThan(0);
    expect(fetched.peersBytes % RANGE).toBe(0);
    expect(fetched.peersBytes + fetched.controllerBytes).toBe(CONTENT.length);
  });

  it('is gone on with after the agent was killed, also from the middle of a range', async () => {
    const store = await storeOf([peerOf('a', (await seed()).seed)]);
    await writeFile(join(folder, 'mine', `${ARTEFACT.sha256}.part`), CONTENT.subarray(0, 3 * RANGE + 77));
    await expectFetched(store);
    expect(fetched.peersBytes).toBe(CONTENT.length - 3 * RANGE);
    expect(fetched.controllerBytes).toBe(0);
  });

  it('comes from the controller where the digests do not fit its size', async () => {
    RANGES.push(sha256Of(Buffer.alloc(1)));
    try {
      await expectFetched(await storeOf([peerOf('a', (await seed()).seed)]));
    } finally {
      RANGES.pop();
    }
    expect(fetched).toEqual({ peersBytes: 0, controllerBytes: CONTENT.length });
  });

  it('stops coming when it is told to, and what came stays', async () => {
    const abort = new AbortController();
    const store = await storeOf([peerOf('a', (await seed()).seed)]);
    await expect(store.fetch(ARTEFACT, abort.signal, () => abort.abort())).rejects.toThrow();
    expect((await stat(join(folder, 'mine', `${ARTEFACT.sha256}.part`))).size % RANGE).toBe(0);
    expect(dropped).toEqual([]);
  });
});

describe('a device that serves its artefacts', () => {
  const ask = async (url: string, headers: Record<string, string>, path = `/artefacts/${ARTEFACT.sha256}`) =>
    (await fetch(`${url}${path}`, { headers })).status;
  const authorization = 'Bearer secret';

  it('gives ranges of what it has to who shows its token, and nothing else', async () => {
    const { url } = (await seed()).seed;
    expect(await ask(url, { authorization, range: 'bytes=0-99' })).toBe(206);
    expect(await ask(url, { range: 'bytes=0-99' })).toBe(401);
    expect(await ask(url, { authorization: 'Bearer wrong!', range: 'bytes=0-99' })).toBe(401);
    expect(await ask(url, { authorization })).toBe(416);
    for (const range of ['bytes=5-4', `bytes=0-${CONTENT.length}`, 'bytes=-5', 'bytes=0-1,3-4', `bytes=0-${2 ** 40}`]) {
      expect(await ask(url, { authorization, range }), range).toBe(416);
    }
    const range = 'bytes=0-99';
    expect(await ask(url, { authorization, range }, `/artefacts/${'0'.repeat(64)}`)).toBe(404);
    expect(await ask(url, { authorization, range }, '/artefacts/../../etc/passwd')).toBe(404);
  });

  it('does not serve other machines without a certificate', async () => {
    const options = { host: '0.0.0.0', port: 0, tls: () => undefined, token: 'x', pace: UNLIMITED };
    const starting = startSeedServer({ ...options, find: () => undefined, clock: systemClock, log });
    await expect(starting).rejects.toMatchObject({ code: 'config.invalid' });
  });
});
