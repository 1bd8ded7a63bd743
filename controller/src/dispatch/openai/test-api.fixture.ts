import 'reflect-metadata';

import type { AddressInfo } from 'node:net';

import { type Clock, systemClock } from '@fleetgate/shared/clock';
import { type Logger, silentLogger } from '@fleetgate/shared/logger';
import { systemRandom } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import OpenAI from 'openai';

import { digestOf } from '../../access/access-key.js';
import type { AccessPolicy } from '../../access/admission.js';
import { guardAccess } from '../../access/http-access.js';
import type { KeyRing } from '../../access/key-ring.js';
import type { RateLimits } from '../../access/rate-limits.js';
import type { Device } from '../../fleet/device.js';
import { ConfidenceModel } from '../../gating/confidence.js';
import { ErrorFilter } from '../../platform/error-filter.js';
import { guardServer } from '../../platform/http-guards.js';
import { SERVER_LIMITS, type ServerLimits, serverOptions } from '../../platform/http-server-options.js';
import { WorkloadModel } from '../../telemetry/workload-model.js';
import { endedRequest } from '../admit-prompts.js';
import { COLLABORATION_DEFAULTS, Collaborator } from '../collaboration/collaborator.js';
import { DISPATCH_DEFAULTS, type DispatchConfig } from '../dispatch-config.js';
import {
  aCatalogue,
  aDevice,
  aGate,
  anExpert,
  aPolicy,
  aVariant,
  FixtureCosts,
  FixtureFleet,
} from '../dispatch-fixtures.js';
import { dispatchModule, MAX_BODY_BYTES, readJsonBodies } from '../dispatch.module.js';
import { Dispatcher } from '../dispatcher.js';
import { MemoryLedger } from '../memory-ledger.js';
import { type ScriptedJob, ScriptedExpertLink } from '../scripted-expert-link.js';

export const API_KEY = 'test-key';
/** Of the `jetson`; the `pi` of the same fleet can do nothing but answer. */
export const abilities = ['grammar', 'log-probs', 'embeddings'];

/** The API over HTTP as a controller serves it, in front of scripted devices. */
export interface TestApi {
  readonly base: string;
  readonly port: number;
  readonly client: OpenAI;
  readonly link: ScriptedExpertLink;
  readonly fleet: FixtureFleet;
  readonly ledger: MemoryLedger;
  readonly dispatcher: Dispatcher;
  /** Undefined while there is no plan. */
  policy: ReturnType<typeof aPolicy> | undefined;
  /** Connections that the server has open. */
  connections(): Promise<number>;
  close(): Promise<void>;
}

export interface TestApiOptions {
  /** Of every expert. */
  readonly contextTokens?: number;
  /** By default a jetson, and a pi that can do nothing but answer. */
  readonly devices?: readonly Device[];
  /** Null: none is asked for. */
  readonly apiKey?: string | null;
  /** Keys that were given out. */
  readonly keys?: KeyRing;
  readonly rates?: RateLimits;
  readonly config?: Partial<DispatchConfig>;
  readonly limits?: Partial<ServerLimits>;
  readonly mostConnections?: number;
  readonly log?: Logger;
  /** Deadlines of a minute come after half a second. */
  readonly hurried?: boolean;
}

const hurriedClock: Clock = {
  now: () => systemClock.now(),
  after: (delay, run) => systemClock.after(milliseconds(delay / 120), run),
  every: (period, run) => systemClock.every(milliseconds(period / 120), run),
};

const someDevices = (): readonly Device[] => [
  aDevice('jetson', ['math-q8_0', 'code-q8_0'], { abilities }),
  aDevice('pi', ['math-q8_0']),
];

