import { z } from 'zod';

import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { Variant } from '@fleetgate/shared/catalogue/expert';
import { buildKey } from '@fleetgate/shared/catalogue/serving';
import { check } from '@fleetgate/shared/check';
import { type DeviceId, deviceIdSchema, type VariantId, variantIdSchema } from '@fleetgate/shared/ids';
import type { JobUsage } from '@fleetgate/shared/protocol/job';
import type { Measurement } from '@fleetgate/shared/protocol/twin';
import type { Milliseconds } from '@fleetgate/shared/units/quantity';

import type { CostEstimate, CostProfile, ProfiledCosts, Workload } from './cost.js';
import { known, type LogFigure, merged } from './cost-model-figure.js';
import { evaluatedTokens, learn, learnEnergy, learnOverhead, LEAST_OVERHEAD_MS } from './cost-model-learning.js';
import { type CostFigures, predictedFigures, scaledBy } from './cost-model-prior.js';
import { FigureProfile } from './cost-model-profile.js';

/** Pairs of device and shape that are remembered; the one not touched for longest is forgotten first. */
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
  /** Bytes per second that the device reads from storage, as it reports it. */
  readRateOf?(device: DeviceId): number | undefined;
}

/** What is known of all variants of one shape on a device. */
interface Entry extends CostFigures {
  /** Variants that ran there, with the time of the newest benchmark taken in by the device's clock; 0 for none. */
  readonly measuredAtMs: ReadonlyMap<VariantId, number>;
}

