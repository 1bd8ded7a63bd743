import { Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';

import { connectAsync, type MqttClient } from 'mqtt';

import type { EnrolAnswer } from '@fleetgate/shared/api/operations';
import { boardId, deviceId, fleetId } from '@fleetgate/shared/ids';
import { encode } from '@fleetgate/shared/protocol/codec';
import type { Job, JobOut, JobUsage } from '@fleetgate/shared/protocol/job';
import {
  desiredTopic,
  jobCancelFilter,
  jobNextFilter,
  jobOutTopic,
  jobsTopic,
  presenceTopic,
  reportedTopic,
  telemetryTopic,
} from '@fleetgate/shared/protocol/topics';
import {
  type Desired,
  type DesiredVariant,
  ENGINE_ABILITIES,
  type Measurement,
  type Reported,
} from '@fleetgate/shared/protocol/twin';
import { PROTOCOL_VERSION as v } from '@fleetgate/shared/protocol/version';

import { PACED } from './process-server.js';

const EPOCH = 1;
/** Jobs that one device runs at once: as many as the rig asks at most. */
const CONCURRENCY = 64;
/** Tokens/s and joules of a device that needs next to nothing of either. */
const PREFILL_TOKENS_PER_S = 1e6;
const DECODE_TOKENS_PER_S = 1e5;
const J_PER_TOKEN = 1e-6;
const PROMPT_TOKENS = 60;
const IDLE_W = 5;
const SAMPLE_MS = 5_000;
const BOARD = 'jetson-orin-nano';

type Saying = JobOut extends infer Out ? (Out extends JobOut ? Omit<Out, 'v' | 'jobId' | 'seq'> : never) : never;

/**
 * A device that has every variant at once and answers every job at once, in as many messages as its `seed` says: above
 * `PACED` they come one by one. It speaks the protocol of a real one; only its answers go out at QoS 0, which costs the machine less
 * and leaves what the controller receives as it is.
 */
export class InstantAgent {
  readonly #client: MqttClient;
  readonly #identity: { readonly fleet: ReturnType<typeof fleetId>; readonly device: ReturnType<typeof deviceId> };
  readonly #token: string;
  readonly #measurements = new Map<string, Measurement>();
  #desired: Desired | undefined;

  private constructor(client: MqttClient, answer: EnrolAnswer, token: string) {
    this.#client = client;
    this.#token = token;
    this.#identity = { fleet: fleetId(answer.fleet), device: deviceId(answer.deviceId) };
  }

  /** Enrols at a controller and serves there until the process ends. `token`: the text of each token. */
  static async join(controllerUrl: string, joinToken: string, name: string, token: string): Promise<void> {
    const response = await fetch(`${controllerUrl}/api/v1/enrol`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token: joinToken, name, board: BOARD }),
    });
    if (!response.ok) throw new Error(`${name} was not enrolled: ${response.status} ${await response.text()}`);
    const answer = (await response.json()) as EnrolAnswer;
    const { deviceId: username, secret: password } = answer;
    const client = await connectAsync(answer.mqttUrl, { protocolVersion: 4, clientId: username, username, password });
    // As a real agent does: a small packet would wait 40 ms for the other side's delayed acknowledgement.
    if (client.stream instanceof Socket) client.stream.setNoDelay(true);
    await new InstantAgent(client, answer, token).#start();
  }

  async #start(): Promise<void> {
    const { fleet, device } = this.#identity;
    const jobs = jobsTopic(fleet, device);
    this.#client.on('message', (topic, payload) => {
      const message: unknown = JSON.parse(payload.toString('utf8'));
      if (topic === jobs) void this.#answer(message as Job);
      else if (topic === desiredTopic(fleet, device)) this.#obey(message as Desired);
    });
    const filters = [desiredTopic, jobsTopic, jobCancelFilter, jobNextFilter].map((of) => of(fleet, device));
    await this.#client.subscribeAsync(filters, { qos: 1 });
    const presence = { v, state: 'online', epoch: EPOCH, reason: 'connected', agentVersion: 'bench' };
    await this.#retain(presenceTopic(fleet, device), presence);
    this.#report();
    let seq = 0;
    setInterval(() => this.#sample(seq++), SAMPLE_MS);
  }

  /** Telemetry keeps a device's lease. */
  #sample(seq: number): void {
    const { fleet, device } = this.#identity;
    const now = Date.now();
    const columns = { powerW: [IDLE_W], queuedJobs: [0], runningJobs: [0] };
    const batch = { v, epoch: EPOCH, seq, t0Ms: now, dtMs: SAMPLE_MS, n: 1, sentAtMs: now, columns };
    this.#client.publish(telemetryTopic(fleet, device), encode(batch), { qos: 1 });
  }

  #obey(desired: Desired): void {
    this.#desired = desired;
    for (const variant of desired.variants) {
      if (!this.#measurements.has(variant.variantId)) this.#measurements.set(variant.variantId, measurementOf(variant));
    }
    this.#report();
  }

  #report(): void {
    const { fleet, device } = this.#identity;
    const variants = this.#desired?.variants ?? [];
    const reported: Reported = {
      v,
      epoch: EPOCH,
      observedGeneration: this.#desired?.generation ?? 0,
      settled: true,
      state: this.#desired?.state ?? 'active',
      board: boardId(BOARD),
      agentVersion: 'bench',
      host: { id: device, os: 'linux', arch: 'arm64', cpu: 'none', cores: 8, memoryBytes: 8 * 2 ** 30 },
      engine: { kind: 'scripted', version: '0', state: 'ready', abilities: [...ENGINE_ABILITIES] },
      memory: { budgetBytes: 6 * 2 ** 30, usedBytes: 0 },
      storage: { freeBytes: 2 ** 40 },
      slots: 16,
      concurrency: CONCURRENCY,
      power: { source: 'modelled', from: 'board profile', idleW: IDLE_W, loadW: 15, standbyW: 1 },
      variants: variants.map(({ variantId, purpose }) => ({
        variantId,
        residency: purpose === 'serve' ? 'resident' : 'stored',
      })),
      measurements: [...this.#measurements.values()],
    };
    void this.#retain(reportedTopic(fleet, device), reported);
  }

  #retain(topic: string, message: object): Promise<unknown> {
    return this.#client.publishAsync(topic, encode(message), { qos: 1, retain: true });
  }

  async #answer(job: Job): Promise<void> {
    const { fleet, device } = this.#identity;
    const topic = jobOutTopic(fleet, device, job);
    let seq = 0;
    const say = (saying: Saying): void => {
      const out = { v, jobId: job.jobId, seq: seq++, ...saying };
      this.#client.publish(topic, encode(out), { qos: 0 });
    };
    say({ kind: 'accepted', queuePosition: 0 });
    const sampling = 'sampling' in job ? job.sampling : undefined;
    const seed = sampling?.seed ?? 1;
    const messages = seed % PACED;
    const tokens = Math.max(1, Math.round((sampling?.maxTokens ?? 1) / messages));
    const ids = 'tokenIds' in job && job.tokenIds === true ? Array.from({ length: tokens }, () => 1) : undefined;
    const text = this.#token.repeat(tokens);
    for (let at = 0; at < messages; at++) {
      if (seed > PACED) await setTimeout(1);
      say({ kind: 'tokens', text, tokens, ...(ids === undefined ? {} : { ids }) });
    }
    say({ kind: 'done', finishReason: 'stop', usage: usageOf(messages * tokens) });
  }
}

function measurementOf({ variantId, sha256, serving }: DesiredVariant): Measurement {
  return {
    variantId,
    sha256,
    ...(serving === undefined ? {} : { serving }),
    prefillTokensPerS: PREFILL_TOKENS_PER_S,
    decodeTokensPerS: DECODE_TOKENS_PER_S,
    relativeSd: 0.01,
    prefillJPerToken: J_PER_TOKEN,
    decodeJPerToken: J_PER_TOKEN,
    energySource: 'modelled',
    overheadMs: 0.1,
    loadMs: 1,
    memoryBytes: 2 ** 24,
    measuredAtMs: Date.now(),
  };
}

function usageOf(outputTokens: number): JobUsage {
  return {
    promptTokens: PROMPT_TOKENS,
    outputTokens,
    energyJ: J_PER_TOKEN * (PROMPT_TOKENS + outputTokens),
    energySource: 'modelled',
    queueMs: 0,
    prefillMs: (1000 * PROMPT_TOKENS) / PREFILL_TOKENS_PER_S,
    decodeMs: (1000 * outputTokens) / DECODE_TOKENS_PER_S,
  };
}
