import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { ExpertId, VariantId } from '@fleetgate/shared/ids';

import type { Catalogue } from '../../catalogue/catalogue.js';
import type { DispatchPolicy } from '../dispatch-policy.js';
import { CopyTable, type PlacedVariant } from './copy-table.js';
import { Host } from './host.js';

type Placements = DispatchPolicy['placements'];

/**
 * Every variant on every device that the plan places it on, with what decisions have found out that holds until the device,
 * its costs or the plan changes: each looks only at what has changed since the last.
 */
export class PlacedCopies {
  readonly hosts: readonly Host[];
  /** Host by host. */
  readonly table: CopyTable;
  readonly variants: readonly PlacedVariant[];
  readonly experts: readonly ExpertId[];
  /** Variants and experts of which there is a copy. */
  readonly ids: ReadonlySet<VariantId | ExpertId>;
  /** As the catalogue had them; undefined for what it did not know. */
  readonly #found: ReadonlyMap<VariantId, Variant | undefined>;

  constructor(placements: Placements, catalogue: Catalogue) {
    const wanted = new Set([...placements.values()].flatMap((variants) => [...variants]));
    this.#found = new Map([...wanted].map((id) => [id, catalogue.variants.get(id)]));
    const known = [...this.#found.values()].filter((variant) => variant !== undefined);
    this.experts = [...new Set(known.map(({ expertId }) => expertId))];
    const expertAt = new Map(this.experts.map((id, at) => [id, at]));
    this.variants = known.map((variant, variantAt) => ({
      ...{ variant, variantAt, expertAt: expertAt.get(variant.expertId) ?? 0 },
    }));
    const byId = new Map(this.variants.map((placed) => [placed.variant.id, placed]));
    const placed = [...placements].map(([deviceId, ofDevice]) => ({
      deviceId,
      variants: [...ofDevice].map((id) => byId.get(id)).filter((variant) => variant !== undefined),
    }));
    const table = new CopyTable(placed.reduce((sum, { variants }) => sum + variants.length, 0));
    let first = 0;
    this.hosts = placed.map(({ deviceId, variants }) => {
      const host = new Host(deviceId, variants, table, first);
      first = host.end;
      return host;
    });
    this.table = table;
    this.ids = new Set([...byId.keys(), ...this.experts]);
  }

  /** Whether of all that is placed the catalogue has what it had: variants are replaced, never changed. */
  isOf({ variants }: Catalogue): boolean {
    for (const [id, variant] of this.#found) if (variants.get(id) !== variant) return false;
    return true;
  }
}

/** Placements are never changed: what is found out about them is kept for as long as they are. */
const kept = new WeakMap<Placements, PlacedCopies>();

export function placedCopies(placements: Placements, catalogue: Catalogue): PlacedCopies {
  const before = kept.get(placements);
  if (before?.isOf(catalogue) === true) return before;
  const copies = new PlacedCopies(placements, catalogue);
  kept.set(placements, copies);
  return copies;
}
