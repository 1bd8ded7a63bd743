import { buildKey, filesOf, type Serving } from '@fleetgate/shared/catalogue/serving';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Desired, DesiredVariant } from '@fleetgate/shared/protocol/twin';

import type { Step, VariantFile } from './steps.js';

/** A variant in the engine. */
export interface ResidentVariant {
  readonly sha256: string;
  readonly contextTokens: number;
  readonly serving?: Serving | undefined;
  readonly memoryBytes: number;
}

/** What the device has. */
export interface LocalState {
  readonly stored: ReadonlyMap<string, { readonly sizeBytes: number; readonly state: 'verified' | 'unverified' }>;
  readonly resident: ReadonlyMap<VariantId, ResidentVariant>;
  /** Builds that this device has measured, by `buildKey`. */
  readonly measured: ReadonlySet<string>;
  /** Variants whose last step failed and that are not to be tried now. */
  readonly held: ReadonlySet<VariantId>;
  /** Resident variants that the engine failed to unload and that are not to be tried now. */
  readonly stuck: ReadonlySet<VariantId>;
}

/** What the device can hold. */
export interface Resources {
  readonly memoryBudgetBytes: number;
  readonly slots: number;
  /** Room on disk; undefined when it is not known, then nothing is evicted. */
  readonly freeDiskBytes: number | undefined;
  /** False while the engine restarts: nothing can be loaded, unloaded or measured. */
  readonly engineReady: boolean;
  /** An engine that keeps its models elsewhere needs no artefacts. */
  readonly needsArtefacts: boolean;
  /** Memory that a variant will take, bytes: measured before, or estimated. */
  readonly memoryOf: (variant: DesiredVariant) => number;
}

/** A desired variant that the device cannot hold beside the ones before it. */
export interface Shortfall {
  readonly variantId: VariantId;
  readonly resource: 'memory' | 'slots';
  readonly requested: number;
  readonly used: number;
  readonly capacity: number;
}

export interface Reconciliation {
  /** In order; empty: settled. */
  readonly steps: readonly Step[];
  readonly shortfalls: readonly Shortfall[];
}

/**
 * The steps from what a device has to what it should have.
 *
 * Done in order they end settled, and memory and slots are never exceeded on the way. Only the first step need be
 * done before asking again: the answer then goes on from there. Order:
 * 1. variants to be measured, one at a time: fetch, verify, load, measure, unload. Where one does not fit beside what
 *    serves, serving variants are unloaded for it, last first, and loaded again in 2. Measuring comes first because a
 *    plan without figures is a guess, and because the order must not depend on how far we are;
 * 2. variants to serve: fetch and verify, unload what is not wanted any more, load. Unwanted ones thus serve on while
 *    the first download runs;
 * 3. what is resident and not wanted: unload.
 * Artefacts that nobody wants are evicted only when a download needs their room, largest first.
 */
export function reconcile(desired: Desired, local: LocalState, resources: Resources): Reconciliation {
  const plan = new StepPlan(desired, local, resources);
  if (desired.state === 'standby') {
    plan.unloadAllBut(new Set());
    return { steps: plan.steps, shortfalls: [] };
  }
  const { serve, shortfalls } = fitting(desired, resources);
  for (const variant of desired.variants) {
    if (variant.purpose === 'measure') measure(plan, variant, serve, shortfalls);
  }
  for (const variant of serve) {
    if (local.held.has(variant.variantId) || plan.isResident(variant)) continue;
    plan.store(variant);
    if (!resources.engineReady) continue;
    plan.unloadAllBut(plan.residentOf(serve));
    if (!plan.load(variant)) shortfalls.push(plan.memoryShortfall(variant));
  }
  plan.unloadAllBut(plan.residentOf(serve));
  return { steps: plan.steps, shortfalls };
}

function measure(
  plan: StepPlan,
  variant: DesiredVariant,
  serve: readonly DesiredVariant[],
  shortfalls: Shortfall[],
): void {
  const { local, resources } = plan;
  if (local.measured.has(buildKey(variant)) || local.held.has(variant.variantId)) return;
  const requested = resources.memoryOf(variant);
  if (requested > resources.memoryBudgetBytes) {
    const capacity = resources.memoryBudgetBytes;
    shortfalls.push({ variantId: variant.variantId, resource: 'memory', requested, used: 0, capacity });
    return;
  }
  plan.store(variant);
  if (!resources.engineReady) return;
  if (!plan.isResident(variant)) {
    const kept = new Set(plan.residentOf(serve));
    kept.delete(variant.variantId);
    plan.unloadAllBut(kept);
    for (const other of serve.toReversed()) {
      if (plan.fits(variant)) break;
      plan.unload(other.variantId);
    }
    if (!plan.load(variant)) {
      shortfalls.push(plan.memoryShortfall(variant));
      return;
    }
  }
  plan.steps.push({ kind: 'measure', variant });
  if (!plan.residentOf(serve).has(variant.variantId)) plan.unload(variant.variantId);
}

