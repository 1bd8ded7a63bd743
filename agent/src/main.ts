import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import type { Board } from '@fleetgate/firmware-configs/apply-config';
import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import { type Clock, systemClock } from '@fleetgate/shared/clock';
import { claimDataDir } from '@fleetgate/shared/disk-data-dir';
import { FleetError } from '@fleetgate/shared/errors';
import { adapterBytesOf, type Serving, servedMemory } from '@fleetgate/shared/catalogue/serving';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { estimateMemory, slabsBytesOf } from '@fleetgate/shared/gguf/facts';
import type { DeviceId, VariantId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { type Random, systemRandom } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { Agent } from './agent.js';
import { DiskArtefactStore } from './artefacts/disk-artefact-store.js';
import { type AgentConfig, agentVersion, environmentPrefix } from './config/config.js';
import type { Engine } from './engine/engine.js';
import { createHttpEngine } from './engine/http-engine.js';
import { createLlamaEngine } from './engine/llama-engine.js';
import { ModelEngine } from './engine/model-engine.js';
import { CertificateRenewal } from './link/certificate-renewal.js';
import {
  diskEpochs,
  enrolmentApplication,
  readCertificate,
  readIdentity,
  writeCertificate,
  writeIdentity,
} from './link/disk-identity.js';
import { enrol, lookUpBroker, renewCertificate } from './link/http-enrolment.js';
import type { Identity } from './link/identity.js';
import { MqttControllerLink } from './link/mqtt-controller-link.js';
import type { LauncherLink } from './launcher/process-launcher-link.js';
import { openAgentUpdate } from './open-agent-update.js';
import { openBoardSettings } from './open-board-settings.js';
import { openSeed, openSource } from './open-transfers.js';
import { diskAcceptedReleases } from './releases/disk-accepted-releases.js';
import { readReleaseKeys } from './releases/disk-release-keys.js';
import { variantReleases } from './releases/variant-releases.js';
import { boardSensors } from './sensors/board-sensors.js';
import { chooseBoard, recogniseBoard } from './sensors/linux-board-facts.js';
import { describeHost } from './sensors/linux-host.js';
import { runCommand } from './sensors/process-command.js';
import type { Sensors } from './sensors/sensors.js';
import { DiskOfflineBuffer } from './telemetry/disk-offline-buffer.js';
import { readMeasurements, writeMeasurements } from './twin/disk-measurements.js';
import { memoryBudget } from './twin/memory-budget.js';

/** An engine child that says nothing for this long hangs: a batch of prefill on the slowest board takes seconds. */
const ENGINE_WATCHDOG = milliseconds(60_000);
/** A server behind HTTP batches by itself. */
const HTTP_CONCURRENCY = 4;
/** Jobs that wait: more would wait longer than a person does. */
const QUEUE_CAPACITY = 32;

const NO_LAUNCHER: LauncherLink = { onState: () => {}, say: () => {} };

export interface RunningAgent {
  readonly deviceId: DeviceId;
  readonly board: BoardProfile;
  /** Resolves when presence was published for the first time; rejects when the agent was stopped before. */
  readonly ready: Promise<void>;
  /** Ends jobs, says goodbye, ends every child, gives the data directory back. Idempotent; takes a few seconds at most. */
  stop(): Promise<void>;
}

export interface AgentSurroundings {
  readonly log: Logger;
  /** Ends a wait for the controller at enrolment. */
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  readonly random?: Random;
  /** In place of the configured engine; the agent closes it. */
  readonly engine?: Engine;
  /** In place of the board's own. */
  readonly sensors?: Sensors;
  /** In place of this machine's settings. */
  readonly board?: Board;
  /** What has started this program, and may exchange it. */
  readonly launcher?: LauncherLink;
}

/**
 * Starts the daemon of one device: recognises the board, enrols where that was not done yet, and serves.
 *
 * Throws `data-dir.not-writable`, `data-dir.in-use`, `board.unknown`, `config.invalid`, `enrol.*`, `store.corrupt`,
 * `controller.unreachable` (aborted while waiting).
 */
export async function runAgent(config: AgentConfig, surroundings: AgentSurroundings): Promise<RunningAgent> {
  const release = claimDataDir(config.dataDir);
  try {
    return await start(config, surroundings, release);
  } catch (error) {
    release();
    throw error;
  }
}

async function start(config: AgentConfig, around: AgentSurroundings, release: () => void): Promise<RunningAgent> {
  const { log, clock = systemClock, random = systemRandom } = around;
  const signal = around.signal ?? new AbortController().signal;
  const board = await chooseBoard(config.board, '/', environmentPrefix());
  const releaseKeys = readReleaseKeys(config.releaseKeysFile);
  const identity = await identify(config, board, { clock, random, log, signal });
  const host = await describeHost('/');
  const recognised = await recogniseBoard('/', environmentPrefix());
  const threads = threadsOf(config, board, host.cores);
  const fetched = { peersBytes: 0, controllerBytes: 0 };
  const transfers = { tls: () => renewal.current(), clock, log };
  const source = openSource(config, identity, fetched, transfers);
  const artefacts = await DiskArtefactStore.open({ folder: join(config.dataDir, 'artefacts'), source, log });
  const accepted = diskAcceptedReleases(config.dataDir);
  const settings = openBoardSettings(config.dataDir, {
    profile: board,
    recognised,
    board: around.board,
    releaseKeys,
    accepted,
    artefacts,
    clock,
    log,
  });
  const launcher = around.launcher ?? NO_LAUNCHER;
  const update = openAgentUpdate(config.dataDir, { launcher, releaseKeys, accepted, source, clock, log });
  const telemetryFolder = join(config.dataDir, 'telemetry');
  mkdirSync(telemetryFolder, { recursive: true, mode: 0o700 });
  const version = agentVersion();
  const conditions = `${board.id} ${config.engine.kind} ${threads} threads, agent ${version}`;
  const measurementFile = join(config.dataDir, 'measurements.json');
  let known = identity.mqttUrl;
  const renewal = new CertificateRenewal({
    kept: readCertificate(config.dataDir),
    keep: (certificate) => writeCertificate(config.dataDir, certificate),
    fetch: async (present) => {
      const renewed = await renewCertificate(config.controllerUrl, identity, present, signal);
      if (renewed === undefined) return undefined;
      known = renewed.mqttUrl;
      if (known !== identity.mqttUrl) writeIdentity(config.dataDir, { ...identity, mqttUrl: known });
      return renewed.certificate;
    },
    clock,
    random,
    log,
  });
  const seed = await openSeed(config, artefacts, random, transfers);
  const engine = around.engine ?? createEngine(config, threads, log, clock);
  const renewing = renewal.start();
  const link = new MqttControllerLink({
    identity,
    certificate: () => renewal.current(),
    brokerUrl: async () => {
      // A device that had a secret only may be given its first certificate.
      await renewing;
      const by = renewal.current() === undefined ? 'secret' : 'certificate';
      return (known = (await lookUpBroker(config.controllerUrl, identity, by, signal)) ?? known);
    },
    epochs: diskEpochs(config.dataDir, clock),
    agentVersion: version,
    clock,
    random,
    log,
  });
  const sequences = config.engine.kind === 'http' ? HTTP_CONCURRENCY : config.engine.sequences;
  const agent = new Agent({
    board,
    host,
    engine,
    artefacts,
    releases: variantReleases(releaseKeys, accepted, config.signedOnly),
    link,
    sensors: around.sensors ?? boardSensors(board, { root: '/', run: runCommand, clock }, log),
    settings,
    update,
    seed: seed?.seed,
    fetched,
    buffer: new DiskOfflineBuffer(telemetryFolder, log),
    memoryBudget: memoryBudget(board, host.memoryBytes),
    concurrency: sequences,
    queueCapacity: QUEUE_CAPACITY,
    agentVersion: version,
    kept: readMeasurements(measurementFile, conditions, log),
    keep: (kept) => writeMeasurements(measurementFile, conditions, kept),
    estimateMemory: (path, { contextTokens, serving }) => estimateServed(path, { contextTokens, sequences, serving }),
    clock,
    log,
  });
  log.info('agent.started', {
    deviceId: identity.deviceId,
    fleet: identity.fleet,
    boardId: board.id,
    engine: engine.kind,
    threads,
    rssBytes: process.memoryUsage.rss(),
  });
  const ready = agent.start();
  const stop = async (): Promise<void> => {
    try {
      await Promise.all([agent.stop(), seed?.close()]);
    } finally {
      renewal.stop();
      release();
    }
  };
  let stopping: Promise<void> | undefined;
  return {
    deviceId: identity.deviceId,
    board,
    ready,
    stop: () => (stopping ??= stop()),
  };
}

async function identify(
  config: AgentConfig,
  board: BoardProfile,
  around: { clock: Clock; random: Random; log: Logger; signal: AbortSignal },
): Promise<Identity> {
  const known = readIdentity(config.dataDir);
  if (known !== undefined) {
    if (known.deviceId === config.name) return known;
    const found = `${config.dataDir} belongs to device "${known.deviceId}", expected "${config.name}"`;
    throw new FleetError('config.invalid', found, { hint: `use --name ${known.deviceId} or another --data directory` });
  }
  if (config.token === undefined) {
    throw new FleetError('config.invalid', `device "${config.name}" is not enrolled yet and there is no join token`, {
      hint: 'give the token that the controller printed, with --token or FLEETGATE_JOIN_TOKEN',
    });
  }
  const { controllerUrl, token, name } = config;
  const application = enrolmentApplication(config.dataDir, around.random);
  const enrolment = { controllerUrl, token, name, board: board.id, ...application };
  const { identity, certificate } = await enrol(enrolment, around);
  // First: who has an identity does not ask for a certificate by that enrolment again.
  writeCertificate(config.dataDir, certificate);
  writeIdentity(config.dataDir, identity);
  around.log.info('enrol.done', { deviceId: identity.deviceId, fleet: identity.fleet });
  return identity;
}

interface Served {
  readonly contextTokens: number;
  readonly sequences: number;
  readonly serving: Serving | undefined;
}

async function estimateServed(path: string, { contextTokens, sequences, serving }: Served): Promise<number> {
  const header = await readGguf(path);
  const whole = estimateMemory(header, contextTokens, sequences, path);
  return servedMemory(whole, slabsBytesOf(header), serving) + adapterBytesOf(serving);
}

function threadsOf(config: AgentConfig, board: BoardProfile, cores: number): number {
  const wanted = config.engine.kind === 'llama' ? config.engine.threads : undefined;
  return wanted ?? Math.max(1, Math.min(board.engineThreads, cores - 1));
}

function createEngine({ engine }: AgentConfig, threads: number, log: Logger, clock: Clock): Engine {
  if (engine.kind === 'llama') {
    const { gpu, sequences } = engine;
    const options = { threads, sequences, gpu, watchdog: ENGINE_WATCHDOG, log, clock };
    const slabs = createLlamaEngine({ ...options, hosts: 'slabs' });
    return new ModelEngine({ ordinary: createLlamaEngine(options), slabs }, log);
  }
  const { baseUrl, models, apiKey } = engine;
  const modelOf = (variantId: VariantId): string => models[variantId] ?? variantId;
  return createHttpEngine({ baseUrl, modelOf, log, clock, ...(apiKey === undefined ? {} : { apiKey }) });
}
