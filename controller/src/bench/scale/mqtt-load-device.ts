import { connect, type Socket } from 'node:net';

import { backoff } from '@fleetgate/shared/backoff';
import type { DeviceId, FleetId } from '@fleetgate/shared/ids';
import { boardId } from '@fleetgate/shared/ids';
import { encode } from '@fleetgate/shared/protocol/codec';
import type { Presence } from '@fleetgate/shared/protocol/presence';
import type { Telemetry } from '@fleetgate/shared/protocol/telemetry';
import {
  desiredTopic,
  jobCancelFilter,
  jobNextFilter,
  jobsTopic,
  presenceTopic,
  reportedTopic,
  telemetryTopic,
} from '@fleetgate/shared/protocol/topics';
import type { Reported } from '@fleetgate/shared/protocol/twin';
import { PROTOCOL_VERSION as v } from '@fleetgate/shared/protocol/version';
import { systemRandom } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import {
  acknowledgeFrame,
  connectFrame,
  FrameReader,
  PING_FRAME,
  publishFrame,
  type Received,
  subscribeFrame,
} from './mqtt-frames.js';

/** As an agent's. */
const KEEPALIVE_S = 10;
const FIRST_RETRY = milliseconds(500);
const LONGEST_RETRY = milliseconds(15_000);
const SAMPLE_MS = 1000;
const BOARD = boardId('raspberry-pi-5');
const AGENT_VERSION = 'bench';

export interface LoadTally {
  connections: number;
  lost: number;
  refused: number;
  published: number;
  acknowledgedBatches: number;
  acknowledgedSamples: number;
}

export interface LoadDeviceOptions {
  readonly url: URL;
  /** Where it connects from: a broker allows one address only so many. */
  readonly localAddress: string;
  readonly fleet: FleetId;
  readonly device: DeviceId;
  readonly secret: string;
  readonly tally: LoadTally;
}

/**
 * One device of the load: a connection of its own with the presence, will, subscriptions and reported document of a real
 * agent, and its way of coming back. It has no engine: it reports that, takes no desired document up and answers no job.
 */
export class LoadDevice {
  readonly #options: LoadDeviceOptions;
  #socket: Socket | undefined;
  #reader = new FrameReader();
  #online = false;
  #epoch = 0;
  #attempt = 0;
  #packetId = 0;
  #seq = 0;
  readonly #samplesOf = new Map<number, number>();
  #pings: NodeJS.Timeout | undefined;
  #over = false;

  constructor(options: LoadDeviceOptions) {
    this.#options = options;
  }

  get online(): boolean {
    return this.#online;
  }

  open(): void {
    const { url, localAddress, fleet, device, secret } = this.#options;
    this.#epoch += 1;
    this.#reader = new FrameReader();
    const socket = connect({ host: url.hostname, port: Number(url.port), localAddress, noDelay: true });
    this.#socket = socket;
    socket.once('connect', () => {
      const will = { topic: presenceTopic(fleet, device), payload: encode(this.#presence('offline', 'will')) };
      socket.write(connectFrame({ user: device, secret, keepaliveS: KEEPALIVE_S, will }));
    });
    socket.on('data', (chunk) => {
      for (const received of this.#reader.read(chunk)) this.#take(received);
    });
    // `close` follows.
    socket.on('error', () => {});
    socket.once('close', () => this.#closed());
  }

  /** Ends it without a goodbye, for good. */
  close(): void {
    this.#over = true;
    this.#socket?.destroy();
  }

  /** `samples` taken a second apart, the last of them now; nothing while it is away. */
  sendTelemetry(samples: number): void {
    if (!this.#online) return;
    const { fleet, device, tally } = this.#options;
    const now = Date.now();
    const column = (value: number): number[] => Array.from({ length: samples }, (_, at) => value + at / 16);
    const batch: Telemetry = {
      ...{ v, epoch: this.#epoch, seq: this.#seq++, n: samples },
      ...{ t0Ms: now - (samples - 1) * SAMPLE_MS, dtMs: SAMPLE_MS, sentAtMs: now },
      columns: {
        powerW: column(5),
        temperatureC: column(50),
        cpuRatio: column(0.1).map((value) => value / 4),
        memoryUsedBytes: column(2 ** 31),
        queuedJobs: column(0).map(() => 0),
        runningJobs: column(0).map(() => 0),
      },
    };
    this.#samplesOf.set(this.#publish(telemetryTopic(fleet, device), batch, 'pass'), samples);
    tally.published += 1;
  }

  #take(received: Received): void {
    const { tally } = this.#options;
    switch (received.kind) {
      case 'connected':
        if (received.code === 0) this.#greet();
        else tally.refused += 1;
        return;
      case 'published':
        if (received.packetId !== 0) this.#socket?.write(acknowledgeFrame(received.packetId));
        return;
      case 'acknowledged': {
        const samples = this.#samplesOf.get(received.packetId);
        if (samples === undefined) return;
        this.#samplesOf.delete(received.packetId);
        tally.acknowledgedBatches += 1;
        tally.acknowledgedSamples += samples;
        return;
      }
      case 'subscribed':
      case 'other':
    }
  }

  #greet(): void {
    const { fleet, device, tally } = this.#options;
    const filters = [desiredTopic, jobsTopic, jobCancelFilter, jobNextFilter].map((of) => of(fleet, device));
    this.#socket?.write(subscribeFrame(this.#nextId(), filters));
    this.#publish(presenceTopic(fleet, device), this.#presence('online', 'connected'), 'retain');
    this.#publish(reportedTopic(fleet, device), this.#reported(), 'retain');
    this.#online = true;
    this.#attempt = 0;
    tally.connections += 1;
    this.#pings = setInterval(() => this.#socket?.write(PING_FRAME), KEEPALIVE_S * 1000);
  }

  #closed(): void {
    const { tally } = this.#options;
    clearInterval(this.#pings);
    if (this.#online) tally.lost += 1;
    this.#online = false;
    this.#samplesOf.clear();
    if (this.#over) return;
    const wait = backoff(this.#attempt++, FIRST_RETRY, LONGEST_RETRY, systemRandom);
    setTimeout(() => this.open(), wait);
  }

  #publish(topic: string, message: object, retain: 'retain' | 'pass'): number {
    const packetId = this.#nextId();
    this.#socket?.write(publishFrame(packetId, topic, encode(message), retain));
    return packetId;
  }

  #nextId(): number {
    this.#packetId = (this.#packetId % 65_535) + 1;
    return this.#packetId;
  }

  #presence(state: Presence['state'], reason: Presence['reason']): Presence {
    return { v, state, epoch: this.#epoch, reason, agentVersion: AGENT_VERSION };
  }

  #reported(): Reported {
    return {
      ...{ v, epoch: this.#epoch, observedGeneration: 0, settled: true, state: 'active' },
      ...{ board: BOARD, agentVersion: AGENT_VERSION, slots: 1, variants: [], measurements: [] },
      host: { id: this.#options.device, os: 'linux', arch: 'arm64', cpu: 'none', cores: 4, memoryBytes: 2 ** 32 },
      engine: { kind: 'scripted', version: '0', state: 'down', reason: 'a device of a load generator' },
      memory: { budgetBytes: 0, usedBytes: 0 },
      storage: { freeBytes: 0 },
      power: { source: 'modelled', from: 'board profile', idleW: 3, loadW: 8, standbyW: 1 },
    };
  }
}
