import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { CatalogueVariant } from '@fleetgate/shared/catalogue/variant-catalogue';

import { type BitsByTask, lossOf, meanOf } from './engine-scorer.js';
import type { Genome } from './genome.js';
import { hypervolume, paretoFront } from './pareto.js';
import { costOf, describeSpec, specOf, type VariantSpace } from './variant-space.js';

/** A build of a scope's front with its figures on texts that the search did not see. */
export interface HeldOutVariant {
  readonly scope: string;
  /** Tasks that count in its scope. */
  readonly tasks: readonly string[];
  readonly genome: Genome;
  readonly bitsPerByte: BitsByTask;
}

/** The scope of builds for all tasks. */
export const ALL_TASKS = 'all';

/**
 * The entries of a catalogue: of each scope what nothing else of it dominates in held-out bits per byte, bytes and modelled
 * joules, best quality first.
 */
export function catalogueEntries(
  space: VariantSpace,
  board: BoardProfile,
  source: BitsByTask,
  variants: readonly HeldOutVariant[],
  stem: string,
): readonly CatalogueVariant[] {
  const scored = variants.map((variant) => {
    const spec = specOf(space, variant.genome);
    const cost = costOf(space, spec, board);
    const quality = meanOf(
      Object.fromEntries(variant.tasks.map((task) => [task, variant.bitsPerByte[task] ?? Infinity])),
    );
    return { variant, spec, cost, violation: 0, objectives: [quality, cost.sizeBytes, cost.decodeJPerToken] };
  });
  const scopes = [...new Set(variants.map(({ scope }) => scope))];
  return scopes.flatMap((scope) => {
    const front = paretoFront(scored.filter(({ variant }) => variant.scope === scope));
    const inOrder = front.toSorted((a, b) => (a.objectives[0] ?? 0) - (b.objectives[0] ?? 0));
    return inOrder.map(({ variant, spec, cost }, i) => ({
      name: [stem, ...(scope === ALL_TASKS ? [] : [scope]), `v${i}`].join('-').toLowerCase(),
      how: [describeSpec(space, spec), ...(scope === ALL_TASKS ? [] : [`for ${scope}`])].join(' ').slice(0, 200),
      scope,
      genome: [...variant.genome],
      ...(spec.keep === undefined ? {} : { keep: spec.keep }),
      ...(spec.slabsPerToken === undefined ? {} : { slabsPerToken: spec.slabsPerToken }),
      types: { ...spec.typeByGroup },
      bitsPerByte: { ...variant.bitsPerByte },
      loss: { ...lossOf(variant.bitsPerByte, source) },
      ...cost,
      elastic: [],
    }));
  });
}

/** Bits per byte of what a scope is for: the mean over all tasks, or its own task. */
export function scopeBits(bitsPerByte: BitsByTask, scope: string): number {
  return scope === ALL_TASKS ? meanOf(bitsPerByte) : (bitsPerByte[scope] ?? meanOf(bitsPerByte));
}

/**
 * At most `count` of the entries that together stand best for all of them: each the one that adds most hypervolume to those
 * before it, scope by scope in turn.
 */
export function worthBuilding(entries: readonly CatalogueVariant[], count: number): ReadonlySet<string> {
  const built = new Set<string>();
  const scopes = [...new Set(entries.map(({ scope }) => scope))];
  while (built.size < Math.min(count, entries.length)) {
    const before = built.size;
    for (const scope of scopes) {
      const next = mostAdding(
        entries.filter((entry) => entry.scope === scope),
        built,
      );
      if (next !== undefined && built.size < count) built.add(next.name);
    }
    if (built.size === before) break;
  }
  return built;
}

function mostAdding(entries: readonly CatalogueVariant[], built: ReadonlySet<string>): CatalogueVariant | undefined {
  const points = entries.map((entry) => [
    scopeBits(entry.bitsPerByte, entry.scope),
    entry.sizeBytes,
    entry.decodeJPerToken,
  ]);
  const ranges = [0, 1, 2].map((k) => {
    const values = points.map((point) => point[k] ?? 0);
    return { least: Math.min(...values), most: Math.max(...values) };
  });
  const scaled = points.map((point) =>
    point.map((value, k) => {
      const { least = 0, most = 1 } = ranges[k] ?? {};
      return most > least ? (value - least) / (most - least) : 0;
    }),
  );
  const edge = [1.1, 1.1, 1.1];
  const kept = scaled.filter((_, i) => built.has(entries[i]?.name ?? ''));
  let best: { readonly entry: CatalogueVariant; readonly volume: number } | undefined;
  for (const [i, entry] of entries.entries()) {
    if (built.has(entry.name)) continue;
    const volume = hypervolume([...kept, scaled[i] ?? edge], edge);
    if (best === undefined || volume > best.volume) best = { entry, volume };
  }
  return best?.entry;
}
