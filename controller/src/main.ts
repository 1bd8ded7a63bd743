import 'reflect-metadata';

import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { type Clock, systemClock } from '@fleetgate/shared/clock';
import { claimDataDir } from '@fleetgate/shared/disk-data-dir';
import { FleetError } from '@fleetgate/shared/errors';
import { createLogger, type Logger } from '@fleetgate/shared/logger';
import { type Random, SECRET_CHARACTERS, systemRandom } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { BehaviorSubject, config as rxjs, merge } from 'rxjs';

import { digestOf } from './access/access-key.js';
import { type AppParts, createApp } from './app.module.js';
import { compose } from './compose.js';
import { type ControllerConfig, isLoopback, redacted } from './config/config.js';
import { drained } from './dispatch/drain.js';
import { TERMINAL_STATES } from './dispatch/ledger.js';
import { learningFigures, learningView } from './operations/learning-view.js';
import { LiveFeed } from './operations/live-feed.js';
import { statusView } from './operations/read-model.js';
import { requestSpans } from './operations/request-spans.js';
import { deviceFigures, dispatchFigures, endedRequest } from './operations/serving-figures.js';
import { liveSnapshot, tellLiveFeed } from './operations/tell-live-feed.js';
import { Closers } from './platform/closers.js';
import { keptSecret } from './platform/disk-secret-file.js';
import { openTraceExport } from './platform/http-trace-export.js';
import { Metrics } from './platform/metrics.js';

/** For each part of the controller: none may keep the others from stopping. */
const STOP_DEADLINE = milliseconds(5000);
const LOOPBACK_NAMES: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '::1']);

export interface RunningController {
  readonly httpUrl: string;
  readonly mqttUrl: string;
  /** Where the embedded broker takes certificates, if anywhere. */
  readonly mqttTlsUrl: string | undefined;
  /** Lines that an external broker's configuration needs; undefined with the embedded one. */
  readonly mosquittoConfig: string | undefined;
  /** Graceful: takes nothing new, and waits a while for what is under way. Idempotent; never rejects. */
  stop(): Promise<void>;
}

export interface ControllerSurroundings {
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Logger;
}

/**
 * Starts a controller; resolves when its API listens. Nothing is left running or locked when it rejects: with
 * `data-dir.not-writable`, `data-dir.in-use`, `store.corrupt`, `port.taken`, `config.invalid` and the like.
 */
export async function startController(
  config: ControllerConfig,
  surroundings: ControllerSurroundings = {},
): Promise<RunningController> {
  const { clock = systemClock, random = systemRandom } = surroundings;
  const log = surroundings.log ?? createLogger('controller', config.logLevel);
  rxjs.onUnhandledError = (error: unknown) => log.error('internal.unhandled', { reason: String(error) });
  const closers = new Closers(STOP_DEADLINE, clock, log);
  try {
    closers.add('data directory', claimDataDir(config.dataDir));
    log.info('controller.starting', { config: redacted(config) });
    const parts = await composeApp(config, { clock, random, log, closers });
    const app = await createApp(parts);
    closers.add('http', () => app.close());
    // Open streams would keep the server from closing.
    closers.add('live feed', () => parts.feed.close());
    const httpUrl = await listen(app, config);
    const { mqttUrl, mosquittoConfig } = parts;
    const { tlsUrl: mqttTlsUrl } = parts.address.urls;
    log.info('controller.listening', { httpUrl, mqttUrl, mqttTlsUrl });
    let stopping: Promise<void> | undefined;
    const stop = (): Promise<void> => (stopping ??= drain(parts, config).then(() => closers.close()));
    return { httpUrl, mqttUrl, mqttTlsUrl, mosquittoConfig, stop };
  } catch (error) {
    await closers.close();
    throw error;
  }
}

