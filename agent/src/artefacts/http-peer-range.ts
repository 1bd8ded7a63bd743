import { X509Certificate } from 'node:crypto';
import { type IncomingMessage, request } from 'node:http';
import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

import type { Peer } from '@fleetgate/shared/protocol/artefact-sources';

import type { PeerTls } from './http-seed-server.js';
import type { Range } from './range-plan.js';

export interface PeerRequest {
  readonly tls: PeerTls | undefined;
  /** By which certificates are in their time. */
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

/** The bytes of one range, as a peer gives them. Rejects when it gives others in number, or does not answer in time. */
export async function fetchRange(
  peer: Peer,
  sha256: string,
  { start, end }: Range,
  { tls, nowMs, signal }: PeerRequest,
): Promise<Buffer> {
  const socket = await connect(peer, { tls, nowMs, signal });
  const headers = {
    authorization: `Bearer ${peer.token}`,
    range: `bytes=${start}-${end - 1}`,
    host: new URL(peer.url).host,
  };
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const options = { path: `/artefacts/${sha256}`, headers, signal, createConnection: () => socket };
      request(options, resolve).on('error', reject).end();
    });
    if (response.statusCode !== 206) throw new Error(`it answered ${response.statusCode}`);
    return await bytesOf(response, end - start);
  } finally {
    socket.destroy();
  }
}

async function bytesOf(response: IncomingMessage, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let have = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    if (have + piece.length > length) throw new Error(`it sends more than the ${length} bytes that were asked for`);
    have += piece.copy(bytes, have);
  }
  if (have < length) throw new Error(`it sent ${have} of ${length} bytes`);
  return bytes;
}

function connect(peer: Peer, { tls, nowMs, signal }: PeerRequest): Promise<Socket> {
  const { protocol, hostname, port } = new URL(peer.url);
  const host = hostname.replace(/^\[|\]$/g, '');
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const isSecure = protocol === 'https:';
    if (isSecure && tls === undefined) throw new Error('it asks for a certificate, and this device has none');
    // Certificates of devices are for clients, so that the library would refuse them at a server: `isOf` looks instead.
    const secure = { host, port: Number(port), key: tls?.keyPem, cert: tls?.certificate, rejectUnauthorized: false };
    const socket = isSecure ? connectTls(secure) : connectPlain(Number(port), host);
    const onAbort = (): void => void socket.destroy(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('close', () => signal.removeEventListener('abort', onAbort));
    socket.once('error', reject);
    socket.once(isSecure ? 'secureConnect' : 'connect', () => {
      const shown = 'getPeerX509Certificate' in socket ? socket.getPeerX509Certificate() : undefined;
      if (!isSecure || isOf(shown, peer.deviceId, tls?.authority, nowMs)) resolve(socket);
      else socket.destroy(new Error(`it shows no certificate of ${peer.deviceId}`));
    });
  });
}

/** Whether a certificate is one of that device, by the fleet's authority, and in its time. */
function isOf(
  shown: X509Certificate | undefined,
  deviceId: string,
  authority: string | undefined,
  nowMs: number,
): boolean {
  if (shown === undefined || authority === undefined) return false;
  const isInTime = Date.parse(shown.validFrom) <= nowMs && nowMs <= Date.parse(shown.validTo);
  const names = shown.subject.split('\n');
  return isInTime && names.includes(`CN=${deviceId}`) && shown.verify(new X509Certificate(authority).publicKey);
}
