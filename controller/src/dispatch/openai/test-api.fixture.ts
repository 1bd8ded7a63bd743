import 'reflect-metadata';

import type { AddressInfo } from 'node:net';

import { systemClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';
import { systemRandom } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import OpenAI from 'openai';

import { ConfidenceModel } from '../../gating/confidence.js';
import { ErrorFilter } from '../../platform/error-filter.js';
import { guardAccess } from '../../platform/http-access.js';
import { WorkloadModel } from '../../telemetry/workload-model.js';
import { COLLABORATION_DEFAULTS, Collaborator } from '../collaboration/collaborator.js';
import { DISPATCH_DEFAULTS } from '../dispatch-config.js';
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
import { dispatchModule, readJsonBodies } from '../dispatch.module.js';
import { Dispatcher } from '../dispatcher.js';
import { MemoryLedger } from '../memory-ledger.js';
import { type ScriptedJob, ScriptedExpertLink } from '../scripted-expert-link.js';

export const API_KEY = 'test-key';
/** Of the `jetson`; the `pi` of the same fleet can do nothing but answer. */
export const abilities = ['grammar', 'log-probs', 'embeddings'];

/** The API over HTTP, in front of two scripted devices. */
export interface TestApi {
  readonly base: string;
  readonly client: OpenAI;
  readonly link: ScriptedExpertLink;
  readonly fleet: FixtureFleet;
  readonly ledger: MemoryLedger;
  readonly dispatcher: Dispatcher;
  /** Undefined while there is no plan. */
  policy: ReturnType<typeof aPolicy> | undefined;
  close(): Promise<void>;
}

/** `contextTokens` of every expert. */
export async function openTestApi(behave: (job: ScriptedJob) => void, contextTokens = 2048): Promise<TestApi> {
  const experts = ['math', 'code'].map((name) => anExpert(name, [aVariant(name, 'q8_0', contextTokens)]));
  const catalogue = aCatalogue(experts);
  const devices = [aDevice('jetson', ['math-q8_0', 'code-q8_0'], { abilities }), aDevice('pi', ['math-q8_0'])];
  const plan: { policy: TestApi['policy'] } = { policy: aPolicy(devices) };
  const link = new ScriptedExpertLink(behave);
  const fleet = new FixtureFleet(devices);
  const ledger = new MemoryLedger();
  const shared = {
    catalogue: () => catalogue,
    costs: new FixtureCosts(),
    ledger,
    clock: systemClock,
    random: systemRandom,
  };
  const dispatcher = new Dispatcher({
    ...shared,
    fleet,
    gate: () => aGate({ math: 0.6, code: 0.4 }),
    workloads: new WorkloadModel(),
    policy: () => plan.policy,
    link,
    log: silentLogger,
    onDemand: () => {},
    config: { ...DISPATCH_DEFAULTS, lossGrace: milliseconds(1) },
  });
  const collaborator = new Collaborator({
    ...COLLABORATION_DEFAULTS,
    ...shared,
    dispatcher,
    confidence: new ConfidenceModel(),
    log: silentLogger,
    requestTimeout: DISPATCH_DEFAULTS.requestTimeout,
  });
  const models = { catalogue: () => catalogue, policy: () => plan.policy, since: 1_700_000_000 };
  const app = await NestFactory.create<NestFastifyApplication>(
    dispatchModule({ collaborator, models, clock: systemClock }),
    new FastifyAdapter({ forceCloseConnections: true }),
    { logger: false },
  );
  app.useGlobalFilters(new ErrorFilter(silentLogger));
  readJsonBodies(app);
  guardAccess(app.getHttpAdapter().getInstance(), { apiKey: API_KEY, hosts: undefined, isDevice: () => false });
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  const base = `http://127.0.0.1:${port}`;
  return {
    base,
    client: new OpenAI({ baseURL: `${base}/v1`, apiKey: API_KEY, maxRetries: 0 }),
    ...{ link, fleet, ledger, dispatcher },
    get policy() {
      return plan.policy;
    },
    set policy(policy) {
      plan.policy = policy;
    },
    close: async () => {
      await collaborator.close();
      await dispatcher.close();
      await app.close();
    },
  };
}