async function composeApp(
  config: ControllerConfig,
  surroundings: { readonly clock: Clock; readonly random: Random; readonly log: Logger; readonly closers: Closers },
): Promise<AppParts> {
  const { clock, log, closers, random } = surroundings;
  const startedAtMs = clock.now();
  const version = packageVersion();
  // Metrics are asked for long after everything below is there.
  let parts: AppParts | undefined = undefined as AppParts | undefined;
  const connected = new BehaviorSubject(false);
  const metrics: Metrics = new Metrics(() => ({
    devices: [...(parts?.fleet.view.values() ?? [])].map(deviceFigures),
    brokerConnected: connected.value,
    liveFeedClients: parts?.feed.size ?? 0,
    planObjective: parts?.planner.plans.active()?.solution.objective ?? undefined,
    gateDegraded: parts?.gate.state === 'degraded',
    learning: parts === undefined ? undefined : learningFigures(learningView(parts, clock.now())),
    dispatch: parts === undefined ? undefined : dispatchFigures(parts.dispatcher, parts.ledger),
    loads: parts?.dispatcher.expertLoads() ?? new Map(),
  }));
  const { tracesUrl } = config;
  const traces = tracesUrl === undefined ? undefined : await openTraceExport(tracesUrl, version, { clock, log });
  if (traces !== undefined) closers.add('traces', () => traces.close());
  const composed = await compose({
    ...surroundings,
    config,
    count: (channel, reason) => metrics.countMessage(channel, reason),
  });
  const { fleet, planner, gate, boards, broker, ledger, mqttUrl, enrolment } = composed;
  broker.connected$.subscribe(connected);
  const counted = new Set<string>();
  ledger.changes$.subscribe((record) => {
    // A cancelled request is put again when its job says what it used: count it once all the same.
    if (!TERMINAL_STATES.has(record.state) || counted.has(record.id)) return;
    counted.add(record.id);
    const [oldest] = counted;
    if (counted.size > MOST_COUNTED && oldest !== undefined) counted.delete(oldest);
    const ended = endedRequest(record, composed.registry);
    metrics.observe(ended);
    traces?.add(requestSpans(record, ended));
  });
  planner.plans.changes$.subscribe((record) => {
    if (record.state === 'active') metrics.countPlan(record.solution.status);
  });
  const status: AppParts['status'] = () =>
    statusView({
      fleet: config.fleet,
      version,
      startedAtMs,
      draining: composed.dispatcher.isDraining,
      brokerConnected: connected.value,
      gate: {
        state: gate.state,
        why: gate.why ?? null,
        experts: gate.experts.length,
        trainedOn: gate.trainedOn,
      },
      devices: fleet.view.values(),
      activePlanId: planner.plans.active()?.id ?? null,
      mqttUrl,
      ...(config.replica === undefined
        ? {}
        : { replica: { name: config.replica, leads: composed.replication.leading.now() } }),
      ...(composed.address.urls.tlsUrl === undefined ? {} : { mqttTlsUrl: composed.address.urls.tlsUrl }),
    });
  const sources = {
    fleet,
    boards,
    deviceEvents$: composed.fleetLink.events$,
    planner,
    ledger,
    status,
    statusChanges$: merge(connected, gate.changes$, composed.replication.leading.changes$),
  };
  const feed = new LiveFeed(() => liveSnapshot(sources), clock);
  const telling = tellLiveFeed(feed, sources);
  closers.add('live feed sources', () => telling.unsubscribe());
  const ownerKey = ownerKeyOf(config, random, log);
  parts = {
    ...composed,
    feed,
    metrics,
    status,
    access: {
      ownerDigest: ownerKey === undefined ? undefined : digestOf(ownerKey),
      hosts: isLoopback(config.host) && config.apiKey === undefined ? LOOPBACK_NAMES : undefined,
      isDevice: (id, secret) => enrolment.isDevice(id, secret),
    },
    startedAtMs,
    version,
    clock,
    log,
  };
  return parts;
}

/** Lets requests under way come to their end, while new ones are refused and told to go elsewhere. */
async function drain(parts: AppParts, { drainMs }: ControllerConfig): Promise<void> {
  const { dispatcher, collaborator, runner, clock, log } = parts;
  dispatcher.drain();
  await runner.close();
  const inFlight = (): number => dispatcher.inFlight + collaborator.inFlight;
  if (inFlight() > 0) log.info('controller.draining', { requests: inFlight(), longestMs: drainMs });
  const left = await drained(inFlight, milliseconds(drainMs), clock);
  if (left > 0) log.warn('controller.not-drained', { requests: left });
}

/** Whoever can reach the port could otherwise do everything: only loopback goes without a key. */
function ownerKeyOf(config: ControllerConfig, random: Random, log: Logger): string | undefined {
  if (config.apiKey !== undefined || isLoopback(config.host)) return config.apiKey;
  const path = join(config.dataDir, 'api-key');
  log.warn('api-key.kept', { path, reason: `${config.host} can be reached from other machines` });
  return keptSecret(path, () => random.token(SECRET_CHARACTERS));
}

async function listen(app: NestFastifyApplication, config: ControllerConfig): Promise<string> {
  const { host, httpPort } = config;
  try {
    await app.listen(httpPort, host);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code === 'EADDRINUSE') {
      throw new FleetError('port.taken', `port ${httpPort} of ${host} is taken`, {
        hint: 'stop what listens there, or choose another port with --http-port (0 picks a free one)',
        cause,
      });
    }
    if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      throw new FleetError('config.invalid', `cannot listen on port ${httpPort} of ${host}: ${code}`, {
        hint: 'ports below 1024 need rights; --host has to be an address of this machine',
        cause,
      });
    }
    throw cause;
  }
  const { address, port, family } = app.getHttpServer().address() as AddressInfo;
  const shown = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address;
  return `http://${family === 'IPv6' ? `[${shown}]` : shown}:${port}`;
}

/** Ended requests that may still be put again. */
const MOST_COUNTED = 1000;

function packageVersion(): string {
  const file = new URL('../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string }).version;
}
