import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, type Server as NetServer, type Socket, createServer as createNetServer } from 'node:net';

import { Aedes } from 'aedes';

import { deviceId, fleetId, type JobId, jobId } from '@fleetgate/shared/ids';
import type { JobOut } from '@fleetgate/shared/protocol/job';
import type { Presence } from '@fleetgate/shared/protocol/presence';
import type { DeviceEvent, Telemetry } from '@fleetgate/shared/protocol/telemetry';
import { desiredTopic, jobCancelTopic, jobNextTopic, jobsTopic, parseTopic } from '@fleetgate/shared/protocol/topics';
import type { Desired, Reported } from '@fleetgate/shared/protocol/twin';

export const TOKEN = 'join-token';
const SECRET = 'device-secret';
const FLEET = fleetId('test');

/**
 * The least that an agent needs of a controller: a real broker and a real HTTP server for enrolment and artefacts, with
 * what the agent said kept for looking at.
 */
export class FakeController {
  readonly presences: Presence[] = [];
  readonly reports: Reported[] = [];
  readonly telemetry: Telemetry[] = [];
  readonly events: DeviceEvent[] = [];
  readonly outs = new Map<string, JobOut[]>();
  readonly requests: string[] = [];
  readonly artefacts = new Map<string, Buffer>();
  /** Names that are taken, with the nonce that took them. */
  readonly names = new Map<string, string>();
  /** Answers to enrolment that get lost on their way. */
  answersToLose = 0;
  /** Turns MQTT connections with a right password away while false. */
  credentialsValid = true;
  readonly #watchers = new Set<() => void>();
  readonly #sockets = new Set<Socket>();
  readonly #http: Server;
  #broker: Aedes | undefined;
  #net: NetServer | undefined;
  #mqttPort = 0;
  #httpPort = 0;

  private constructor() {
    this.#http = createServer((request, response) => this.#serve(request, response));
  }

