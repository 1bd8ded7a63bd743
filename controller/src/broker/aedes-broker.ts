import { type Server, type Socket, createServer } from 'node:net';

import { Aedes, type AuthenticateError, type Client } from 'aedes';

import type { Clock } from '@fleetgate/shared/clock';
import { type FleetId, deviceIdSchema } from '@fleetgate/shared/ids';
import { desiredTopic, presenceTopic, reportedTopic } from '@fleetgate/shared/protocol/topics';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { judgePublish, maySubscribe } from './acl.js';
import { listen } from './aedes-listen.js';
import { keepRetained } from './aedes-retained.js';
import { TlsListener, type TlsMaterial } from './aedes-tls-listener.js';
import type { TalliedEvent } from './broker-event.js';
import { type BrokerLimits, DEFAULT_LIMITS } from './broker-limits.js';
import { type BrokerUser, authenticate, certifiedUser } from './broker-user.js';
import { type CutReason, FrameGuard } from './frame-guard.js';
import type { PeerCertificate } from './peer-certificate.js';

export interface AedesBrokerOptions {
  readonly host: string;
  /** For plain TCP; 0 picks a free one, `none` listens by TLS only. */
  readonly port: number | 'none';
  /** For clients that show a certificate; it says who they are. */
  readonly tls?: TlsEndpoint;
  readonly fleet: FleetId;
  readonly clock: Clock;
  readonly onEvent: (event: TalliedEvent) => void;
  readonly limits?: Partial<BrokerLimits>;
}

export interface TlsEndpoint {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly material: TlsMaterial;
}

/** One accepted socket. `user` is known once it has authenticated, `ready` is true from CONNACK on. */
interface Session {
  readonly guard: FrameGuard;
  readonly remote: string;
  /** Of a client that came by TLS. */
  readonly certificate: PeerCertificate | undefined;
  user: BrokerUser | undefined;
  ready: boolean;
}

// CONNACK return codes of MQTT 3.1.1, 3.2.2.3.
const IDENTIFIER_REJECTED = 2;
const BAD_USERNAME_OR_PASSWORD = 4;

// Aedes publishes the wills of brokers whose heartbeat is older than three periods, its own after a suspended machine
// included. There is no other broker: the longest period that four times fits a timer keeps that from happening.
const HEARTBEAT_MS = 500_000_000;
/** A connection outlives its certificate by at most this much. */
const SWEEP_PERIOD = milliseconds(10_000);

/**
 * The embedded broker: MQTT 3.1.1 over TCP and TLS, users and rights of one fleet.
 *
 * By TLS a client is whoever its certificate says, if that is one of the user's; by plain TCP it needs the user's secret.
 *
 * Sessions end with their connection, whatever the client asks: a queue for the absent would have no bound, and what
 * must outlast a connection (desired, reported, presence) is retained. A device has one session; a newer one takes its
 * place. Resolves once listening; rejects with `port.taken`, or `config.invalid` for an address it cannot have.
 */
export class AedesBroker {
  readonly host: string;
  /** 0: it does not listen in plain. */
  readonly port: number;
  /** For subscriptions inside this process. */
  readonly engine: Aedes;
  readonly #server: Server;
  #tls: TlsListener | undefined;
  #cancelSweep = (): void => {};
  readonly #options: AedesBrokerOptions;
  readonly #limits: BrokerLimits;
  readonly #sessions = new Set<Session>();
  /** Outlives `#sessions`: the will is published after the connection has gone. */
  readonly #sessionOfConnection = new WeakMap<object, Session>();
  readonly #sessionsOfUser = new Map<string, Set<Session>>();
  readonly #connectionsOfAddress = new Map<string, number>();
  #users: ReadonlyMap<string, BrokerUser>;

  static async start(options: AedesBrokerOptions, users: readonly BrokerUser[] = []): Promise<AedesBroker> {
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    const engine = await Aedes.createBroker({
      // Deliver every message at once and to each reader by itself: with a concurrency limit one stalled reader holds
      // up all, and the queue behind it can outgrow the stack when it is released.
      concurrency: 0,
      drainTimeout: limits.guard.stall,
      connectTimeout: limits.connectTimeout,
      heartbeatInterval: HEARTBEAT_MS,
      maxInflightInbound: 16,
      maxTopicLevels: 16,
    });
    keepRetained(engine);
    const server = createServer({ noDelay: true, keepAlive: true });
    try {
      const at = options.port === 'none' ? undefined : await listen(server, options.host, options.port, '--mqtt-port');
      const broker = new AedesBroker(
        options,
        limits,
        engine,
        server,
        { host: at?.address ?? options.host, port: at?.port ?? 0 },
        users,
      );
      await broker.#listenByTls();
      return broker;
    } catch (error) {
      server.close();
      await new Promise<void>((resolve) => engine.close(() => resolve()));
      throw error;
    }
  }

