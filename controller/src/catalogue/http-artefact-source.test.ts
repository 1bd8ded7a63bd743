import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { systemClock } from '@fleetgate/shared/clock';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { RemoteArtefact } from './artefact-source.js';
import { HttpArtefactSource } from './http-artefact-source.js';

const content = randomBytes(300_000);
const sha256 = createHash('sha256').update(content).digest('hex');

/** A hub that speaks the paths of Hugging Face, with faults to order. */
let server: Server;
let hub: string;
let folder: string;
let path: string;
let requests: IncomingMessage[];
let etag: string;
/** Breaks the connection after so many bytes of the body, as often as said. */
let breakAfter: number;
let breaks: number;
let status: number;

function serve(request: IncomingMessage, response: ServerResponse): void {
  requests.push(request);
  if (status !== 200) {
    response.writeHead(status).end('no');
    return;
  }
  const url = request.url ?? '';
  const json = (body: unknown): void =>
    void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  if (url === '/api/models/org/tiny-GGUF') return json({ cardData: { license: 'apache-2.0' }, tags: [] });
  if (url.startsWith('/api/models/org/tiny-GGUF/tree/main')) {
    return json([
      { type: 'file', path: 'README.md', size: 10 },
      { type: 'file', path: 'tiny-Q8_0.gguf', size: 134, lfs: { oid: sha256, size: content.length } },
    ]);
  }
  if (url === '/org/tiny-GGUF/resolve/main/tiny-Q8_0.gguf') {
    response.writeHead(302, { location: '/cdn/tiny' }).end();
    return;
  }
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  const usable = range !== null && request.headers['if-range'] === etag;
  const start = usable ? Number(range[1]) : 0;
  if (start >= content.length) {
    response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
    return;
  }
  const body = content.subarray(start);
  response.writeHead(usable ? 206 : 200, {
    etag,
    'content-length': body.length,
    ...(usable ? { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` } : {}),
  });
  if (breaks === 0) {
    response.end(body);
    return;
  }
  breaks -= 1;
  response.write(body.subarray(0, breakAfter), () => setImmediate(() => response.destroy()));
}

beforeEach(async () => {
  requests = [];
  etag = '"v1"';
  breaks = 0;
  breakAfter = 100_000;
  status = 200;
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-source-'));
  path = join(folder, 'model.part');
  server = createServer(serve).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  hub = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

const source = (parts: object = {}): HttpArtefactSource =>
  new HttpArtefactSource({ clock: systemClock, hubUrl: hub, retryDelay: milliseconds(1), ...parts });
const remote = (parts: Partial<RemoteArtefact> = {}): RemoteArtefact => ({
  url: `${hub}/cdn/tiny`,
  fileName: 'tiny.gguf',
  sizeBytes: undefined,
  sha256: undefined,
  licence: undefined,
  page: hub,
  ...parts,
});
const signal = (): AbortSignal => AbortSignal.timeout(20_000);
const fetchTo = (artefact: RemoteArtefact, parts: object = {}): Promise<void> =>
  source(parts).fetch(artefact, path, () => {}, signal());

describe('HttpArtefactSource', () => {
  it('finds a file of the hub with its size, digest and licence, and fetches it', async () => {
    const found = await source().resolve(
      { kind: 'hugging-face', repo: 'org/tiny-GGUF', quantisation: 'Q8_0' },
      signal(),
    );
    expect(found).toEqual({
      url: `${hub}/org/tiny-GGUF/resolve/main/tiny-Q8_0.gguf`,
      fileName: 'tiny-Q8_0.gguf',
      sizeBytes: content.length,
      sha256,
      licence: 'apache-2.0',
      page: `${hub}/org/tiny-GGUF`,
    });
    const progress: number[] = [];
    await source().fetch(found, path, (done, total) => progress.push(done / (total ?? 1)), signal());
    expect(readFileSync(path).equals(content)).toBe(true);
    expect([progress[0], progress.at(-1)]).toEqual([0, 1]);
  });

  it('goes on where the connection broke, without fetching a byte twice', async () => {
    breaks = 2;
    await fetchTo(remote({ sha256 }));
    expect(readFileSync(path).equals(content)).toBe(true);
    const starts = requests.map((request) => request.headers.range);
    expect(starts[0]).toBeUndefined();
    expect(starts[1]).toMatch(/^bytes=[1-9]/);
    expect(starts).toHaveLength(3);
  });

  it('goes on after a restart of this program', async () => {
    breaks = 5;
    await expect(fetchTo(remote())).rejects.toMatchObject({ code: 'artefact.unavailable', retryable: true });
    const had = readFileSync(path).length;
    requests = [];
    await fetchTo(remote({ sha256 }));
    expect(requests[0]?.headers.range).toBe(`bytes=${had}-`);
    expect(readFileSync(path).equals(content)).toBe(true);
  });

  it('never joins bytes of two files: a changed file is fetched from its start', async () => {
    breaks = 5;
    await expect(fetchTo(remote())).rejects.toMatchObject({ code: 'artefact.unavailable' });
    etag = '"v2"';
    await fetchTo(remote({ sha256 }));
    expect(readFileSync(path).equals(content)).toBe(true);
  });

  it('starts over what has no validator', async () => {
    writeFileSync(path, 'bytes of nobody knows what');
    await fetchTo(remote({ sha256 }));
    expect(requests[0]?.headers.range).toBeUndefined();
  });

  it.each([
    [{ sha256: 'f'.repeat(64) }, /sha256/],
    [{ sizeBytes: 299_999 }, /expected 299999/],
  ])('refuses and removes what is not what was promised: %j', async (parts, text) => {
    await expect(fetchTo(remote(parts))).rejects.toMatchObject({
      code: 'artefact.corrupt',
      message: expect.stringMatching(text) as string,
    });
    expect(() => readFileSync(path)).toThrow();
  });

  it('fetches nothing that would fill the disk', async () => {
    const freeBytes = (): Promise<number> => Promise.resolve(1000);
    await expect(fetchTo(remote(), { freeBytes })).rejects.toMatchObject({ code: 'artefact.disk-full' });
  });

  it.each([
    [404, /check the name/, 1],
    [401, /gated or private/, 1],
    [503, /./, 5],
  ])('says what to do about a %i', async (code, hint, tries) => {
    status = code;
    await expect(fetchTo(remote())).rejects.toMatchObject({
      code: 'artefact.unavailable',
      hint: expect.stringMatching(hint) as string,
    });
    expect(requests).toHaveLength(tries);
  });

  it('says that a host cannot be reached', async () => {
    const nowhere = new HttpArtefactSource({ clock: systemClock, hubUrl: 'http://127.0.0.1:9' });
    const resolving = nowhere.resolve({ kind: 'hugging-face', repo: 'a/b', quantisation: undefined }, signal());
    await expect(resolving).rejects.toMatchObject({ code: 'artefact.unavailable' });
  });

  it('ends at once when it is told to', async () => {
    const abort = new AbortController();
    breaks = 100;
    const fetching = source({ retryDelay: milliseconds(60_000) }).fetch(remote(), path, () => {}, abort.signal);
    while (requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
    abort.abort(new Error('enough'));
    await expect(fetching).rejects.toThrow('enough');
  });
});