const figureSchema = z.object({ mean: z.number(), variance: z.number().positive(), weight: z.number().nonnegative() });
const recordSchema = z.object({
  schema: z.literal('fleetgate-costs/2'),
  entries: z
    .array(
      z.object({
        deviceId: deviceIdSchema,
        shape: z.string().min(1).max(500),
        prefillMs: figureSchema,
        decodeMs: figureSchema,
        prefillW: figureSchema,
        decodeW: figureSchema,
        overheadMs: figureSchema,
        measuredAtMs: z.array(z.tuple([variantIdSchema, z.number()])),
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
 * old ones are forgotten. Variants of one shape (`shapeOf`) share figures: what differs between their benchmarks is noise,
 * and an optimiser would pick the luckiest. Single writer: the controller; not safe to share between threads.
 */
export class CostModel implements ProfiledCosts {
  readonly #sources: CostSources;
  /** By shape; replaced whole. */
  readonly #devices = new Map<DeviceId, ReadonlyMap<string, Entry>>();
  readonly #nothing: ReadonlyMap<string, Entry> = new Map();
  #size = 0;

  constructor(sources: CostSources) {
    this.#sources = sources;
  }

  /** Restores what `toRecord` gave; throws `store.corrupt` for anything else. */
  static fromRecord(record: unknown, sources: CostSources): CostModel {
    const { entries } = check(recordSchema, record, 'store.corrupt', 'cost model record');
    const model = new CostModel(sources);
    for (const { deviceId, shape, measuredAtMs, ...figures } of entries) {
      model.#put(deviceId, shape, { ...figures, measuredAtMs: new Map(measuredAtMs) });
    }
    return model;
  }

  toRecord(): CostRecord {
    const entries = [...this.#devices].flatMap(([deviceId, shapes]) =>
      [...shapes].map(([shape, entry]) => ({ deviceId, shape, ...entry, measuredAtMs: [...entry.measuredAtMs] })),
    );
    return { schema: 'fleetgate-costs/2', entries };
  }

  /** On an idle device; undefined for a variant that is not in the catalogue, and for an unknown board with nothing seen. */
  estimate(device: DeviceId, id: VariantId, workload: Workload): CostEstimate | undefined {
    return this.profileOf(device, id)?.estimate(workload);
  }

  profileOf(device: DeviceId, id: VariantId): CostProfile | undefined {
    const variant = this.#sources.variantOf(id);
    if (variant === undefined) return undefined;
    const entry = this.#entry(device, variant);
    const figures = entry ?? this.#prior(device, variant);
    if (figures === undefined) return undefined;
    return new FigureProfile(figures, entry?.measuredAtMs.has(id) === true ? 'measured' : 'predicted');
  }

  learnedOf(device: DeviceId): object {
    return this.#devices.get(device) ?? this.#nothing;
  }

  /** Takes in each benchmark once, however often the device reports it. */
  observeMeasurement(device: DeviceId, measurement: Measurement): void {
    const { variantId, measuredAtMs } = measurement;
    const variant = this.#sources.variantOf(variantId);
    if (variant === undefined) return;
    const entry = this.#entry(device, variant);
    if (entry !== undefined && measuredAtMs <= (entry.measuredAtMs.get(variantId) ?? -Infinity)) return;
    const sd = Math.max(BENCHMARK_LEAST_SD, measurement.relativeSd);
    const prior = entry ?? this.#prior(device, variant);
    const figure = (value: number, old: LogFigure | undefined): LogFigure => {
      // A benchmark without an energy reading says nothing of energy.
      if (value <= 0 || !Number.isFinite(value)) return old ?? known(UNKNOWN_W, 1, 0);
      const fresh = known(value, sd, BENCHMARK_WEIGHT);
      return entry === undefined || old === undefined ? fresh : merged(old, fresh);
    };
    this.#put(device, shapeOf(variant), {
      prefillMs: figure(1000 / measurement.prefillTokensPerS, prior?.prefillMs),
      decodeMs: figure(1000 / measurement.decodeTokensPerS, prior?.decodeMs),
      prefillW: figure(measurement.prefillJPerToken * measurement.prefillTokensPerS, prior?.prefillW),
      decodeW: figure(measurement.decodeJPerToken * measurement.decodeTokensPerS, prior?.decodeW),
      // The device's own part only: what messages add shows in jobs.
      overheadMs: entry?.overheadMs ?? known(Math.max(LEAST_OVERHEAD_MS, measurement.overheadMs), OVERHEAD_SD, 0),
      measuredAtMs: new Map(entry?.measuredAtMs).set(variantId, measuredAtMs),
    });
  }

  /**
   * Learns from a finished (also cancelled) generation; parts without tokens or time say nothing and are left out.
   * `latency` is from sending the job to its end, as the controller saw it: what the device does not account for is
   * overhead.
   */
  observeJob(device: DeviceId, id: VariantId, usage: JobUsage, latency?: Milliseconds): void {
    const variant = this.#sources.variantOf(id);
    if (variant === undefined) return;
    const entry = this.#entry(device, variant);
    const figures = entry ?? this.#prior(device, variant);
    if (figures === undefined) return;
    const { outputTokens, prefillMs, decodeMs } = usage;
    const measuredAtMs = new Map(entry?.measuredAtMs);
    this.#put(device, shapeOf(variant), {
      ...learnEnergy(figures, usage),
      prefillMs: learn(figures.prefillMs, prefillMs, evaluatedTokens(usage)),
      decodeMs: learn(figures.decodeMs, decodeMs, outputTokens),
      overheadMs: learnOverhead(figures.overheadMs, usage, latency),
      measuredAtMs: measuredAtMs.set(id, measuredAtMs.get(id) ?? 0),
    });
  }

  /** Drops everything known of a removed device. */
  forget(device: DeviceId): void {
    this.#size -= this.#devices.get(device)?.size ?? 0;
    this.#devices.delete(device);
  }

  #entry(device: DeviceId, variant: Variant): Entry | undefined {
    return this.#devices.get(device)?.get(shapeOf(variant));
  }

  #prior(device: DeviceId, variant: Variant): CostFigures | undefined {
    const plain = this.#plainPrior(device, variant);
    if (plain === undefined) return undefined;
    const pairs: { readonly predicted: CostFigures; readonly seen: CostFigures }[] = [];
    for (const seen of this.#devices.get(device)?.values() ?? []) {
      const other = [...seen.measuredAtMs.keys()].map((id) => this.#sources.variantOf(id)).find((each) => each);
      const predicted = other === undefined ? undefined : this.#plainPrior(device, other);
      if (predicted !== undefined) pairs.push({ predicted, seen });
    }
    return scaledBy(plain, pairs);
  }

  #plainPrior(device: DeviceId, variant: Variant): CostFigures | undefined {
    const board = this.#sources.boardOf(device);
    if (board === undefined) return undefined;
    const power = this.#sources.powerOf?.(device) ?? {
      idleW: board.power.idleW.value,
      loadW: board.power.loadW.value,
    };
    return predictedFigures(variant, board.decodeBandwidthBytesPerS.value, power, this.#sources.readRateOf?.(device));
  }

  #put(device: DeviceId, shape: string, entry: Entry): void {
    const shapes = new Map(this.#devices.get(device));
    // Taken out and put back: maps keep their order, so the first device is the one not touched for longest.
    if (shapes.delete(shape)) this.#size--;
    shapes.set(shape, entry);
    this.#devices.delete(device);
    this.#devices.set(device, shapes);
    this.#size++;
    if (this.#size > MOST_ENTRIES) this.#evict();
  }

  #evict(): void {
    const oldest = this.#devices.entries().next().value;
    if (oldest === undefined) return;
    const [device, shapes] = oldest;
    const [, ...kept] = shapes;
    this.#size--;
    if (kept.length === 0) this.#devices.delete(device);
    else this.#devices.set(device, new Map(kept));
  }
}

/** Variants are never changed: their shapes are told apart once, not for every estimate. */
const shapes = new WeakMap<Variant, string>();

/** What decides the work for a token: fine-tunes of one base model in one quantisation have the same shape. */
function shapeOf(variant: Variant): string {
  const known = shapes.get(variant);
  if (known !== undefined) return known;
  const { facts, serving } = variant;
  const { architecture, quantisation, parameters, layers, embeddingLength, slabsPerLayer, slabsPerToken } = facts;
  const shape = [architecture, quantisation, parameters, layers, embeddingLength, slabsPerLayer, slabsPerToken].join(
    ' ',
  );
  const key = buildKey({ sha256: shape, serving });
  shapes.set(variant, key);
  return key;
}
