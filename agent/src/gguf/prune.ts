import { FleetError } from '@fleetgate/shared/errors';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';

import { type AssembledTensor, type MetadataValue, takenTensor } from './assembly.js';
import type { SlabLayout } from './slab-layout.js';

export interface PruneAudit {
  /** sha256 of the file that is pruned. */
  readonly source: string;
  readonly score: string;
  readonly task: string;
}

export interface Pruning {
  readonly changes: ReadonlyMap<string, MetadataValue>;
  readonly tensors: readonly AssembledTensor[];
}

const KEPT = 'fleetgate.prune.kept.';

/**
 * What a file with only the kept slabs looks like: their weights, biases and scales, and the router's rows that lead to
 * them; shared experts and everything else as they are. `keep`: by layer that has slabs, ascending.
 *
 * The kept slabs' numbers in the first source are written into the file, also when it was pruned before. Throws
 * `usage.invalid` where llama.cpp could not load the result: unequal counts, fewer slabs than a token uses, unequal groups.
 */
export function pruning(
  path: string,
  header: GgufHeader,
  layout: SlabLayout,
  keep: readonly (readonly number[])[],
  audit: PruneAudit,
): Pruning {
  const count = keep[0]?.length ?? 0;
  check(layout, keep, count);
  const index = new Map(layout.layers.map(({ layer }, i) => [layer, i]));
  const changes = new Map<string, MetadataValue>([
    [`${layout.architecture}.expert_count`, { uint32: count }],
    ['fleetgate.prune.source', audit.source],
    ['fleetgate.prune.score', audit.score],
    ['fleetgate.prune.task', audit.task],
    ['fleetgate.prune.of', { uint32: layout.slabsPerLayer }],
  ]);
  for (const { layer } of layout.layers) {
    const kept = keep[index.get(layer) ?? -1] ?? [];
    changes.set(`${KEPT}${layer}`, { uint32: originalNumbers(header, layer, kept) });
  }
  const keptOf = (layer: number): readonly number[] | undefined => keep[index.get(layer) ?? -1];
  return { changes, tensors: header.tensors.map((tensor) => takenTensor(tensor, path, keptOf)) };
}

/** Numbers in the file that was never pruned. */
function originalNumbers(header: GgufHeader, layer: number, kept: readonly number[]): readonly number[] {
  const before = header.metadata.get(`${KEPT}${layer}`)?.value;
  const numbers = typeof before === 'object' ? before.elements : undefined;
  return kept.map((slab) => {
    const number = numbers?.[slab];
    return typeof number === 'number' ? number : slab;
  });
}

function check(layout: SlabLayout, keep: readonly (readonly number[])[], count: number): void {
  const { layers, slabsPerLayer, slabsPerToken, groups } = layout;
  const fault = (problem: string, hint: string): FleetError => new FleetError('usage.invalid', problem, { hint });
  if (keep.length !== layers.length) {
    throw fault(`slabs of ${keep.length} layers are kept, expected ${layers.length}`, 'make the profile of this file');
  }
  if (keep.some((kept) => kept.length !== count)) {
    throw fault(
      `layers keep ${[...new Set(keep.map((kept) => kept.length))].join(' and ')} slabs, expected equally many`,
      'llama.cpp has one number for all layers: keep the largest in each, and mask the rest at run time',
    );
  }
  if (count < slabsPerToken) {
    throw fault(`${count} slabs of each layer are kept, expected ${slabsPerToken} or more`, 'a token uses so many');
  }
  for (const kept of keep) {
    const isAscending = kept.every((slab, i) => Number.isInteger(slab) && slab > (kept[i - 1] ?? -1));
    if (!isAscending || (kept.at(-1) ?? 0) >= slabsPerLayer) {
      throw fault(`kept slabs are ${kept.join(' ')}, expected rising numbers below ${slabsPerLayer}`, 'see --keep');
    }
    const size = slabsPerLayer / groups;
    const perGroup = Array.from(
      { length: groups },
      (_, g) => kept.filter((slab) => Math.floor(slab / size) === g).length,
    );
    if (new Set(perGroup).size > 1) {
      throw fault(`groups keep ${perGroup.join(' ')} slabs, expected equally many`, 'the router chooses groups first');
    }
  }
}
