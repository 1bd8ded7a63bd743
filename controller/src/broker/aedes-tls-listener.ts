import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import {
  createServer as createTlsServer,
  type SecureContextOptions,
  type Server as TlsServer,
  type TLSSocket,
} from 'node:tls';

import type { Clock } from '@fleetgate/shared/clock';

import { listen } from './aedes-listen.js';
import type { TalliedEvent } from './broker-event.js';
import type { HandshakeLimits } from './broker-limits.js';
import { type CertificateFault, faultOf, type PeerCertificate, peerOf } from './peer-certificate.js';

/** What the broker shows of itself, and whose clients it takes. PEM. */
export interface TlsMaterial {
  readonly keyPem: string;
  readonly certificatePem: string;
  readonly authorityPem: string;
}

export interface TlsListenerOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly material: TlsMaterial;
  readonly limits: HandshakeLimits;
  readonly clock: Clock;
  readonly onEvent: (event: TalliedEvent) => void;
  /** A client whose certificate is of the fleet's authority and in force. */
  readonly onClient: (socket: TLSSocket, peer: PeerCertificate) => void;
}

/**
 * Accepts TLS connections of clients that show a certificate of the fleet's authority.
 *
 * Sockets are counted before OpenSSL sees a byte of them: so many handshakes at once, in all and from one address, each
 * within a deadline. What a handshake may send is bounded by OpenSSL, some 100 KB.
 */
export class TlsListener {
  readonly port: number;
  readonly #options: TlsListenerOptions;
  readonly #sockets: Server;
  readonly #tls: TlsServer;
  /** Handshakes under way by address and port of the client, for the TLS socket is another than the one accepted. */
  readonly #handshakes = new Map<string, { readonly socket: Socket; readonly end: () => void }>();
  readonly #handshakesOfAddress = new Map<string, number>();

  /** Rejects with `port.taken` or `config.invalid`. */
  static async start(options: TlsListenerOptions): Promise<TlsListener> {
    const sockets = createServer({ noDelay: true, keepAlive: true });
    const at = await listen(sockets, options.host, options.port, '--mqtts-port, or --mqtt-port, which it follows');
    return new TlsListener(options, sockets, at);
  }

  private constructor(options: TlsListenerOptions, sockets: Server, at: AddressInfo) {
    this.#options = options;
    this.#sockets = sockets;
    this.port = at.port;
    this.#tls = createTlsServer({
      ...contextOf(options.material),
      requestCert: true,
      // Who is not verified is put out in `#secured`: here Node would do it without a word.
      rejectUnauthorized: false,
      // Ours counts from the first byte to the last; Node's begins anew with every byte.
      handshakeTimeout: 0,
    });
    this.#tls.on('secureConnection', (socket) => this.#secured(socket));
    this.#tls.on('tlsClientError', (_error, socket) => {
      // One that we have ended was told already.
      if (this.#handshakes.has(clientOf(socket))) this.#tellFailed(socket.remoteAddress, 'failed');
      socket.destroy();
    });
    sockets.on('connection', (socket) => this.#accept(socket));
  }

  /** From the next connection on. */
  setMaterial(material: TlsMaterial): void {
    this.#tls.setSecureContext(contextOf(material));
  }

  /** Stops listening and ends handshakes; connections that have passed are whoever's got them. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#sockets.close(() => resolve()));
    for (const { socket, end } of this.#handshakes.values()) {
      end();
      socket.destroy();
    }
    await closed;
  }

  #accept(socket: Socket): void {
    const { limits, clock } = this.#options;
    const remote = socket.remoteAddress ?? 'unknown';
    const fromAddress = this.#handshakesOfAddress.get(remote) ?? 0;
    socket.on('error', () => {});
    if (this.#handshakes.size >= limits.atOnce || fromAddress >= limits.atOncePerAddress) {
      this.#tellFailed(remote, 'too-many');
      socket.destroy();
      return;
    }
    const client = clientOf(socket);
    const cancel = clock.after(limits.deadline, () => {
      end();
      this.#tellFailed(remote, 'too-slow');
      socket.destroy();
    });
    const end = (): void => {
      if (this.#handshakes.get(client)?.socket !== socket) return;
      this.#handshakes.delete(client);
      cancel();
      const left = (this.#handshakesOfAddress.get(remote) ?? 1) - 1;
      if (left > 0) this.#handshakesOfAddress.set(remote, left);
      else this.#handshakesOfAddress.delete(remote);
    };
    this.#handshakes.set(client, { socket, end });
    this.#handshakesOfAddress.set(remote, fromAddress + 1);
    socket.once('close', end);
    this.#tls.emit('connection', socket);
  }

  #secured(socket: TLSSocket): void {
    this.#handshakes.get(clientOf(socket))?.end();
    const certificate = socket.getPeerX509Certificate();
    const peer = certificate === undefined ? undefined : peerOf(certificate);
    const fault = certificate === undefined ? 'missing' : verificationFault(socket);
    if (fault === undefined && peer !== undefined) {
      this.#options.onClient(socket, peer);
      return;
    }
    const { remoteAddress: remote = 'unknown' } = socket;
    const commonName = peer?.commonName ?? '';
    this.#options.onEvent({ kind: 'certificate-refused', reason: fault ?? 'unsuitable', commonName, remote, count: 1 });
    socket.on('error', () => {});
    socket.destroy();
  }

  #tellFailed(remote: string | undefined, reason: 'failed' | 'too-many' | 'too-slow'): void {
    this.#options.onEvent({ kind: 'handshake-failed', reason, remote: remote ?? 'unknown', count: 1 });
  }
}

const clientOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;

function contextOf({ keyPem, certificatePem, authorityPem }: TlsMaterial): SecureContextOptions {
  return { key: keyPem, cert: certificatePem, ca: authorityPem, minVersion: 'TLSv1.2' };
}

function verificationFault(socket: TLSSocket): CertificateFault | undefined {
  // Declared an error, it is OpenSSL's code.
  return socket.authorized ? undefined : faultOf(String(socket.authorizationError));
}