export async function openTestApi(behave: (job: ScriptedJob) => void, options: TestApiOptions = {}): Promise<TestApi> {
  const { contextTokens = 2048, devices = someDevices(), log = silentLogger } = options;
  const experts = ['math', 'code'].map((name) => anExpert(name, [aVariant(name, 'q8_0', contextTokens)]));
  const catalogue = aCatalogue(experts);
  const plan: { policy: TestApi['policy'] } = { policy: aPolicy(devices) };
  const link = new ScriptedExpertLink(behave);
  const fleet = new FixtureFleet(devices);
  const ledger = new MemoryLedger();
  ledger.changes$.subscribe((record) => {
    const ended = endedRequest(record);
    if (ended !== undefined) options.rates?.ended(ended);
  });
  const shared = {
    catalogue: () => catalogue,
    costs: new FixtureCosts(),
    ledger,
    clock: systemClock,
    random: systemRandom,
    log,
  };
  const dispatcher = new Dispatcher({
    ...shared,
    fleet,
    gate: () => aGate({ math: 0.6, code: 0.4 }),
    workloads: new WorkloadModel(),
    policy: () => plan.policy,
    link,
    onDemand: () => {},
    config: { ...DISPATCH_DEFAULTS, lossGrace: milliseconds(1), ...options.config },
  });
  const collaborator = new Collaborator({
    ...COLLABORATION_DEFAULTS,
    ...shared,
    dispatcher,
    confidence: new ConfidenceModel(),
    requestTimeout: DISPATCH_DEFAULTS.requestTimeout,
  });
  const limits = { ...SERVER_LIMITS, ...options.limits };
  const models = { catalogue: () => catalogue, policy: () => plan.policy, since: 1_700_000_000 };
  const app = await NestFactory.create<NestFastifyApplication>(
    dispatchModule({ collaborator, models, clock: options.hurried === true ? hurriedClock : systemClock }),
    new FastifyAdapter(serverOptions(limits)),
    { logger: false, bodyParser: false },
  );
  guardServer(app.getHttpAdapter().getInstance(), {
    access: (server) => guardAccess(server, policyOf(options), options.keys?.revoked$),
    mostBodyBytes: () => MAX_BODY_BYTES,
    limits,
    ...(options.mostConnections === undefined ? {} : { mostConnections: options.mostConnections }),
  });
  app.useGlobalFilters(new ErrorFilter(log));
  readJsonBodies(app);
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  const base = `http://127.0.0.1:${port}`;
  return {
    base,
    port,
    client: new OpenAI({ baseURL: `${base}/v1`, apiKey: API_KEY, maxRetries: 0 }),
    ...{ link, fleet, ledger, dispatcher },
    get policy() {
      return plan.policy;
    },
    set policy(policy) {
      plan.policy = policy;
    },
    connections: () =>
      new Promise((resolve, reject) =>
        app.getHttpServer().getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
      ),
    close: async () => {
      await collaborator.close();
      await dispatcher.close();
      await app.close();
    },
  };
}

function policyOf({ apiKey = API_KEY, keys, rates }: TestApiOptions): AccessPolicy {
  return {
    ownerDigest: apiKey === null ? undefined : digestOf(apiKey),
    hosts: undefined,
    isDevice: () => false,
    findKey: (text, digest) => keys?.find(text, digest) ?? { state: 'unknown', key: undefined },
    ...(rates === undefined ? {} : { rates }),
  };
}

/** Nobody is asked for a key, and a device has room for all that a hostile client sends. */
export const OPEN_DOOR: TestApiOptions = {
  apiKey: null,
  devices: [aDevice('jetson', ['math-q8_0', 'code-q8_0'], { abilities, concurrency: 8 })],
  config: { drainTimeout: milliseconds(10) },
  hurried: true,
};

/** A job says the first of `answers`, piece by piece, and takes it off unless it is the last. */
export function sayNext(job: ScriptedJob, answers: string[][]): void {
  job.accepted();
  const [pieces = []] = answers.length > 1 ? answers.splice(0, 1) : answers;
  for (const piece of pieces) job.tokens(piece);
  job.done();
}