  static async start(): Promise<FakeController> {
    const controller = new FakeController();
    await controller.startBroker();
    await new Promise<void>((resolve) => controller.#http.listen(0, '127.0.0.1', resolve));
    controller.#httpPort = (controller.#http.address() as AddressInfo).port;
    return controller;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#httpPort}`;
  }

  get mqttUrl(): string {
    return `mqtt://127.0.0.1:${this.#mqttPort}`;
  }

  /** Starts the broker, on the port it had before. It starts empty. */
  async startBroker(): Promise<void> {
    const broker = await Aedes.createBroker({ concurrency: 0 });
    broker.authenticate = (client, user, password, done) => {
      const right = password?.toString() === SECRET && user === client.id && this.credentialsValid;
      done(right ? null : Object.assign(new Error('refused'), { returnCode: 4 }), right);
    };
    broker.on('publish', (packet, client) => this.#record(packet.topic, packet.payload, client === null));
    this.#broker = broker;
    const net = createNetServer((socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      socket.on('error', () => {});
      broker.handle(socket);
    });
    this.#net = net;
    await new Promise<void>((resolve, reject) => {
      net.once('error', reject);
      net.listen(this.#mqttPort, '127.0.0.1', resolve);
    });
    this.#mqttPort = (net.address() as AddressInfo).port;
  }

  /** Cuts every MQTT connection without a word, as a broken line does; the broker stays up. */
  cutConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stopBroker(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#net?.close(() => resolve()));
    this.cutConnections();
    await closed;
    await new Promise<void>((resolve) =>
      this.#broker === undefined ? resolve() : this.#broker.close(() => resolve()),
    );
    this.#broker = undefined;
  }

  async stop(): Promise<void> {
    if (this.#broker !== undefined) await this.stopBroker();
    this.#http.closeAllConnections();
    await new Promise<void>((resolve) => this.#http.close(() => resolve()));
  }

  addArtefact(content: Buffer): { sha256: string; sizeBytes: number } {
    const sha256 = createHash('sha256').update(content).digest('hex');
    this.artefacts.set(sha256, content);
    return { sha256, sizeBytes: content.length };
  }

  desire(name: string, desired: Desired | string | Buffer): Promise<void> {
    return this.#publish(desiredTopic(FLEET, deviceId(name)), desired, true);
  }

  sendJob(name: string, job: object | string): Promise<void> {
    return this.#publish(jobsTopic(FLEET, deviceId(name)), job, false);
  }

  cancelJob(name: string, id: JobId): Promise<void> {
    const cancel = { v: 1, jobId: id, reason: 'test' };
    return this.#publish(jobCancelTopic(FLEET, deviceId(name), id), cancel, false);
  }

  chooseToken(name: string, id: JobId, step: number, token: number): Promise<void> {
    return this.#publish(jobNextTopic(FLEET, deviceId(name), id), { v: 1, jobId: id, step, token }, false);
  }

  outsOf(id: string): readonly JobOut[] {
    return this.outs.get(jobId(id)) ?? [];
  }

  /** Resolves with the first defined answer of `look`, asked again whenever something arrives. */
  async until<T>(look: () => T | undefined | false, what: string): Promise<T> {
    let settle: { resolve: (value: T) => void; reject: (error: Error) => void } | undefined;
    const promise = new Promise<T>((resolve, reject) => (settle = { resolve, reject }));
    const ask = (): void => {
      const answer = look();
      if (answer !== undefined && answer !== false) settle?.resolve(answer);
    };
    const timer = setTimeout(() => settle?.reject(new Error(`never came: ${what}`)), 15_000);
    this.#watchers.add(ask);
    ask();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#watchers.delete(ask);
    }
  }

  lastReport(): Reported | undefined {
    return this.reports.at(-1);
  }

  #publish(topic: string, message: object | string | Buffer, retain: boolean): Promise<void> {
    const payload = typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message);
    return new Promise((resolve, reject) => {
      if (this.#broker === undefined) throw new Error('the broker is stopped');
      this.#broker.publish(
        { cmd: 'publish', topic, payload: Buffer.from(payload), qos: 1, retain, dup: false },
        (error) => (error ? reject(error) : resolve()),
      );
    });
  }

  #record(topic: string, payload: string | Buffer, isOurs: boolean): void {
    const parsed = parseTopic(topic);
    if (parsed === undefined) return;
    const message: unknown = isOurs && parsed.channel !== 'presence' ? undefined : JSON.parse(payload.toString());
    if (message === undefined) return;
    if (parsed.channel === 'presence') this.presences.push(message as Presence);
    if (parsed.channel === 'reported') this.reports.push(message as Reported);
    if (parsed.channel === 'telemetry') this.telemetry.push(message as Telemetry);
    if (parsed.channel === 'events') this.events.push(message as DeviceEvent);
    if (parsed.channel === 'job-out' && parsed.job !== undefined) {
      this.outs.set(parsed.job, [...(this.outs.get(parsed.job) ?? []), message as JobOut]);
    }
    for (const watch of this.#watchers) watch();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(`${request.method} ${request.url}`);
    const sha256 = /^\/api\/v1\/artefacts\/([0-9a-f]{64})$/.exec(request.url ?? '')?.[1];
    if (request.url === '/api/v1/enrol') void this.#enrol(request, response);
    else if (sha256 === undefined) answer(response, 404, { error: { message: 'no such path', code: null } });
    else this.#sendArtefact(sha256, request, response);
  }

  async #enrol(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const { token, name, nonce } = JSON.parse(text) as { token: string; name: string; nonce: string };
    if (token !== TOKEN) {
      answer(response, 401, { error: { message: 'the join token is wrong', code: 'enrol.bad-token' } });
    } else if ((this.names.get(name) ?? nonce) !== nonce) {
      answer(response, 409, { error: { message: 'there is a device of this name', code: 'enrol.name-taken' } });
    } else {
      this.names.set(name, nonce);
      if (this.answersToLose > 0) {
        this.answersToLose -= 1;
        request.socket.destroy();
        return;
      }
      answer(response, 200, { fleet: FLEET, deviceId: name, mqttUrl: this.mqttUrl, secret: SECRET });
    }
  }

  #sendArtefact(sha256: string, request: IncomingMessage, response: ServerResponse): void {
    const content = this.artefacts.get(sha256);
    const allowed = /^Bearer [a-z0-9-]+:device-secret$/.test(request.headers.authorization ?? '');
    if (!allowed) return answer(response, 401, { error: { message: 'who are you', code: 'auth.invalid' } });
    if (content === undefined) return answer(response, 404, { error: { message: 'unknown', code: null } });
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const range = start > 0 ? { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` } : {};
    response.writeHead(start > 0 ? 206 : 200, { 'content-length': content.length - start, ...range });
    response.end(content.subarray(start));
  }
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
