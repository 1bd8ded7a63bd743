import { open, readFile, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

import { sha256OfFile } from '@fleetgate/shared/catalogue/disk-expert-card';
import { sha256Schema } from '@fleetgate/shared/catalogue/expert';
import { check } from '@fleetgate/shared/check';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';
import { z } from 'zod';

import type { ArtefactSource, OnProgress, RemoteArtefact } from './artefact-source.js';
import { pickModelFile, type SourceReference } from './source-reference.js';

export interface HttpSourceOptions {
  readonly clock: Clock;
  /** Base address of the Hugging Face hub or a mirror of it. */
  readonly hubUrl?: string;
  /** A connection that brings nothing for this long is dropped and tried again. */
  readonly idleTimeout?: Milliseconds;
  readonly retryDelay?: Milliseconds;
  /** Free space of the disk; the file system's own answer by default. */
  readonly freeBytes?: (folder: string) => Promise<number>;
}

const HUB = 'https://huggingface.co';
const MOST_TRIES = 5;
const METADATA_TIMEOUT_MS = 30_000;
/** Left free on the disk: the databases and logs live there too. */
const HEADROOM_BYTES = 256 * 1024 * 1024;

const modelSchema = z.object({
  gated: z.union([z.boolean(), z.string()]).optional(),
  cardData: z.object({ license: z.union([z.string(), z.array(z.string())]).optional() }).nullish(),
  tags: z.array(z.string()).optional(),
});
const treeSchema = z.array(
  z.object({
    type: z.string().optional(),
    path: z.string(),
    size: z.number().optional(),
    lfs: z.object({ oid: z.string(), size: z.number().optional() }).optional(),
  }),
);

/** Model files by HTTP: plain addresses, and repositories of the Hugging Face hub by its API. */
export class HttpArtefactSource implements ArtefactSource {
  readonly #options: HttpSourceOptions;
  readonly #hub: string;

  constructor(options: HttpSourceOptions) {
    this.#options = options;
    this.#hub = (options.hubUrl ?? HUB).replace(/\/+$/, '');
  }

  async resolve(
    reference: Exclude<SourceReference, { readonly kind: 'file' }>,
    signal: AbortSignal,
  ): Promise<RemoteArtefact> {
    if (reference.kind === 'url') {
      const { url, fileName } = reference;
      return { url, fileName, sizeBytes: undefined, sha256: undefined, licence: undefined, page: url };
    }
    const { repo, quantisation } = reference;
    const page = `${this.#hub}/${repo}`;
    const model = check(
      modelSchema,
      await this.#json(`${this.#hub}/api/models/${repo}`, signal),
      'artefact.unavailable',
      page,
    );
    const tree = await this.#json(`${this.#hub}/api/models/${repo}/tree/main?recursive=true`, signal);
    const files = check(treeSchema, tree, 'artefact.unavailable', page).map(({ path, size, lfs }) => ({
      path,
      size: lfs?.size ?? size,
      sha256: sha256Schema.safeParse(lfs?.oid).data,
    }));
    const file = pickModelFile(files, repo, quantisation);
    return {
      url: `${page}/resolve/main/${file.path.split('/').map(encodeURIComponent).join('/')}`,
      fileName: file.path.split('/').at(-1) ?? file.path,
      sizeBytes: file.size,
      sha256: file.sha256,
      licence: licenceOf(model),
      page,
    };
  }

  async fetch(remote: RemoteArtefact, path: string, onProgress: OnProgress, signal: AbortSignal): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#fetchOnce(remote, path, onProgress, signal);
        break;
      } catch (error) {
        signal.throwIfAborted();
        const told = translate(error, remote.url);
        if (attempt >= MOST_TRIES || !isFleetError(told) || !told.retryable) throw told;
        await this.#pause(attempt, signal);
      }
    }
    await checkFetched(remote, path);
    await rm(validatorPath(path), { force: true });
  }

  async #fetchOnce(remote: RemoteArtefact, path: string, onProgress: OnProgress, signal: AbortSignal): Promise<void> {
    const had = await sizeOf(path);
    const validator = had > 0 ? await readFile(validatorPath(path), 'utf8').catch(() => '') : '';
    // Without a validator the server may have another file by now: bytes of two files must never be joined.
    const start = validator === '' ? 0 : had;
    const idle = new IdleTimer(this.#options.clock, this.#options.idleTimeout ?? milliseconds(30_000), signal);
    try {
      const response = await fetch(remote.url, {
        signal: idle.signal,
        headers: {
          // A compressed answer has neither the file's length nor its ranges.
          'accept-encoding': 'identity',
          ...(start > 0 ? { range: `bytes=${start}-`, 'if-range': validator } : {}),
        },
      });
      const partial = response.status === 206 && startOf(response) === start;
      if (response.status === 416 && start > 0) {
        await response.body?.cancel();
        if (start === remote.sizeBytes) return;
        await rm(path, { force: true });
        throw new FleetError('artefact.unavailable', `${remote.url} is shorter than what was fetched`, {
          retryable: true,
        });
      }
      if (!response.ok || (response.status === 206 && !partial)) throw await refused(response, remote);
      const from = partial ? start : 0;
      const length = Number(response.headers.get('content-length') ?? Number.NaN);
      const total = remote.sizeBytes ?? (Number.isFinite(length) ? from + length : undefined);
      await this.#checkRoom(path, (total ?? 0) - from);
      await writeFile(validatorPath(path), strongValidator(response));
      if (response.body === null) throw new Error('the answer has no body');
      // Chunk by chunk, so that what has come is in the file when the connection breaks: a stream would drop it.
      const file = await open(path, partial ? 'a' : 'w');
      let done = from;
      try {
        onProgress(done, total);
        for await (const chunk of response.body) {
          idle.touch();
          await file.write(chunk);
          done += chunk.length;
          onProgress(done, total);
        }
      } finally {
        await file.close();
      }
      if (total !== undefined && done < total) throw new Error(`the connection ended at byte ${done} of ${total}`);
    } finally {
      idle.stop();
    }
  }

  async #json(url: string, signal: AbortSignal): Promise<unknown> {
    try {
      const response = await fetch(url, {
        signal: AbortSignal.any([signal, AbortSignal.timeout(METADATA_TIMEOUT_MS)]),
        headers: { accept: 'application/json' },
      });
      if (!response.ok) throw await refused(response, { url, page: url });
      return await response.json();
    } catch (error) {
      throw translate(error, url);
    }
  }

  async #checkRoom(path: string, needed: number): Promise<void> {
    const folder = dirname(path);
    const free = await (this.#options.freeBytes ?? freeBytesOf)(folder);
    if (needed + HEADROOM_BYTES <= free) return;
    throw new FleetError(
      'artefact.disk-full',
      `${folder} has ${free} bytes free, expected ${needed} for the file and ${HEADROOM_BYTES} beside it`,
      { hint: 'make room, or start the controller with another --data' },
    );
  }

  async #pause(attempt: number, signal: AbortSignal): Promise<void> {
    const delay = (this.#options.retryDelay ?? milliseconds(1000)) * 2 ** (attempt - 1);
    await new Promise<void>((resolve) => {
      const cancel = this.#options.clock.after(milliseconds(delay), resolve);
      signal.addEventListener('abort', () => (cancel(), resolve()), { once: true });
    });
  }
}

