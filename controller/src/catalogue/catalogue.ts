import type { Expert, Variant } from '@fleetgate/shared/catalogue/expert';
import type { ExpertId, VariantId } from '@fleetgate/shared/ids';

/** Experts that the fleet may serve. Read side; `ExpertRegistry` is the single writer. */
export interface Catalogue {
  readonly experts: ReadonlyMap<ExpertId, Expert>;
  readonly variants: ReadonlyMap<VariantId, Variant>;
}
