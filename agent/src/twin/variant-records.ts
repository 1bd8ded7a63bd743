import { adapterBytesOf, buildKey, filesOf } from '@fleetgate/shared/catalogue/serving';
import type { VariantId } from '@fleetgate/shared/ids';
import type { DesiredVariant, Measurement } from '@fleetgate/shared/protocol/twin';
import { bytes } from '@fleetgate/shared/units/quantity';

import type { ArtefactStore } from '../artefacts/artefact-store.js';
import type { LoadedModel } from '../engine/engine.js';
import type { LocalState, ResidentVariant } from './reconcile.js';

/** What the device has of each variant, and what it has learned of them. */
export class VariantRecords {
  readonly #artefacts: ArtefactStore;
  readonly #resident = new Map<VariantId, ResidentVariant>();
  readonly #loaded = new Map<VariantId, LoadedModel>();
  readonly #measurements = new Map<string, Measurement>();
  /** By build and context: estimated from the file, then as loaded. */
  readonly #memory = new Map<string, number>();
  readonly #unevictable = new Set<string>();

  /** `measurements`: of earlier runs on the same board and engine. */
  constructor(artefacts: ArtefactStore, measurements: readonly Measurement[]) {
    this.#artefacts = artefacts;
    for (const measurement of measurements) this.#measurements.set(buildKey(measurement), measurement);
  }

  get resident(): ReadonlyMap<VariantId, ResidentVariant> {
    return this.#resident;
  }

  get usedMemoryBytes(): number {
    let used = 0;
    for (const { memoryBytes } of this.#resident.values()) used += memoryBytes;
    return used;
  }

  /** In the order in which they were taken. */
  get measurements(): readonly Measurement[] {
    return [...this.#measurements.values()];
  }

  get measured(): ReadonlySet<string> {
    return new Set(this.#measurements.keys());
  }

  /** Files on disk, without those that nobody of `wanted` needs and that cannot be evicted. */
  stored(wanted: readonly DesiredVariant[]): LocalState['stored'] {
    const digests = new Set(wanted.flatMap((variant) => filesOf(variant).map(({ sha256 }) => sha256)));
    const counted = this.#artefacts
      .stored()
      .filter(({ sha256 }) => digests.has(sha256) || !this.#unevictable.has(sha256));
    return new Map(counted.map((artefact) => [artefact.sha256, artefact]));
  }

  /** How a resident variant was loaded; undefined when it is not resident. */
  loaded(variantId: VariantId): LoadedModel | undefined {
    return this.#loaded.get(variantId);
  }

  /** Memory that a variant takes or will take, bytes. */
  memoryOf(variant: DesiredVariant): number {
    const known = this.#memory.get(memoryKey(variant)) ?? this.#measurements.get(buildKey(variant))?.memoryBytes;
    // Weights, and a guess at buffers and cache until the file or the engine says more.
    return known ?? variant.sizeBytes * 1.15 + 32 * 1024 * 1024 + adapterBytesOf(variant.serving);
  }

  /** Of `wanted`, those whose file is here and whose memory is not known yet. */
  unestimated(wanted: readonly DesiredVariant[]): readonly DesiredVariant[] {
    const here = new Set(this.#artefacts.stored().flatMap((one) => (one.state === 'verified' ? [one.sha256] : [])));
    return wanted.filter((variant) => here.has(variant.sha256) && !this.#memory.has(memoryKey(variant)));
  }

  noteEstimate(variant: DesiredVariant, memoryBytes: number): void {
    this.#memory.set(memoryKey(variant), memoryBytes);
  }

  noteLoaded(variant: DesiredVariant, loaded: LoadedModel): void {
    const { variantId, sha256, contextTokens, serving } = variant;
    const memory = bytes(this.#wholeMemory(variant, loaded));
    this.#loaded.set(variantId, { ...loaded, memory });
    this.#memory.set(memoryKey(variant), memory);
    this.#resident.set(variantId, { sha256, contextTokens, serving, memoryBytes: memory });
  }

  noteUnloaded(variantId: VariantId): void {
    this.#resident.delete(variantId);
    this.#loaded.delete(variantId);
  }

  /** The engine lost everything it held. */
  noteEngineLost(): void {
    this.#resident.clear();
    this.#loaded.clear();
  }

  /** Beside another variant of the same file an engine says only what was added; the file's share stays when that one goes. */
  #wholeMemory(variant: DesiredVariant, { memory }: LoadedModel): number {
    const shares = [...this.#resident].some(
      ([id, { sha256 }]) => id !== variant.variantId && sha256 === variant.sha256,
    );
    return shares ? Math.max(memory, this.memoryOf(variant)) : memory;
  }

  noteMeasured(measurement: Measurement): void {
    this.#measurements.delete(buildKey(measurement));
    this.#measurements.set(buildKey(measurement), measurement);
  }

  /** The file could not be removed: it is not tried again. */
  noteUnevictable(sha256: string): void {
    this.#unevictable.add(sha256);
  }
}

function memoryKey(variant: DesiredVariant): string {
  return `${buildKey(variant)} ${variant.contextTokens}`;
}
