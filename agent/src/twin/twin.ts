import type { Clock } from '@fleetgate/shared/clock';
import { filesOf } from '@fleetgate/shared/catalogue/serving';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Desired, DesiredVariant, Measurement, Reported, SlabReport } from '@fleetgate/shared/protocol/twin';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { ArtefactStore } from '../artefacts/artefact-store.js';
import type { Engine, LoadedModel } from '../engine/engine.js';
import type { VariantReleases } from '../releases/variant-releases.js';
import { Failures } from './failures.js';
import { reconcile, type Shortfall } from './reconcile.js';
import { reportVariants } from './report.js';
import { runStep, type StepContext } from './step-runner.js';
import { isWanted, type Step, variantOf } from './steps.js';
import { VariantRecords } from './variant-records.js';

/** The part of the reported document that the twin decides; identity, host and power come from its owner. */
export type TwinReport = Pick<
  Reported,
  'observedGeneration' | 'settled' | 'state' | 'memory' | 'variants' | 'measurements'
>;

export interface TwinOptions {
  readonly engine: Engine;
  readonly artefacts: ArtefactStore;
  /** What it goes by where it takes variants; absent: everything is taken. */
  readonly releases?: VariantReleases;
  readonly memoryBudgetBytes: number;
  readonly slots: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Measurements of earlier runs on the same board and engine. */
  readonly measurements: readonly Measurement[];
  /** Resolves when no job of the variant runs or waits any more. */
  readonly drain: (variantId: VariantId, signal: AbortSignal) => Promise<void>;
  measure(variant: DesiredVariant, loaded: LoadedModel, signal: AbortSignal): Promise<Measurement>;
  /** Memory that a variant's file will take, served as it is to be. Throws `gguf.malformed`. */
  estimateMemory(path: string, variant: DesiredVariant): Promise<number>;
  /** How a resident variant's slabs are kept, where the engine says. */
  slabsOf?(variantId: VariantId): SlabReport | undefined;
  onMeasured(measurements: readonly Measurement[]): void;
  /** The report changed; `progress`: only in how far a download is. */
  readonly onChange: (what: 'change' | 'progress') => void;
}

/**
 * Brings the device to the desired state and says how far it is. Single writer of both.
 *
 * Level-triggered: after every step, desired document, engine restart and due retry it asks `reconcile` again and does
 * the first step of the answer. One step at a time.
 */
export class Twin {
  readonly #options: TwinOptions;
  readonly #records: VariantRecords;
  readonly #failures = new Failures();
  readonly #context: StepContext;
  readonly #stopListening: () => void;
  #desired: Desired | undefined;
  /** Of it, what may be taken. */
  #admitted: Desired | undefined;
  #shortfalls: readonly Shortfall[] = [];
  #running: { readonly step: Step; readonly abort: AbortController; progress: number | undefined } | undefined;
  #settled = false;
  #converging: Promise<void> | undefined;
  #again = false;
  #cancelRetry: (() => void) | undefined;
  #stopped = false;

