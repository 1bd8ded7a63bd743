import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import type { Seed } from '@fleetgate/shared/protocol/artefact-sources';
import type { Channel } from '@fleetgate/shared/protocol/topics';
import type { DesiredVariant, Measurement, Reported } from '@fleetgate/shared/protocol/twin';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';
import { type Bytes, milliseconds } from '@fleetgate/shared/units/quantity';

import type { ArtefactStore } from './artefacts/artefact-store.js';
import { diskReadRate } from './artefacts/disk-read-rate.js';
import type { Fetched } from './artefacts/peer-source.js';
import type { BoardSettings } from './board/board-settings.js';
import type { Engine, EngineState, LoadedModel } from './engine/engine.js';
import { GovernedEngine } from './engine/governed-engine.js';
import { measureVariant } from './jobs/enrolment-benchmark.js';
import { JobOutbox } from './jobs/job-outbox.js';
import { JobRunner } from './jobs/job-runner.js';
import { isDoingWell } from './launcher/doing-well.js';
import type { ControllerLink, Incoming, LinkState } from './link/controller-link.js';
import type { AgentUpdate } from './releases/agent-update.js';
import type { VariantReleases } from './releases/variant-releases.js';
import { areSame, type Conditions, conditionsOf } from './sensors/conditions.js';
import { EnergyMeter } from './sensors/energy-meter.js';
import type { Reading, Sensors } from './sensors/sensors.js';
import { AT_EASE, govern, type GovernorState } from './slabs/governor.js';
import { DeviceEvents } from './telemetry/device-events.js';
import { Reporter } from './telemetry/reporter.js';
import { type BatchBuffer, TelemetrySender } from './telemetry/telemetry-sender.js';
import type { KeptMeasurements } from './twin/disk-measurements.js';
import { ReportLine } from './twin/report-line.js';
import { Twin } from './twin/twin.js';

/** Wait for last words to reach the broker at shutdown. */
const LAST_WORDS_MS = 1500;
/** Longer than nearly every answer takes. */
const DRAIN_MS = 120_000;
const POLL = milliseconds(20);
const VERSION_DEADLINE = milliseconds(10_000);

export interface AgentParts {
  readonly board: BoardProfile;
  readonly host: Reported['host'];
  readonly engine: Engine;
  readonly artefacts: ArtefactStore;
  /** What it goes by where it takes variants; absent: everything is taken. */
  readonly releases?: VariantReleases;
  readonly link: ControllerLink;
  readonly sensors: Sensors;
  readonly settings: BoardSettings;
  readonly update: AgentUpdate;
  readonly seed: Seed | undefined;
  /** Grows as artefacts come. */
  readonly fetched: Readonly<Fetched>;
  readonly buffer: BatchBuffer & { close(): void };
  readonly memoryBudget: Bytes;
  readonly concurrency: number;
  readonly queueCapacity: number;
  readonly agentVersion: string;
  readonly kept: KeptMeasurements;
  /** Writes measurements down for the next start. */
  readonly keep: (kept: KeptMeasurements) => void;
  /** Memory that a stored model will take, by its file. Throws `gguf.malformed`. */
  readonly estimateMemory: (path: string, variant: DesiredVariant) => Promise<number>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * The parts of a device's daemon, tied together: messages go to the twin and the job runner, what they say goes out.
 * Decides nothing itself.
 */
export class Agent {
  readonly #parts: AgentParts;
  readonly #engine: GovernedEngine;
  readonly #meter: EnergyMeter;
  readonly #runner: JobRunner;
  readonly #outbox: JobOutbox;
  readonly #twin: Twin;
  readonly #reportLine: ReportLine;
  readonly #reporter: Reporter;
  readonly #sender: TelemetrySender;
  readonly #events: DeviceEvents;
  #readBytesPerS: number | undefined;
  #engineVersion = 'unknown';
  #governor: GovernorState = AT_EASE;
  #powerFrom = '';
  #conditions: Conditions = {};
  #settleReady: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;
  #stopListening = (): void => {};

