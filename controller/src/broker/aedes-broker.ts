import { type AddressInfo, type Server, type Socket, createServer } from 'node:net';

import { Aedes, type AuthenticateError, type Client } from 'aedes';

import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { type FleetId, deviceIdSchema } from '@fleetgate/shared/ids';
import { desiredTopic, presenceTopic, reportedTopic } from '@fleetgate/shared/protocol/topics';

import { judgePublish, maySubscribe } from './acl.js';
import type { TalliedEvent } from './broker-event.js';
import { type BrokerLimits, DEFAULT_LIMITS } from './broker-limits.js';
import { type BrokerUser, authenticate } from './broker-user.js';
import { type CutReason, FrameGuard } from './frame-guard.js';

export interface AedesBrokerOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly fleet: FleetId;
  readonly clock: Clock;
  readonly onEvent: (event: TalliedEvent) => void;
  readonly limits?: Partial<BrokerLimits>;
}

/** One accepted socket. `user` is known once it has authenticated, `ready` is true from CONNACK on. */
interface Session {
  readonly guard: FrameGuard;
  readonly remote: string;
  user: BrokerUser | undefined;
  ready: boolean;
}

// CONNACK return codes of MQTT 3.1.1, 3.2.2.3.
const IDENTIFIER_REJECTED = 2;
const BAD_USERNAME_OR_PASSWORD = 4;

// Aedes publishes the wills of brokers whose heartbeat is older than three periods, its own after a suspended machine
// included. There is no other broker: the longest period that four times fits a timer keeps that from happening.
const HEARTBEAT_MS = 500_000_000;

/**
 * The embedded broker: MQTT 3.1.1 over TCP, users and rights of one fleet.
 *
 * Sessions end with their connection, whatever the client asks: a queue for the absent would have no bound, and what
 * must outlast a connection (desired, reported, presence) is retained. A device has one session; a newer one takes its
 * place. Resolves once listening; rejects with `port.taken`, or `config.invalid` for an address it cannot have.
 */
export class AedesBroker {
  readonly host: string;
  readonly port: number;
  /** For subscriptions inside this process. */
  readonly engine: Aedes;
  readonly #server: Server;
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
    const server = createServer({ noDelay: true, keepAlive: true });
    try {
      const { address, port } = await listen(server, options.host, options.port);
      return new AedesBroker(options, limits, engine, server, { host: address, port }, users);
    } catch (error) {
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
    server.on('connection', (socket) => this.#accept(socket));
  }

  /** Connections being served, authenticated or not. */
  get connections(): number {
    return this.#sessions.size;
  }

  /**
   * Replaces all users. Whoever is gone, or has another secret or role, is cut at once; what a removed device had
   * retained is forgotten.
   */
  async setUsers(users: readonly BrokerUser[]): Promise<void> {
    const before = this.#users;
    this.#users = new Map(users.map((user) => [user.username, user]));
    for (const old of before.values()) {
      const now = this.#users.get(old.username);
      if (now?.secretSha256 === old.secretSha256 && now.role === old.role) continue;
      for (const session of this.#sessionsOfUser.get(old.username) ?? []) session.guard.cut('credentials-withdrawn');
      if (now === undefined) await this.#forgetRetained(old);
    }
  }

  /** Cuts every connection and stops listening. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const session of this.#sessions) session.guard.destroy();
    await new Promise<void>((resolve) => this.engine.close(() => resolve()));
    await closed;
  }

  #accept(socket: Socket): void {
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
    const session: Session = { guard, remote, user: undefined, ready: false };
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
      const user = authenticate(this.#users, username, password);
      if (session === undefined || user === undefined) {
        const remote = session?.remote ?? 'unknown';
        this.#tell({ kind: 'authentication-failed', username: username ?? '', remote, count: 1 });
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

async function listen(server: Server, host: string, port: number): Promise<AddressInfo> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
    server.listen({ host, port }, resolve);
  });
  server.removeAllListeners('error');
  // Out of file descriptors: the connection is lost, the broker is not.
  server.on('error', () => {});
  const address = server.address();
  if (address === null || typeof address === 'string') {
    throw new FleetError('internal.invariant', 'a TCP server has no TCP address');
  }
  return address;
}

function listenError(cause: NodeJS.ErrnoException, host: string, port: number): FleetError {
  const what = `MQTT broker cannot listen on ${host}:${port}`;
  if (cause.code === 'EADDRINUSE') {
    return new FleetError('port.taken', `${what}: the port is taken`, {
      cause,
      hint: 'stop what listens there, or choose another port with --mqtt-port (0 picks a free one)',
      context: { host, port },
    });
  }
  return new FleetError('config.invalid', `${what}: ${cause.message}`, {
    cause,
    hint: 'expected an address of this machine, and a port above 1023 unless started as root',
    context: { host, port },
  });
}