/** Variants to serve that fit together, in the document's order, and what keeps the others out. */
function fitting(desired: Desired, resources: Resources): { serve: DesiredVariant[]; shortfalls: Shortfall[] } {
  const serve: DesiredVariant[] = [];
  const shortfalls: Shortfall[] = [];
  let used = 0;
  for (const variant of desired.variants) {
    const { variantId } = variant;
    if (variant.purpose !== 'serve' || serve.some((other) => other.variantId === variantId)) continue;
    const requested = resources.memoryOf(variant);
    if (serve.length >= resources.slots) {
      const { slots } = resources;
      shortfalls.push({ variantId, resource: 'slots', requested: 1, used: serve.length, capacity: slots });
    } else if (used + requested > resources.memoryBudgetBytes) {
      const capacity = resources.memoryBudgetBytes;
      shortfalls.push({ variantId, resource: 'memory', requested, used, capacity });
    } else {
      used += requested;
      serve.push(variant);
    }
  }
  return { serve, shortfalls };
}

/** Steps so far, with the state that they will have led to. */
class StepPlan {
  readonly steps: Step[] = [];
  readonly #stored: Map<string, { readonly sizeBytes: number; readonly state: 'verified' | 'unverified' }>;
  readonly #resident: Map<VariantId, ResidentVariant>;
  #free: number;

  constructor(
    readonly desired: Desired,
    readonly local: LocalState,
    readonly resources: Resources,
  ) {
    this.#stored = new Map(local.stored);
    this.#resident = new Map(local.resident);
    this.#free = resources.freeDiskBytes ?? Infinity;
  }

  /** Whether exactly this build of the variant is resident. */
  isResident(variant: DesiredVariant): boolean {
    const resident = this.#resident.get(variant.variantId);
    return (
      resident !== undefined &&
      resident.contextTokens === variant.contextTokens &&
      buildKey(resident) === buildKey(variant) &&
      resident.serving?.leastSlabsPerToken === variant.serving?.leastSlabsPerToken
    );
  }

  fits(variant: DesiredVariant): boolean {
    const { slots, memoryBudgetBytes, memoryOf } = this.resources;
    return this.#resident.size < slots && this.#usedMemory() + memoryOf(variant) <= memoryBudgetBytes;
  }

  /** Which of `variants` are resident in exactly that build. */
  residentOf(variants: readonly DesiredVariant[]): ReadonlySet<VariantId> {
    return new Set(variants.filter((variant) => this.isResident(variant)).map((variant) => variant.variantId));
  }

  memoryShortfall(variant: DesiredVariant): Shortfall {
    return {
      variantId: variant.variantId,
      resource: 'memory',
      requested: this.resources.memoryOf(variant),
      used: this.#usedMemory(),
      capacity: this.resources.memoryBudgetBytes,
    };
  }

  /** Has its file and those of its adapters fetched and verified, where the engine needs them. */
  store(variant: DesiredVariant): void {
    if (!this.resources.needsArtefacts) return;
    for (const file of filesOf(variant)) this.#storeFile(variant, file);
  }

  /** False when it does not fit beside what is resident. */
  load(variant: DesiredVariant): boolean {
    if (!this.fits(variant)) return false;
    this.steps.push({ kind: 'load', variant });
    const memoryBytes = this.resources.memoryOf(variant);
    this.#resident.set(variant.variantId, { ...variant, memoryBytes });
    return true;
  }

  unload(variantId: VariantId): void {
    if (!this.resources.engineReady || this.local.stuck.has(variantId)) return;
    if (!this.#resident.delete(variantId)) return;
    this.steps.push({ kind: 'unload', variantId });
  }

  unloadAllBut(kept: ReadonlySet<VariantId>): void {
    for (const variantId of [...this.#resident.keys()]) if (!kept.has(variantId)) this.unload(variantId);
  }

  #storeFile(variant: DesiredVariant, { sha256, sizeBytes }: VariantFile): void {
    const file = { sha256, sizeBytes };
    const stored = this.#stored.get(sha256);
    if (stored === undefined) {
      this.#makeRoom(sizeBytes);
      this.steps.push({ kind: 'fetch', variant, file });
      this.#free -= sizeBytes;
    } else if (stored.state === 'unverified') {
      this.steps.push({ kind: 'verify', variant, file });
    }
    this.#stored.set(sha256, { sizeBytes, state: 'verified' });
  }

  #usedMemory(): number {
    let used = 0;
    for (const resident of this.#resident.values()) used += resident.memoryBytes;
    return used;
  }

  #makeRoom(sizeBytes: number): void {
    const wanted = new Set(this.desired.variants.flatMap((variant) => filesOf(variant).map((file) => file.sha256)));
    const unwanted = [...this.#stored].filter(([sha256]) => !wanted.has(sha256));
    unwanted.sort(([, a], [, b]) => b.sizeBytes - a.sizeBytes);
    for (const [sha256, { sizeBytes: freed }] of unwanted) {
      if (this.#free >= sizeBytes) return;
      // A mapped file's bytes come back only when the engine lets go of it.
      for (const [variantId, resident] of this.#resident) {
        if (filesOf({ ...resident, sizeBytes: 0 }).some((file) => file.sha256 === sha256)) this.unload(variantId);
      }
      this.steps.push({ kind: 'evict', sha256, sizeBytes: freed });
      this.#stored.delete(sha256);
      this.#free += freed;
    }
  }
}