  constructor(parts: AgentParts) {
    this.#parts = parts;
    const { board, artefacts, link, sensors, clock, log } = parts;
    const engine = new GovernedEngine(parts.engine, (what) => this.#reportLine.mark(what));
    this.#engine = engine;
    const { idleW, loadW, standbyW } = board.power;
    this.#readBytesPerS = parts.kept.readBytesPerS;
    this.#meter = new EnergyMeter({ idleW: idleW.value, loadW: loadW.value, standbyW: standbyW.value }, clock);
    this.#events = new DeviceEvents(clock, (event) => link.send({ kind: 'event', event }));
    this.#sender = new TelemetrySender(parts.buffer, (telemetry) => link.send({ kind: 'telemetry', telemetry }), clock);
    this.#outbox = new JobOutbox({
      send: (job, out) => link.send({ kind: 'job-out', job, out }),
      clock,
      onGiveUp: () => this.#runner.cancelAll(),
    });
    this.#runner = new JobRunner({
      engine,
      concurrency: parts.concurrency,
      capacity: parts.queueCapacity,
      serves: (variantId) => this.#twin.serves(variantId),
      energy: this.#meter,
      readBytesPerS: () => this.#readBytesPerS,
      emit: (job, out) => this.#outbox.push(job, out),
      sharing: (variantId, one, other) => engine.sharing(variantId, one, other),
      clock,
      log,
    });
    this.#twin = new Twin({
      engine,
      artefacts,
      ...(parts.releases === undefined ? {} : { releases: parts.releases }),
      memoryBudgetBytes: parts.memoryBudget,
      slots: board.slots,
      clock,
      log,
      measurements: parts.kept.measurements,
      drain: (variantId, signal) => this.#runner.drain(variantId, signal),
      measure: (variant, loaded, signal) => this.#measure(variant, loaded, signal),
      estimateMemory: parts.estimateMemory,
      slabsOf: (variantId) => engine.slabsOf(variantId),
      onMeasured: (measurements) => parts.keep({ readBytesPerS: this.#readBytesPerS, measurements }),
      onChange: (what) => this.#reportLine.mark(what),
    });
    this.#reportLine = new ReportLine(clock, () => this.#publishReport());
    this.#reporter = new Reporter({
      sensors,
      meter: this.#meter,
      clock,
      activity: () => ({
        queuedJobs: this.#runner.queuedJobs,
        runningJobs: this.#runner.runningJobs,
        outputTokens: this.#runner.outputTokens,
        engineMemoryBytes: this.#twin.usedMemoryBytes,
        standby: this.#twin.desired?.state === 'standby' && this.#twin.residentCount === 0,
      }),
      onBatch: (batch) => {
        this.#sender.push(batch);
        this.#noticePowerSource();
      },
      onReading: (reading) => {
        this.#govern(reading);
        this.#noticeConditions(reading);
      },
    });
  }

  /** Begins to serve. The promise resolves once presence was published. */
  start(): Promise<void> {
    const { link } = this.#parts;
    this.#stopListening = this.#engine.onState((state) => this.#onEngine(state));
    this.#powerFrom = this.#meter.origin.from;
    this.#reporter.start();
    const onChange = (): void => this.#reportLine.mark('change');
    this.#parts.settings.start(onChange);
    this.#parts.update.start({ onChange, drain: () => this.#drain() });
    void this.#learnVersion();
    const ready = new Promise<void>((resolve, reject) => {
      this.#settleReady = { resolve, reject };
    });
    // Whoever does not wait for it must not be ended by its rejection.
    ready.catch(() => {});
    link.start({ onMessage: (message) => this.#onMessage(message), onState: (state) => this.#onLink(state) });
    return ready;
  }

  async stop(): Promise<void> {
    const { link, buffer } = this.#parts;
    this.#settleReady?.reject(new FleetError('controller.unreachable', 'stopped before the broker was reached'));
    this.#stopListening();
    this.#reporter.stop();
    await Promise.all([this.#runner.stop(), this.#twin.stop(), this.#parts.settings.stop(), this.#parts.update.stop()]);
    await this.#lastWords();
    this.#reportLine.stop();
    this.#sender.stop();
    this.#outbox.stop();
    await link.close();
    await this.#engine.close();
    buffer.close();
  }

  #onMessage(message: Incoming): void {
    switch (message.kind) {
      case 'desired': {
        const { desired } = message;
        if (!this.#twin.takeUp(desired)) return;
        this.#parts.log.info('desired.taken', { generation: desired.generation, variants: desired.variants.length });
        this.#parts.settings.takeUp(desired.releases?.boardConfig);
        this.#parts.update.takeUp(desired.releases?.agent);
        this.#reporter.setPace(desired.telemetry.sampleMs, desired.telemetry.batchMs);
        return;
      }
      case 'job':
        this.#runner.accept(message.job);
        return;
      case 'cancel':
        this.#runner.cancel(message.cancel.jobId);
        return;
      case 'next': {
        const { jobId, step, token } = message.next;
        this.#runner.proceed(jobId, step, token);
        return;
      }
      case 'unread-job':
        this.#runner.refuseUnread(message.job, message.error);
        this.#tellRefused('jobs', message.error);
        return;
      case 'refused':
        this.#tellRefused(message.channel, message.error);
    }
  }

  #tellRefused(channel: Channel, { code, message }: FleetError): void {
    this.#parts.log.warn('message.refused', { channel, code, reason: message });
    this.#events.tell('warn', code, `${channel}: ${message}`);
  }

  #onLink({ state, epoch }: LinkState): void {
    const session = state === 'connected' ? epoch : undefined;
    this.#outbox.onLink(state);
    this.#events.onLink(session);
    this.#sender.onLink(session);
    if (session === undefined) return;
    this.#settleReady?.resolve();
    this.#reportLine.flush();
  }

  #onEngine(state: EngineState): void {
    if (state.state === 'ready') this.#events.tell('info', 'engine.restarted', 'the engine is ready again');
    else this.#events.tell('error', `engine.${state.state}`, state.reason);
    if (this.#engineVersion === 'unknown') void this.#learnVersion();
  }

  async #learnVersion(): Promise<void> {
    const { clock } = this.#parts;
    const version = await new Promise<string | undefined>((resolve) => {
      const cancel = clock.after(VERSION_DEADLINE, () => resolve(undefined));
      const tell = (answer: string | undefined): void => (cancel(), resolve(answer));
      this.#engine.version().then(tell, () => tell(undefined));
    });
    if (version === undefined) return;
    this.#engineVersion = version;
    this.#reportLine.mark('change');
  }

  async #measure(variant: DesiredVariant, loaded: LoadedModel, signal: AbortSignal): Promise<Measurement> {
    const { artefacts, clock } = this.#parts;
    this.#readBytesPerS ??= await diskReadRate(artefacts.path(variant.sha256), clock);
    return measureVariant(variant, loaded, { engine: this.#engine, energy: this.#meter, clock }, signal);
  }

  async #publishReport(): Promise<void> {
    const { board, host, artefacts, link, agentVersion, seed, fetched } = this.#parts;
    const freeBytes = await artefacts.free().catch(() => 0);
    const engineState = this.#engine.state();
    const { ratio: strain, reason } = this.#engine.strain;
    const { idleW, loadW, standbyW } = board.power;
    const readBytesPerS = this.#readBytesPerS;
    const reported: Reported = {
      v: PROTOCOL_VERSION,
      epoch: Math.max(1, link.state().epoch),
      board: board.id,
      agentVersion,
      host,
      engine: {
        kind: this.#engine.kind,
        version: this.#engineVersion,
        ...engineState,
        abilities: [...this.#engine.abilities],
      },
      storage: { freeBytes, ...(readBytesPerS === undefined ? {} : { readBytesPerS }) },
      slots: board.slots,
      concurrency: this.#parts.concurrency,
      power: {
        ...this.#meter.origin,
        idleW: idleW.value,
        loadW: loadW.value,
        standbyW: standbyW.value,
        ...this.#parts.settings.power,
      },
      releases: [...this.#parts.settings.releases(), ...this.#parts.update.releases()],
      conditions: this.#conditions,
      ...(seed === undefined ? {} : { seed }),
      fetched: { ...fetched },
      ...(strain === 0 ? {} : { governor: { strain, reason } }),
      ...this.#twin.report(),
    };
    try {
      await link.send({ kind: 'reported', reported });
      if (isDoingWell(reported)) this.#parts.update.healthy();
    } catch (error) {
      this.#parts.log.debug('reported.unsent', { reason: messageOf(error) });
      throw error;
    }
  }

  /** Spares a hot device, or one that runs down its battery, and says so. */
  #govern({ temperatureC, throttled, batteryRatio, onBattery }: Reading): void {
    const { board, clock, log } = this.#parts;
    const before = this.#governor.strain;
    const throttleC = lower(board.throttleC?.value, this.#parts.settings.thermalCeilingC);
    const state = { temperatureC, throttled, batteryRatio, onBattery, throttleC };
    this.#governor = govern(this.#governor, state, clock.now());
    const { strain } = this.#governor;
    if (strain.ratio === before.ratio) return;
    if (strain.ratio === 0 || before.ratio === 0) this.#reportLine.mark('change');
    for (const { variantId, slabs } of this.#engine.govern(strain)) {
      const why = strain.reason === '' ? 'the device is at ease' : strain.reason;
      log.info('governor.slabs', { variantId, slabsPerToken: slabs, strain: strain.ratio, reason: why });
      this.#events.tell('info', 'governor.slabs', `${variantId}: ${slabs} slabs per token, for ${why}`);
    }
  }

  /** The reported document says where power comes from: a sensor that came or went changes it. */
  #noticePowerSource(): void {
    const { from } = this.#meter.origin;
    if (from === this.#powerFrom) return;
    this.#powerFrom = from;
    this.#reportLine.mark('change');
  }

  #noticeConditions(reading: Reading): void {
    const conditions = conditionsOf(reading);
    if (areSame(conditions, this.#conditions)) return;
    this.#conditions = conditions;
    this.#reportLine.mark('change');
  }

  /** Until no job runs or waits; what still does after the deadline is answered by another device. */
  async #drain(): Promise<void> {
    const { clock } = this.#parts;
    const until = clock.now() + DRAIN_MS;
    while (this.#runner.runningJobs + this.#runner.queuedJobs > 0 && clock.now() < until) {
      await new Promise<void>((resolve) => clock.after(POLL, resolve));
    }
  }

  async #lastWords(): Promise<void> {
    const { clock, link } = this.#parts;
    const until = clock.now() + LAST_WORDS_MS;
    while (this.#outbox.waiting > 0 && link.state().state === 'connected' && clock.now() < until) {
      await new Promise<void>((resolve) => clock.after(POLL, resolve));
    }
  }
}

/** The lower of two bounds; absent ones bind nothing. */
function lower(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.min(one, other);
}
