import { timingSafeEqual } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import { pipeline } from 'node:stream/promises';

import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import type { Seed } from '@fleetgate/shared/protocol/artefact-sources';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { Pace } from './pace.js';

/** Key, certificate and authority by which devices of a fleet know each other, PEM. */
export interface PeerTls {
  readonly keyPem: string;
  readonly certificate: string;
  readonly authority: string;
}

export interface SeedServerOptions {
  readonly host: string;
  readonly port: number;
  /** Undefined: this device has no certificate, and serves its own machine only. */
  readonly tls: () => PeerTls | undefined;
  readonly token: string;
  /** A verified file of that digest. */
  readonly find: (sha256: string) => { readonly path: string; readonly sizeBytes: number } | undefined;
  readonly pace: Pace;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface SeedServer {
  readonly seed: Seed;
  close(): Promise<void>;
}

/** Others are told to come later: a device's line and storage are its jobs' first. */
const MOST_UPLOADS = 4;
/** Longest range that is served at once. */
const MOST_RANGE_BYTES = 16 * 1024 * 1024;
/** Certificates are renewed long before they expire. */
const LOOK = milliseconds(3_600_000);
const HEADERS_MS = 10_000;
/** A peer that takes a range more slowly than this is cut off. */
const UPLOAD_MS = 120_000;

/**
 * Serves ranges of stored artefacts to other devices: `GET /artefacts/<sha256>` with a range and the token; with TLS also a
 * certificate of the fleet. Throws `config.invalid` (an address for others without a certificate), `port.taken`.
 */
export async function startSeedServer(options: SeedServerOptions): Promise<SeedServer> {
  const { host, port } = options;
  const tls = options.tls();
  if (tls === undefined && !/^(?:127\.|localhost$|::1$)/.test(host)) {
    throw new FleetError('config.invalid', `--seed ${host}: a device without a certificate serves 127.0.0.1 only`, {
      hint: 'let the controller use certificates (--host other than loopback), or leave --seed out',
    });
  }
  const server = serverOf(options, tls);
  server.headersTimeout = HEADERS_MS;
  server.maxConnections = 4 * MOST_UPLOADS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new FleetError('port.taken', `cannot serve artefacts at ${host}:${port}: ${messageOf(cause)}`, { cause })),
    );
    server.listen(port, host, resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  const name = host.includes(':') ? `[${host}]` : host;
  return {
    seed: { url: `${tls === undefined ? 'http' : 'https'}://${name}:${bound}`, token: options.token },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function serverOf(options: SeedServerOptions, tls: PeerTls | undefined): Server | TlsServer {
  let uploads = 0;
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    if (uploads >= MOST_UPLOADS) return refuse(response, 503);
    uploads += 1;
    void upload(request, response, options).finally(() => (uploads -= 1));
  };
  if (tls === undefined) return createServer(answer);
  const always = { requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.2' } as const;
  const server = createTlsServer({ ...contextOf(tls), ...always }, answer);
  const stopLooking = options.clock.every(LOOK, () => {
    const present = options.tls();
    if (present !== undefined) server.setSecureContext({ ...contextOf(present), minVersion: 'TLSv1.2' });
  });
  server.once('close', stopLooking);
  return server;
}

const contextOf = ({
  keyPem: key,
  certificate: cert,
  authority: ca,
}: PeerTls): Pick<SecureContextOptions, 'key' | 'cert' | 'ca'> => ({
  key,
  cert,
  ca,
});

async function upload(request: IncomingMessage, response: ServerResponse, options: SeedServerOptions): Promise<void> {
  if (!isAllowed(request.headers.authorization, options.token)) return refuse(response, 401);
  const sha256 = /^\/artefacts\/([0-9a-f]{64})$/.exec(request.url ?? '')?.[1];
  const file = sha256 === undefined || request.method !== 'GET' ? undefined : options.find(sha256);
  if (file === undefined) return refuse(response, 404);
  const [, first, last] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(request.headers.range ?? '') ?? [];
  const [start, end] = [Number(first), Number(last)];
  if (!(start <= end && end < file.sizeBytes && end - start < MOST_RANGE_BYTES)) return refuse(response, 416);
  response.writeHead(206, {
    'content-range': `bytes ${start}-${end}/${file.sizeBytes}`,
    'content-length': end - start + 1,
  });
  const signal = AbortSignal.timeout(UPLOAD_MS);
  try {
    const paced = async function* (pieces: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
      for await (const piece of pieces) {
        await options.pace(piece.length, signal);
        yield piece;
      }
    };
    await pipeline(createReadStream(file.path, { start, end }), paced, response, { signal });
  } catch (error) {
    options.log.debug('seed.cut', { sha256, reason: messageOf(error) });
  }
}

function isAllowed(header: string | undefined, token: string): boolean {
  const [shown, wanted] = [Buffer.from(header ?? ''), Buffer.from(`Bearer ${token}`)];
  return shown.length === wanted.length && timingSafeEqual(shown, wanted);
}

function refuse(response: ServerResponse, status: number): void {
  response.writeHead(status, { connection: 'close' }).end();
}
