import 'reflect-metadata';

import type { AddressInfo } from 'node:net';

import { type Clock, systemClock } from '@fleetgate/shared/clock';
import { type Logger, silentLogger } from '@fleetgate/shared/logger';
import { systemRandom } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';

import { ConfidenceModel } from '../../gating/confidence.js';
import { ErrorFilter } from '../../platform/error-filter.js';
import { guardServer } from '../../platform/http-guards.js';
import { SERVER_LIMITS, type ServerLimits, serverOptions } from '../../platform/http-server-options.js';
import { WorkloadModel } from '../../telemetry/workload-model.js';
import { COLLABORATION_DEFAULTS, Collaborator } from '../collaboration/collaborator.js';
import { DISPATCH_DEFAULTS } from '../dispatch-config.js';
import { aCatalogue, aDevice, aGate, anExpert, aPolicy, FixtureCosts, FixtureFleet } from '../dispatch-fixtures.js';
import { dispatchModule, MAX_BODY_BYTES, readJsonBodies } from '../dispatch.module.js';
import { Dispatcher } from '../dispatcher.js';
import { MemoryLedger } from '../memory-ledger.js';
import { type ScriptedJob, ScriptedExpertLink } from '../scripted-expert-link.js';

/** The API as a controller serves it, with scripted agents behind it. */
export interface ScriptedApi {
  readonly port: number;
  readonly link: ScriptedExpertLink;
  readonly dispatcher: Dispatcher;
  readonly ledger: MemoryLedger;
  /** Connections that the server has open. */
  connections(): Promise<number>;
  close(): Promise<void>;
}

/** A clock whose deadlines of a minute come after half a second. */
const hurried: Clock = {
  now: () => systemClock.now(),
  after: (delay, run) => systemClock.after(milliseconds(delay / 120), run),
  every: (period, run) => systemClock.every(milliseconds(period / 120), run),
};

export async function openScriptedApi(
  answer: (job: ScriptedJob) => void,
  options: { readonly limits?: Partial<ServerLimits>; readonly mostConnections?: number; readonly log?: Logger } = {},
): Promise<ScriptedApi> {
  const limits = { ...SERVER_LIMITS, ...options.limits };
  const log = options.log ?? silentLogger;
  const catalogue = aCatalogue([anExpert('math'), anExpert('code')]);
  const abilities = ['grammar', 'log-probs', 'embeddings'];
  const devices = [aDevice('jetson', ['math-q8_0', 'code-q8_0'], { abilities, concurrency: 8 })];
  const policy = aPolicy(devices);
  const link = new ScriptedExpertLink(answer);
  const ledger = new MemoryLedger();
  const shared = { catalogue: () => catalogue, costs: new FixtureCosts(), ledger, random: systemRandom, log };
  const dispatcher = new Dispatcher({
    ...shared,
    fleet: new FixtureFleet(devices),
    gate: () => aGate({ math: 0.6, code: 0.4 }),
    workloads: new WorkloadModel(),
    policy: () => policy,
    link,
    clock: systemClock,
    onDemand: () => {},
    config: { ...DISPATCH_DEFAULTS, drainTimeout: milliseconds(10) },
  });
  const collaborator = new Collaborator({
    ...COLLABORATION_DEFAULTS,
    ...shared,
    dispatcher,
    confidence: new ConfidenceModel(),
    clock: systemClock,
    requestTimeout: DISPATCH_DEFAULTS.requestTimeout,
  });
  const models = { catalogue: () => catalogue, policy: () => policy, since: 1_700_000_000 };
  const app = await NestFactory.create<NestFastifyApplication>(
    dispatchModule({ collaborator, models, clock: hurried }),
    new FastifyAdapter(serverOptions(limits)),
    { logger: false, bodyParser: false },
  );
  guardServer(app.getHttpAdapter().getInstance(), {
    access: { apiKey: undefined, hosts: undefined, isDevice: () => false },
    mostBodyBytes: () => MAX_BODY_BYTES,
    limits,
    ...(options.mostConnections === undefined ? {} : { mostConnections: options.mostConnections }),
  });
  app.useGlobalFilters(new ErrorFilter(log));
  readJsonBodies(app);
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  return {
    port,
    link,
    dispatcher,
    ledger,
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
