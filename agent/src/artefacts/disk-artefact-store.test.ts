import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { systemClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';

import { DiskArtefactStore } from './disk-artefact-store.js';
import { digestOf } from './disk-digest.js';
import { diskReadRate } from './disk-read-rate.js';
import { httpArtefactSource } from './http-artefact-source.js';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const CONTENT = randomBytes(600_000);
const SHA256 = createHash('sha256').update(CONTENT).digest('hex');
const ARTEFACT = { sha256: SHA256, sizeBytes: CONTENT.length };
const never = (): AbortSignal => new AbortController().signal;
const nothing = (): void => {};

let folder: string;
let server: Server;
let answers: Answer[];
let ranges: (string | undefined)[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-artefacts-'));
  answers = [];
  ranges = [];
  server = createServer((request, response) => {
    ranges.push(request.headers.range);
    (answers.shift() ?? whole)(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true, force: true });
});

const whole: Answer = (request, response) => {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  if (start > 0) response.writeHead(206, { 'content-range': `bytes ${start}-${CONTENT.length - 1}/${CONTENT.length}` });
  response.end(CONTENT.subarray(start));
};
/** Sends so many bytes of `content` and cuts the line. */
const cutAfter =
  (count: number, content = CONTENT): Answer =>
  (_, response) => {
    response.writeHead(200, { 'content-length': content.length });
    response.write(content.subarray(0, count), () => setImmediate(() => response.destroy()));
  };
const status =
  (code: number): Answer =>
  (_, response) =>
    response.writeHead(code).end('{}');
const sending =
  (content: Buffer): Answer =>
  (_, response) =>
    response.end(content);

const open = (overrides: Partial<Parameters<typeof DiskArtefactStore.open>[0]> = {}) => {
  const { port } = server.address() as AddressInfo;
  const source = httpArtefactSource(`http://127.0.0.1:${port}`, 'pi-1:secret');
  return DiskArtefactStore.open({ folder, source, log: silentLogger, headroomBytes: 0, ...overrides });
};

describe('fetching an artefact', () => {
  it('stores it verified, under its digest alone', async () => {
    const store = await open();
    const shares: number[] = [];
    await store.fetch(ARTEFACT, never(), (share) => shares.push(share));
    expect(store.stored()).toEqual([{ ...ARTEFACT, state: 'verified' }]);
    expect(await readdir(folder)).toEqual([`${SHA256}.gguf`]);
    expect(await digestOf(store.path(SHA256), never())).toBe(SHA256);
    expect(shares.at(-1)).toBe(1);
    await store.fetch(ARTEFACT, never(), nothing);
    expect(ranges).toHaveLength(1);
  });

  it('goes on where the line was cut, also after a restart', async () => {
    answers = [cutAfter(200_000)];
    await expect((await open()).fetch(ARTEFACT, never(), nothing)).rejects.toMatchObject({
      code: 'artefact.unavailable',
      retryable: true,
    });
    const { size } = await stat(join(folder, `${SHA256}.part`));
    expect(size).toBeGreaterThan(0);
    const store = await open();
    await store.fetch(ARTEFACT, never(), nothing);
    expect(ranges).toEqual([undefined, `bytes=${size}-`]);
    expect(await digestOf(store.path(SHA256), never())).toBe(SHA256);
  });

  it('starts over at a source without ranges', async () => {
    answers = [cutAfter(200_000), sending(CONTENT)];
    const store = await open();
    await store.fetch(ARTEFACT, never(), nothing).catch(nothing);
    await store.fetch(ARTEFACT, never(), nothing);
    expect(await digestOf(store.path(SHA256), never())).toBe(SHA256);
  });

  it('fetches wrong bytes once more, and gives up when they stay wrong', async () => {
    const wrong = Buffer.from(CONTENT);
    wrong[1000] = (wrong[1000] ?? 0) ^ 1;
    answers = [sending(wrong)];
    const store = await open();
    await store.fetch(ARTEFACT, never(), nothing);
    expect(ranges).toEqual([undefined, undefined]);
    await store.evict(SHA256);
    answers = [sending(wrong), sending(wrong)];
    await expect(store.fetch(ARTEFACT, never(), nothing)).rejects.toMatchObject({ code: 'artefact.corrupt' });
    expect(await readdir(folder)).toEqual([]);
  });

  it.each([
    [
      'a file that is longer than told',
      [sending(Buffer.concat([CONTENT, CONTENT])), sending(Buffer.concat([CONTENT, CONTENT]))],
      'artefact.corrupt',
      true,
    ],
    ['a part that the source has less of', [cutAfter(200_000), status(416), status(416)], 'artefact.corrupt', false],
    ['an artefact that is not there', [status(404)], 'artefact.unavailable', false],
    ['a credential that is refused', [status(401)], 'artefact.unavailable', false],
    ['a controller that is overloaded', [status(503)], 'artefact.unavailable', true],
    ['an empty answer', [sending(Buffer.alloc(0))], 'artefact.unavailable', true],
  ] as const)('%s is %s %s', async (_, script, code, retryable) => {
    answers = [...script];
    const store = await open();
    if (script.length === 3) await store.fetch(ARTEFACT, never(), nothing).catch(nothing);
    await expect(store.fetch(ARTEFACT, never(), nothing)).rejects.toMatchObject({ code, retryable });
    expect(store.stored()).toEqual([]);
  });

  it('is abandoned at once when told to, and keeps what came', async () => {
    answers = [
      (_, response) =>
        void response.writeHead(200, { 'content-length': CONTENT.length }).write(CONTENT.subarray(0, 1000)),
    ];
    const abort = new AbortController();
    const store = await open();
    const fetching = store.fetch(ARTEFACT, abort.signal, () => abort.abort());
    await expect(fetching).rejects.toThrow();
    expect((await stat(join(folder, `${SHA256}.part`))).size).toBe(1000);
  });
});

describe('a disk without room', () => {
  it('is noticed before anything is fetched, with what is missing', async () => {
    const store = await open();
    const sizeBytes = 1e18;
    await expect(store.fetch({ ...ARTEFACT, sizeBytes }, never(), nothing)).rejects.toMatchObject({
      code: 'artefact.disk-full',
      message: expect.stringMatching(/\d+ bytes are missing/) as string,
      retryable: true,
    });
    expect(ranges).toEqual([]);
  });

  it('is told when it fills up in the middle', async () => {
    let room = 2;
    const write = async () => {
      if (room-- === 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    };
    const store = await open({ write });
    await expect(store.fetch(ARTEFACT, never(), nothing)).rejects.toMatchObject({ code: 'artefact.disk-full' });
    expect(store.stored()).toEqual([]);
  });

  it('fills up for real on a small file system', async (test) => {
    const mount = join(folder, 'small');
    await mkdir(mount);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', mount], { stdio: 'ignore' });
    } catch {
      console.warn('skipped: mounting a tmpfs is not allowed here');
      test.skip();
    }
    try {
      const store = await open({ folder: mount });
      // Room is checked first, so tell the store of an artefact that seems to fit.
      const told = { ...ARTEFACT, sizeBytes: 250_000 };
      await writeFile(join(mount, 'other'), Buffer.alloc(40_000));
      answers = [
        (_, response) => {
          execFileSync('sh', ['-c', `head -c 200000 /dev/zero > '${mount}/late'`]);
          response.end(CONTENT.subarray(0, 250_000));
        },
      ];
      await expect(store.fetch(told, never(), nothing)).rejects.toMatchObject({ code: 'artefact.disk-full' });
    } finally {
      execFileSync('umount', [mount]);
    }
  });
});

describe('artefacts found at start', () => {
  it('are verified before they count, and damaged ones are deleted', async () => {
    await (await open()).fetch(ARTEFACT, never(), nothing);
    const store = await open();
    expect(store.stored()).toEqual([{ ...ARTEFACT, state: 'unverified' }]);
    await store.verify(SHA256, never());
    expect(store.stored()[0]?.state).toBe('verified');
    await writeFile(store.path(SHA256), 'rubbish');
    const again = await open();
    await expect(again.verify(SHA256, never())).rejects.toMatchObject({ code: 'artefact.corrupt' });
    expect(await readdir(folder)).toEqual([]);
  });

  it('lose the parts that nobody wants', async () => {
    const other = 'a'.repeat(64);
    await writeFile(join(folder, `${SHA256}.part`), 'x');
    await writeFile(join(folder, `${other}.part`), 'x');
    const store = await open();
    await store.dropPartsExcept(new Set([SHA256]));
    expect(await readdir(folder)).toEqual([`${SHA256}.part`]);
  });
});

describe('diskReadRate', () => {
  it('is a plausible figure past the page cache, or unknown', async () => {
    const path = join(folder, 'model');
    await writeFile(path, randomBytes(4 * 1024 * 1024));
    const rate = await diskReadRate(path, systemClock);
    if (rate !== undefined) expect(rate).toBeGreaterThan(1e5);
    expect(await diskReadRate(join(folder, 'nowhere'), systemClock)).toBeUndefined();
  });
});