  private constructor(
    options: AedesBrokerOptions,
    limits: BrokerLimits,
    engine: Aedes,
    server: Server,
    at: { host: string; port: number },
    users: readonly BrokerUser[],
  ) {
    this.#options = options;
    this.#limits = limits;
    this.#server = server;
    this.#users = new Map(users.map((user) => [user.username, user]));
    this.engine = engine;
    this.host = at.host;
    this.port = at.port;
    this.#bind(engine);
    // Ends every publish in a later turn of the event loop, so that no chain of them runs on one stack.
    engine.subscribe(
      '#',
      (_packet, done) => setImmediate(done),
      () => {},
    );
    server.on('connection', (socket) => this.#accept(socket, undefined));
  }

  async #listenByTls(): Promise<void> {
    const { tls, clock, onEvent } = this.#options;
    if (tls === undefined) return;
    this.#tls = await TlsListener.start({
      ...tls,
      limits: this.#limits.handshakes,
      clock,
      onEvent,
      onClient: (socket, peer) => this.#accept(socket, peer),
    });
    this.#cancelSweep = clock.every(SWEEP_PERIOD, () => this.#cutExpired());
  }

  /** 0: it does not listen by TLS. */
  get tlsPort(): number {
    return this.#tls?.port ?? 0;
  }

  /** Replaces what the broker shows of itself, from the next connection on. */
  setMaterial(material: TlsMaterial): void {
    this.#tls?.setMaterial(material);
  }

  /** Connections being served, authenticated or not. */
  get connections(): number {
    return this.#sessions.size;
  }

  /**
   * Replaces all users. Whoever is gone, or has another secret or role, is cut at once, and who came by a certificate
   * that is no longer among the user's; what a removed device had retained is forgotten.
   */
  async setUsers(users: readonly BrokerUser[]): Promise<void> {
    const before = this.#users;
    this.#users = new Map(users.map((user) => [user.username, user]));
    for (const old of before.values()) {
      const now = this.#users.get(old.username);
      const same = now?.secretSha256 === old.secretSha256 && now.role === old.role;
      for (const session of this.#sessionsOfUser.get(old.username) ?? []) {
        if (!same || !this.#isStillCertified(session, now)) session.guard.cut('credentials-withdrawn');
      }
      if (now === undefined) await this.#forgetRetained(old);
    }
  }

  /** Cuts every connection and stops listening. */
  async close(): Promise<void> {
    this.#cancelSweep();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await this.#tls?.close();
    for (const session of this.#sessions) session.guard.destroy();
    await new Promise<void>((resolve) => this.engine.close(() => resolve()));
    await closed;
  }

  #accept(socket: Socket, certificate: PeerCertificate | undefined): void {
    const remote = socket.remoteAddress ?? 'unknown';
    const fromAddress = this.#connectionsOfAddress.get(remote) ?? 0;
    const tooMany = this.#sessions.size >= this.#limits.connections;
    if (tooMany || fromAddress >= this.#limits.connectionsPerAddress) {
      this.#tell({
        kind: 'connection-refused',
        reason: tooMany ? 'too-many' : 'too-many-from-address',
        remote,
        count: 1,
      });
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    const guard = new FrameGuard({
      socket,
      limits: this.#limits.guard,
      clock: this.#options.clock,
      onCut: (reason) => this.#tellCut(session, reason),
    });
    const session: Session = { guard, remote, certificate, user: undefined, ready: false };
    this.#sessions.add(session);
    this.#sessionOfConnection.set(guard, session);
    this.#connectionsOfAddress.set(remote, fromAddress + 1);
    guard.once('close', () => this.#forget(session));
    this.engine.handle(guard);
  }

  #bind(engine: Aedes): void {
    engine.preConnect = (_client, packet, done) => {
      packet.clean = true;
      done(null, true);
    };
    engine.authenticate = (client, username, password, done) => {
      const session = this.#sessionOf(client);
      const user =
        session?.certificate === undefined
          ? authenticate(this.#users, username, password)
          : this.#certified(session, session.certificate, username);
      if (session === undefined || user === undefined) {
        const remote = session?.remote ?? 'unknown';
        // Why a certificate was refused has been told.
        if (session?.certificate === undefined) {
          this.#tell({ kind: 'authentication-failed', username: username ?? '', remote, count: 1 });
        }
        done(refusal('bad user name or password', BAD_USERNAME_OR_PASSWORD), false);
      } else if (user.role === 'device' && client.id !== user.username) {
        done(refusal('the client id of a device is its user name', IDENTIFIER_REJECTED), false);
      } else {
        this.#enter(session, user);
        done(null, true);
      }
    };
    engine.authorizePublish = (client, packet, done) => {
      const session = client === null ? undefined : this.#sessionOf(client);
      const user = session?.user;
      if (client === null || session === undefined || user === undefined || !this.#users.has(user.username)) {
        done(new Error('not a user'));
        return;
      }
      const verdict = judgePublish(user, this.#options.fleet, packet.topic, packet.retain ? 'retained' : 'live');
      if (verdict !== 'allowed') {
        const { topic } = packet;
        this.#tell({ kind: 'publish-denied', username: user.username, topic, reason: verdict, count: 1 });
        done(new Error(`${verdict}: ${topic.slice(0, 200)}`));
        return;
      }
      // A will that comes late must not replace the retained presence of the session that took over.
      if (client.closed && this.#otherSessions(session).length > 0) packet.retain = false;
      done(null);
    };
    engine.authorizeSubscribe = (client, subscription, done) => {
      const user = this.#sessionOf(client)?.user;
      const filter = subscription.topic;
      if (user !== undefined && maySubscribe(user, this.#options.fleet, filter)) {
        done(null, subscription);
        return;
      }
      this.#tell({ kind: 'subscribe-denied', username: user?.username ?? '', filter, count: 1 });
      done(null, null);
    };
    engine.on('clientReady', (client) => {
      const session = this.#sessionOf(client);
      if (session?.user === undefined) return;
      session.ready = true;
      // Aedes has closed the older session of a device, but loses track of one that was closing already.
      for (const older of this.#otherSessions(session)) older.guard.destroy();
      session.guard.admit(session.user.role === 'controller' ? this.#limits.controllerGuard : this.#limits.guard);
      this.#tell({ kind: 'session', state: 'opened', username: session.user.username, count: 1 });
    });
    // Why a connection ended badly is told where it was decided; these would be uncaught without a listener.
    engine.on('clientError', () => {});
    engine.on('connectionError', () => {});
  }

  /** Whoever the certificate says; a user name that was sent beside it has to be the same. */
  #certified(session: Session, peer: PeerCertificate, username: string | undefined): BrokerUser | undefined {
    const { commonName } = peer;
    const user = certifiedUser(this.#users, peer, this.#options.clock.now());
    const isNamed = username === undefined || username === '' || username === commonName;
    if (user !== undefined && isNamed) return user;
    const reason = user === undefined ? 'unknown' : 'other-name';
    this.#tell({ kind: 'certificate-refused', reason, commonName, remote: session.remote, count: 1 });
    return undefined;
  }

  /**
   * A certificate that has run out since does not end a connection whose device has renewed it: it has proven to be the
   * same, and what it is doing would be lost.
   */
  #isStillCertified({ certificate }: Session, user: BrokerUser | undefined): boolean {
    if (certificate === undefined) return true;
    const now = this.#options.clock.now();
    const live = (user?.certificates ?? []).filter(({ notAfterMs }) => notAfterMs > now);
    if (certificate.notAfterMs <= now) return live.length > 0;
    return live.some(({ serial }) => serial === certificate.serial);
  }

  #cutExpired(): void {
    for (const session of this.#sessions) {
      const user = session.user === undefined ? undefined : this.#users.get(session.user.username);
      if (user !== undefined && !this.#isStillCertified(session, user)) session.guard.cut('certificate-expired');
    }
  }

  #enter(session: Session, user: BrokerUser): void {
    session.user = user;
    const sessions = this.#sessionsOfUser.get(user.username) ?? new Set();
    this.#sessionsOfUser.set(user.username, sessions.add(session));
    for (const older of this.#otherSessions(session)) this.#tellCut(older, 'superseded');
  }

  /** Other sessions of the same device. The controller may have several connections. */
  #otherSessions(session: Session): readonly Session[] {
    if (session.user?.role !== 'device') return [];
    return [...(this.#sessionsOfUser.get(session.user.username) ?? [])].filter((other) => other !== session);
  }

  #forget(session: Session): void {
    this.#sessions.delete(session);
    const left = (this.#connectionsOfAddress.get(session.remote) ?? 1) - 1;
    if (left > 0) this.#connectionsOfAddress.set(session.remote, left);
    else this.#connectionsOfAddress.delete(session.remote);
    if (session.user === undefined) return;
    const { username } = session.user;
    const sessions = this.#sessionsOfUser.get(username);
    sessions?.delete(session);
    if (sessions?.size === 0) this.#sessionsOfUser.delete(username);
    if (session.ready) this.#tell({ kind: 'session', state: 'closed', username, count: 1 });
  }

  async #forgetRetained(user: BrokerUser): Promise<void> {
    const device = deviceIdSchema.safeParse(user.username);
    if (!device.success || user.role !== 'device') return;
    for (const topic of [presenceTopic, reportedTopic, desiredTopic]) {
      await this.#storeRetained(topic(this.#options.fleet, device.data));
    }
  }

  /** Forgets what is retained at `topic` without telling its readers: an empty message is no presence. */
  async #storeRetained(topic: string): Promise<void> {
    const { persistence } = this.engine as Aedes & {
      persistence: { storeRetained(packet: { topic: string; payload: Buffer; retain: true }): Promise<void> };
    };
    await persistence.storeRetained({ topic, payload: Buffer.alloc(0), retain: true });
  }

  #sessionOf(client: Client): Session | undefined {
    return this.#sessionOfConnection.get(client.conn);
  }

  #tell(event: TalliedEvent): void {
    this.#options.onEvent(event);
  }

  #tellCut(session: Session, reason: CutReason): void {
    this.#tell({ kind: 'connection-cut', username: session.user?.username ?? '', reason, count: 1 });
  }
}

function refusal(message: string, returnCode: number): AuthenticateError {
  const error = new Error(message) as AuthenticateError;
  // Aedes types the code as an enum that exists in its declarations only.
  Reflect.set(error, 'returnCode', returnCode);
  return error;
}