/** Aborts when nothing has come for a while, or when its parent is aborted. */
class IdleTimer {
  readonly #own = new AbortController();
  readonly signal: AbortSignal;
  readonly #clock: Clock;
  readonly #timeout: Milliseconds;
  #cancel: () => void = () => {};

  constructor(clock: Clock, timeout: Milliseconds, parent: AbortSignal) {
    this.#clock = clock;
    this.#timeout = timeout;
    this.signal = AbortSignal.any([parent, this.#own.signal]);
    this.touch();
  }

  touch(): void {
    this.#cancel();
    this.#cancel = this.#clock.after(this.#timeout, () =>
      this.#own.abort(new Error(`nothing came for ${this.#timeout / 1000} s`)),
    );
  }

  stop(): void {
    this.#cancel();
  }
}

async function checkFetched(remote: RemoteArtefact, path: string): Promise<void> {
  const size = await sizeOf(path);
  const sha256 = remote.sha256 === undefined ? undefined : await sha256OfFile(path);
  const wrongSize = remote.sizeBytes !== undefined && size !== remote.sizeBytes;
  if (!wrongSize && sha256 === remote.sha256) return;
  await rm(path, { force: true });
  await rm(validatorPath(path), { force: true });
  const got = wrongSize ? `${size} bytes, expected ${remote.sizeBytes}` : `sha256 ${sha256}, expected ${remote.sha256}`;
  throw new FleetError('artefact.corrupt', `${remote.url}: fetched ${got}`, {
    hint: 'try again; the file was removed',
  });
}

async function refused(
  response: Response,
  { url, page }: { readonly url: string; readonly page: string },
): Promise<FleetError> {
  await response.body?.cancel();
  const gated = response.status === 401 || response.status === 403;
  return new FleetError('artefact.unavailable', `${url} answered ${response.status} ${response.statusText}`.trim(), {
    hint: gated
      ? `the model is gated or private: accept its licence at ${page}, download the file there, and add it by its path`
      : 'check the name, and that the host can be reached from the controller',
    retryable: response.status >= 500 || response.status === 429 || response.status === 408,
  });
}

function translate(error: unknown, url: string): unknown {
  if (isFleetError(error)) return error;
  if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') {
    return new FleetError('artefact.disk-full', `the disk is full: ${error.message}`, {
      hint: 'make room and run the same command again: it goes on where it ended',
      cause: error,
    });
  }
  const reason = error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error);
  return new FleetError('artefact.unavailable', `cannot fetch ${url}: ${reason}`, {
    hint: 'check that the host can be reached from the controller; the same command goes on where this one ended',
    retryable: true,
    cause: error,
  });
}

function licenceOf(model: z.infer<typeof modelSchema>): string | undefined {
  const { license } = model.cardData ?? {};
  const tag = model.tags?.find((text) => text.startsWith('license:'))?.slice('license:'.length);
  return (Array.isArray(license) ? license.join(' OR ') : license) ?? tag;
}

function strongValidator(response: Response): string {
  const etag = response.headers.get('etag');
  return etag !== null && !etag.startsWith('W/') ? etag : '';
}

function startOf(response: Response): number {
  return Number(/^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1] ?? Number.NaN);
}

function validatorPath(path: string): string {
  return `${path}.etag`;
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0;
  }
}

async function freeBytesOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}