  constructor(options: TwinOptions) {
    this.#options = options;
    this.#records = new VariantRecords(options.artefacts, options.measurements);
    this.#context = {
      engine: options.engine,
      artefacts: options.artefacts,
      drain: options.drain,
      measure: (variant, signal) => this.#measure(variant, signal),
      onProgress: (_, share) => {
        if (this.#running !== undefined) this.#running.progress = Math.min(1, share);
        options.onChange('progress');
      },
      onStored: (variant) => this.#estimate(variant),
      onLoaded: (variant, loaded) => this.#records.noteLoaded(variant, loaded),
      onUnloaded: (variantId) => this.#records.noteUnloaded(variantId),
    };
    this.#stopListening = options.engine.onState((state) => {
      if (state.state !== 'ready') this.#records.noteEngineLost();
      options.onChange('change');
      this.#wake();
    });
  }

  /** Takes up a desired document; an older or equal generation is ignored. Returns whether it was new. */
  takeUp(desired: Desired): boolean {
    if (this.#stopped || desired.generation <= (this.#desired?.generation ?? 0)) return false;
    this.#desired = desired;
    this.#failures.clearAll();
    this.#admitted = { ...desired, variants: desired.variants.filter((variant) => this.#admit(variant)) };
    this.#settled = false;
    const running = this.#running;
    if (running !== undefined && !isWanted(running.step, this.#admitted)) running.abort.abort();
    this.#options.onChange('change');
    this.#wake();
    return true;
  }

  /** Whether a variant may be taken; one that may not is reported as failed, and given up where it is there. */
  #admit(variant: DesiredVariant): boolean {
    const { releases, clock, log } = this.#options;
    const refusal = releases?.refusal(variant);
    if (refusal === undefined) {
      releases?.taken(variant);
      return true;
    }
    this.#failures.record(variant.variantId, 'fetch', refusal, clock.now());
    log.warn('variant.refused', { variantId: variant.variantId, code: refusal.code, reason: refusal.message });
    return false;
  }

  get desired(): Desired | undefined {
    return this.#desired;
  }

  /** Whether jobs of this variant can run now. */
  serves(variantId: VariantId): boolean {
    const step = this.#running?.step;
    const leaving = step?.kind === 'unload' && step.variantId === variantId;
    return this.#desired?.state !== 'standby' && this.#records.resident.has(variantId) && !leaving;
  }

  get residentCount(): number {
    return this.#records.resident.size;
  }

  get usedMemoryBytes(): number {
    return this.#records.usedMemoryBytes;
  }

  report(): TwinReport {
    const desired = this.#desired;
    const wanted = desired?.variants ?? [];
    const variants = reportVariants({
      desired: wanted,
      local: { stored: this.#records.stored(wanted), resident: this.#records.resident },
      failures: this.#failures,
      shortfalls: this.#shortfalls,
      slabsOf: (variantId) => this.#options.slabsOf?.(variantId),
      running: this.#running,
    });
    return {
      observedGeneration: desired?.generation ?? 0,
      settled: desired !== undefined && this.#settled,
      state: this.#state(),
      memory: { budgetBytes: this.#options.memoryBudgetBytes, usedBytes: this.usedMemoryBytes },
      variants: [...variants],
      measurements: this.#records.measurements.slice(-300),
    };
  }

  /** Ends the running step and takes no other; what is resident is the engine's to end. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopListening();
    this.#cancelRetry?.();
    this.#running?.abort.abort();
    await this.#converging;
  }

  #state(): Reported['state'] {
    if (this.#desired === undefined) return 'starting';
    if (this.#desired.state === 'active') return 'active';
    return this.residentCount > 0 ? 'draining' : 'standby';
  }

  #wake(): void {
    if (this.#stopped || this.#desired === undefined) return;
    this.#again = true;
    this.#converging ??= this.#converge().finally(() => {
      this.#converging = undefined;
    });
  }

  async #converge(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false;
      await this.#estimateStored();
      const freeDiskBytes = await this.#options.artefacts.free().catch(() => undefined);
      const step = this.#nextStep(freeDiskBytes);
      if (step === undefined) continue;
      await this.#run(step);
      this.#again = true;
    }
  }

  #nextStep(freeDiskBytes: number | undefined): Step | undefined {
    const desired = this.#admitted;
    if (desired === undefined) return undefined;
    const { engine, memoryBudgetBytes, slots, clock } = this.#options;
    const now = clock.now();
    const local = {
      stored: this.#records.stored(desired.variants),
      resident: this.#records.resident,
      measured: this.#records.measured,
      held: this.#failures.held(now),
      stuck: this.#failures.stuck(now),
    };
    const { steps, shortfalls } = reconcile(desired, local, {
      memoryBudgetBytes,
      slots,
      freeDiskBytes,
      engineReady: engine.state().state === 'ready',
      needsArtefacts: engine.kind !== 'http',
      memoryOf: (variant) => this.#records.memoryOf(variant),
    });
    this.#shortfalls = shortfalls;
    const [step] = steps;
    if (step !== undefined) return step;
    if (engine.state().state === 'ready' && !this.#settled) {
      this.#settled = true;
      void this.#options.artefacts.dropPartsExcept(wantedFiles(desired)).catch(() => {});
    }
    this.#options.onChange('change');
    this.#scheduleRetry();
    return undefined;
  }

  #scheduleRetry(): void {
    const { clock } = this.#options;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    const next = this.#failures.nextRetry(clock.now());
    if (next === undefined) return;
    this.#cancelRetry = clock.after(milliseconds(next - clock.now()), () => this.#wake());
  }

  async #run(step: Step): Promise<void> {
    const { log, clock, onChange } = this.#options;
    const abort = new AbortController();
    this.#settled = false;
    this.#running = { step, abort, progress: step.kind === 'fetch' ? 0 : undefined };
    onChange('change');
    const variantId = variantOf(step);
    const fields = { step: step.kind, ...(variantId === undefined ? {} : { variantId }) };
    const startedAt = clock.now();
    try {
      await runStep(step, this.#context, abort.signal);
      if (variantId !== undefined) this.#failures.clear(variantId);
      log.info('step.done', { ...fields, durationMs: clock.now() - startedAt });
    } catch (error) {
      if (abort.signal.aborted) {
        log.info('step.abandoned', fields);
      } else if (step.kind === 'evict') {
        this.#records.noteUnevictable(step.sha256);
        log.warn('step.failed', { ...fields, sha256: step.sha256, message: messageOf(error) });
      } else if (variantId !== undefined) {
        const failure = this.#failures.record(variantId, step.kind, error, clock.now());
        log.warn('step.failed', { ...fields, ...failure.error, attempts: failure.attempts });
      }
    } finally {
      this.#running = undefined;
      onChange('change');
    }
  }

  async #measure(variant: DesiredVariant, signal: AbortSignal): Promise<void> {
    const loaded = this.#records.loaded(variant.variantId);
    if (loaded === undefined)
      throw new FleetError('engine.crashed', 'the engine lost the variant', { retryable: true });
    this.#records.noteMeasured(await this.#options.measure(variant, loaded, signal));
    this.#options.onMeasured(this.#records.measurements);
  }

  /** Variants whose file came with another one, served in another way. A file that cannot be read fails at its load. */
  async #estimateStored(): Promise<void> {
    const wanted = this.#desired?.variants ?? [];
    for (const variant of this.#records.unestimated(wanted)) await this.#estimate(variant).catch(() => {});
  }

  async #estimate(variant: DesiredVariant): Promise<void> {
    const path = this.#options.artefacts.path(variant.sha256);
    this.#records.noteEstimate(variant, await this.#options.estimateMemory(path, variant));
  }
}

function wantedFiles({ variants }: Desired): ReadonlySet<string> {
  return new Set(variants.flatMap((variant) => filesOf(variant).map(({ sha256 }) => sha256)));
}
