import { z } from 'zod';

import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { Variant } from '@fleetgate/shared/catalogue/expert';
import { check } from '@fleetgate/shared/check';
import { type DeviceId, deviceIdSchema, type VariantId, variantIdSchema } from '@fleetgate/shared/ids';
import type { JobUsage } from '@fleetgate/shared/protocol/job';
import type { Measurement } from '@fleetgate/shared/protocol/twin';
import { joules, type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import type { CostEstimate, CostEstimator, Workload } from './cost.js';
import { known, type LogFigure, merged, valueOf } from './cost-model-figure.js';
import { areKin, withKin } from './cost-model-kin.js';
import { energyPart, learn, learnEnergy, learnOverhead, LEAST_OVERHEAD_MS, part } from './cost-model-learning.js';
import { type CostFigures, predictedFigures, scaledBy } from './cost-model-prior.js';

/** Pairs of device and variant that are remembered; the one not touched for longest is forgotten first. */
const MOST_ENTRIES = 50_000;
/** Jobs' worth that an enrolment benchmark counts for. */
const BENCHMARK_WEIGHT = 8;
/** A benchmark repeats one workload: real jobs scatter more than it says. */
const BENCHMARK_LEAST_SD = 0.1;
/** Stands in for a power above idle of which nothing at all is known, watts. */
const UNKNOWN_W = 1;
const OVERHEAD_SD = 0.7;
export interface CostSources {
  boardOf(device: DeviceId): BoardProfile | undefined;
  variantOf(variant: VariantId): Variant | undefined;
  /** As the device reports it; its board profile's figures when absent. */
  powerOf?(device: DeviceId): { readonly idleW: number; readonly loadW: number } | undefined;
}

interface Entry extends CostFigures {
  /** Newest benchmark taken in, by the device's clock; 0 for none. */
  readonly measuredAtMs: number;
  readonly jobs: number;
}

interface Kept {
  readonly variant: Variant | undefined;
  readonly figures: CostFigures;
}

const figureSchema = z.object({ mean: z.number(), variance: z.number().positive(), weight: z.number().nonnegative() });
const recordSchema = z.object({
  schema: z.literal('fleetgate-costs/1'),
  entries: z
    .array(
      z.object({
        deviceId: deviceIdSchema,
        variantId: variantIdSchema,
        prefillMs: figureSchema,
        decodeMs: figureSchema,
        prefillW: figureSchema,
        decodeW: figureSchema,
        overheadMs: figureSchema,
        measuredAtMs: z.number(),
        jobs: z.number().int().nonnegative(),
      }),
    )
    .max(MOST_ENTRIES),
});
/** What `CostModel.toRecord` gives: plain JSON. */
export type CostRecord = z.input<typeof recordSchema>;

/**
 * Latency and energy of (device, variant, tokens): time per prompt token and per output token, and the watts above idle
 * that each takes.
 *
 * Before a pair was measured they are predicted from file size and board profile, corrected by how far such predictions
 * were off for the device's other variants. The enrolment benchmark replaces the prediction, finished jobs refine it,
 * old ones are forgotten. Variants of one shape (`areKin`) share what is seen of any of them. Single writer: the controller; not safe to share between threads.
 */
export class CostModel implements CostEstimator {
  readonly #sources: CostSources;
  readonly #devices = new Map<DeviceId, Map<VariantId, Entry>>();
  /** Derived from `#devices`. */
  readonly #kept = new Map<DeviceId, Map<VariantId, Kept>>();
  #size = 0;

  constructor(sources: CostSources) {
    this.#sources = sources;
  }

  /** Restores what `toRecord` gave; throws `store.corrupt` for anything else. */
  static fromRecord(record: unknown, sources: CostSources): CostModel {
    const { entries } = check(recordSchema, record, 'store.corrupt', 'cost model record');
    const model = new CostModel(sources);
    for (const { deviceId, variantId, ...entry } of entries) model.#put(deviceId, variantId, entry);
    return model;
  }

  toRecord(): CostRecord {
    const entries = [...this.#devices].flatMap(([deviceId, variants]) =>
      [...variants].map(([variantId, entry]) => ({ deviceId, variantId, ...entry })),
    );
    return { schema: 'fleetgate-costs/1', entries };
  }

  /** On an idle device; undefined for an unknown device's board or an unknown variant that never ran. */
  estimate(device: DeviceId, variant: VariantId, workload: Workload): CostEstimate | undefined {
    const figures = this.#figures(device, variant);
    if (figures === undefined) return undefined;
    const { promptTokens, outputTokens } = workload;
    const overhead = part(figures.overheadMs, 1);
    const prefill = part(figures.prefillMs, promptTokens);
    const decode = part(figures.decodeMs, outputTokens);
    const prefillJ = energyPart(prefill, figures.prefillW);
    const decodeJ = energyPart(decode, figures.decodeW);
    return {
      latency: milliseconds(overhead.mean + prefill.mean + decode.mean),
      latencySd: milliseconds(Math.hypot(overhead.sd, prefill.sd, decode.sd)),
      firstToken: milliseconds(overhead.mean + prefill.mean + (outputTokens > 0 ? valueOf(figures.decodeMs) : 0)),
      energy: joules(prefillJ.mean + decodeJ.mean),
      energySd: joules(Math.hypot(prefillJ.sd, decodeJ.sd)),
      basis: this.#devices.get(device)?.has(variant) === true ? 'measured' : 'predicted',
    };
  }

  /** Takes in each benchmark once, however often the device reports it. */
  observeMeasurement(device: DeviceId, measurement: Measurement): void {
    const { variantId, measuredAtMs } = measurement;
    const entry = this.#devices.get(device)?.get(variantId);
    if (entry !== undefined && measuredAtMs <= entry.measuredAtMs) return;
    const sd = Math.max(BENCHMARK_LEAST_SD, measurement.relativeSd);
    const prior = entry ?? this.#prior(device, variantId);
    const figure = (value: number, old: LogFigure | undefined): LogFigure => {
      // A benchmark without an energy reading says nothing of energy.
      if (value <= 0 || !Number.isFinite(value)) return old ?? known(UNKNOWN_W, 1, 0);
      const fresh = known(value, sd, BENCHMARK_WEIGHT);
      return entry === undefined || old === undefined ? fresh : merged(old, fresh);
    };
    this.#put(device, variantId, {
      prefillMs: figure(1000 / measurement.prefillTokensPerS, prior?.prefillMs),
      decodeMs: figure(1000 / measurement.decodeTokensPerS, prior?.decodeMs),
      prefillW: figure(measurement.prefillJPerToken * measurement.prefillTokensPerS, prior?.prefillW),
      decodeW: figure(measurement.decodeJPerToken * measurement.decodeTokensPerS, prior?.decodeW),
      // The device's own part only: what messages add shows in jobs.
      overheadMs: entry?.overheadMs ?? known(Math.max(LEAST_OVERHEAD_MS, measurement.overheadMs), OVERHEAD_SD, 0),
      measuredAtMs,
      jobs: entry?.jobs ?? 0,
    });
  }

  /**
   * Learns from a finished (also cancelled) generation; parts without tokens or time say nothing and are left out.
   * `latency` is from sending the job to its end, as the controller saw it: what the device does not account for is
   * overhead.
   */
  observeJob(device: DeviceId, variant: VariantId, usage: JobUsage, latency?: Milliseconds): void {
    const entry = this.#devices.get(device)?.get(variant) ?? this.#first(device, variant);
    if (entry === undefined) return;
    const { promptTokens, outputTokens, prefillMs, decodeMs } = usage;
    this.#put(device, variant, {
      ...entry,
      ...learnEnergy(entry, usage),
      prefillMs: learn(entry.prefillMs, prefillMs, promptTokens),
      decodeMs: learn(entry.decodeMs, decodeMs, outputTokens),
      overheadMs: learnOverhead(entry.overheadMs, usage, latency),
      jobs: entry.jobs + 1,
    });
  }

  /** Drops everything known of a removed device. */
  forget(device: DeviceId): void {
    this.#size -= this.#devices.get(device)?.size ?? 0;
    this.#devices.delete(device);
    this.#kept.delete(device);
  }

  /** How much is known of a pair; for people and for drift detection. */
  jobsSeen(device: DeviceId, variant: VariantId): number {
    return this.#devices.get(device)?.get(variant)?.jobs ?? 0;
  }

  /** Of the variant and its kin on the device, kept until the device shows something new. */
  #figures(device: DeviceId, id: VariantId): CostFigures | undefined {
    const variant = this.#sources.variantOf(id);
    const kept = this.#kept.get(device)?.get(id);
    if (kept !== undefined && kept.variant === variant) return kept.figures;
    const seen = this.#devices.get(device);
    const kin: CostFigures[] = [];
    for (const [other, entry] of variant === undefined ? [] : (seen ?? [])) {
      const sibling = other === id ? undefined : this.#sources.variantOf(other);
      if (sibling !== undefined && variant !== undefined && areKin(variant, sibling)) kin.push(entry);
    }
    const figures = withKin(seen?.get(id), kin) ?? this.#prior(device, id);
    if (figures === undefined || seen === undefined) return figures;
    const ofDevice = this.#kept.get(device) ?? new Map<VariantId, Kept>();
    this.#kept.set(device, ofDevice.set(id, { variant, figures }));
    return figures;
  }

  #first(device: DeviceId, variant: VariantId): Entry | undefined {
    const prior = this.#prior(device, variant);
    return prior === undefined ? undefined : { ...prior, measuredAtMs: 0, jobs: 0 };
  }

  #prior(device: DeviceId, variant: VariantId): CostFigures | undefined {
    const plain = this.#plainPrior(device, variant);
    if (plain === undefined) return undefined;
    const pairs: { readonly predicted: CostFigures; readonly seen: CostFigures }[] = [];
    for (const [other, seen] of this.#devices.get(device) ?? []) {
      const predicted = this.#plainPrior(device, other);
      if (predicted !== undefined) pairs.push({ predicted, seen });
    }
    return scaledBy(plain, pairs);
  }

  #plainPrior(device: DeviceId, variant: VariantId): CostFigures | undefined {
    const board = this.#sources.boardOf(device);
    const facts = this.#sources.variantOf(variant);
    if (board === undefined || facts === undefined) return undefined;
    const power = this.#sources.powerOf?.(device) ?? {
      idleW: board.power.idleW.value,
      loadW: board.power.loadW.value,
    };
    return predictedFigures(facts, board.decodeBandwidthBytesPerS.value, power);
  }

  #put(device: DeviceId, variant: VariantId, entry: Entry): void {
    const variants = this.#devices.get(device) ?? new Map<VariantId, Entry>();
    // Taken out and put back: maps keep their order, so the first device is the one not touched for longest.
    if (variants.delete(variant)) this.#size--;
    variants.set(variant, entry);
    this.#devices.delete(device);
    this.#devices.set(device, variants);
    this.#kept.delete(device);
    this.#size++;
    if (this.#size > MOST_ENTRIES) this.#evict();
  }

  #evict(): void {
    const oldest = this.#devices.entries().next().value;
    if (oldest === undefined) return;
    const [device, variants] = oldest;
    const variant = variants.keys().next().value;
    if (variant !== undefined && variants.delete(variant)) this.#size--;
    this.#kept.delete(device);
    if (variants.size === 0) this.#devices.delete(device);
  }
}
